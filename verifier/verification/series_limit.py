"""The upper limit of what all answers of a series can have carried, audited or not, under every code."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from math import inf, log, log1p
from typing import Any, Self, get_args

import numpy as np

from weightwarden.sampler.types import FloatArray
from weightwarden.verifier.scoring.codes import CodeName
from weightwarden.verifier.scoring.ledger import MAX_END_BITS
from weightwarden.verifier.statistics.errors import StatisticsError
from weightwarden.verifier.statistics.sampling_design import SamplingDesign
from weightwarden.verifier.statistics.total_limit import TotalLimit, UpperLimit, largest_ratio
from weightwarden.verifier.verification.audited_population import AuditedPopulation, most_bits

CODES: tuple[CodeName, ...] = get_args(CodeName)
SHORTEST, FACTOR = 1024, 4
"""Shortest length of a record for which a series has a price by default, tokens, and the ratio of neighbouring ones."""
PRICED_RATE = 0.01
"""Audit rate for which a series has its prices where its rate is 1: none counts before the rate falls."""


@dataclass(kw_only=True)
class SeriesLimit:
    """Upper limits of the bits of all records of a series, one for each code (`verifier.statistics.total_limit`).

    Every limit holds at every moment of the series at once. A draw is added whole, once all of its drawn records have
    been replayed: what is known of a draw before must not show.

    Attributes:
        log2_vocabulary: bits of a token that is chosen freely.
        totals: the limit's sums by code.
        draws: number of draws.
    """

    log2_vocabulary: float
    totals: dict[CodeName, TotalLimit]
    draws: int = 0

    @classmethod
    def new(cls, log2_vocabulary: float, design: SamplingDesign, length_limit: int, shortest: int = SHORTEST) -> Self:
        """The limit of no record, at prices for a sampling design. They stay as they are.

        A later draw at a lower rate, or with longer records, is added at these prices; the limit is then valid and
        wide.

        Args:
            design: the design with the least rate that the series is to have.
            length_limit: largest number of output tokens of a record.
            shortest: shortest length for which there is a price: that of the longest usual record.
        """
        ratio_j = price_ratios(log2_vocabulary, design, length_limit, shortest)
        return cls(log2_vocabulary=log2_vocabulary, totals={code: TotalLimit.at_prices(ratio_j) for code in CODES})

    def covers(self, design: SamplingDesign, length_limit: int) -> bool:
        """True if no record of a sampling design holds more than a price foresees: its limit is not wide for that."""
        total = self.totals["pooled"]
        if design.rate == 1:
            return True
        largest = price_ratios(self.log2_vocabulary, design, length_limit).max()
        return bool(largest <= (total.price_k * total.slope_k).max() * (1 + 1e-9))

    def add(self, audited: AuditedPopulation, bits_r: Mapping[CodeName, FloatArray]) -> None:
        """Add a draw: all records of an audit, or of an archive.

        A series may leave out the draws that selected nothing, with all of their records: their factor is at least 1
        (`verifier.statistics.total_limit`), so that the mean of the others is at most 1.

        Args:
            audited: the audited records, the lengths of the others, and the sampling design.
            bits_r: bits of each audited record under each code, its end included.

        Raises:
            StatisticsError: bits are negative, or a record that is certainly drawn was not.
        """
        samples = {code: audited.sample(bits_r[code], self.log2_vocabulary) for code in CODES}
        for code, sample in samples.items():
            self.totals[code].add(sample)
        self.draws += 1

    def limit(self, code: CodeName, confidence: float) -> UpperLimit | None:
        """The limit under a code now; None before the first output token.

        Raises:
            StatisticsError: the confidence is outside (0, 1).
        """
        total = self.totals[code]
        return total.limit(confidence) if total.tokens else None

    @property
    def records(self) -> int:
        """Records of the series, audited or not."""
        return self.totals["pooled"].records

    @property
    def tokens(self) -> int:
        """Output tokens of the series, audited or not."""
        return self.totals["pooled"].tokens

    @property
    def audited_records(self) -> int:
        """Audited records."""
        return self.totals["pooled"].audited_records

    @property
    def audited_tokens(self) -> int:
        """Output tokens of the audited records."""
        return self.totals["pooled"].audited_tokens

    def tokens_until(self, code: CodeName, wanted: float, confidence: float, share: float) -> float:
        """Further audited tokens until the limit is at most `wanted` bits a token, about; 0 if it is, inf if never.

        Assumes that further records are like those so far; without any, that they carry nothing.

        Args:
            code: the code.
            wanted: the limit, bits per token.
            confidence: of the limit.
            share: audited share of the tokens, where there are none yet.
        """
        total = self.totals[code]
        limit = total.limit(confidence)
        if total.tokens and limit.bits <= wanted * total.tokens:
            return 0.0
        if total.audited_tokens:
            share = total.audited_tokens / total.tokens
        growing = (limit.rate_bits + limit.excess_bits) / total.tokens if total.tokens else 0.0
        if growing >= wanted or share >= 1:
            return inf if growing >= wanted else 1.0
        once = limit.stock_bits - limit.excess_bits
        if not total.unaudited_most_bits:  # the stock comes with the first unaudited record
            once = float((total.price_k * (-log(1 - confidence) - np.log(total.share_k))).min())
        return max(once / (wanted - growing) - total.tokens, 1.0) * share

    def to_dict(self) -> dict[str, Any]:
        """The stored form, for JSON."""
        return {
            "log2_vocabulary": self.log2_vocabulary,
            "draws": self.draws,
            "totals": {
                code: {
                    f.name: value.tolist() if isinstance(value := getattr(total, f.name), np.ndarray) else value
                    for f in fields(total)
                }
                for code, total in self.totals.items()
            },
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """The limit from the stored form of `to_dict`."""
        totals: dict[CodeName, TotalLimit] = {}
        for code in CODES:
            kept: dict[str, Any] = dict(stored["totals"][code])
            arrays = {name: np.array(value, np.float64) for name, value in kept.items() if isinstance(value, list)}
            totals[code] = TotalLimit(**(kept | arrays))
        return cls(**{name: stored[name] for name in ("log2_vocabulary", "draws")}, totals=totals)


def price_ratios(
    log2_vocabulary: float, design: SamplingDesign, length_limit: int, shortest: int = SHORTEST
) -> FloatArray:
    """Bits a nat of risk at which a series has its prices, from what is known before it begins.

    By records, one for each of some lengths: which of them gives the smallest limit depends on the traffic. By tokens,
    one alone, since all lengths have nearly the same: the largest.

    Raises:
        StatisticsError: the length limit is not positive.
    """
    if min(length_limit, shortest) < 1:
        raise StatisticsError(f"a price is for records of one token or more, not {min(length_limit, shortest)}")
    rate = PRICED_RATE if design.rate == 1 else design.rate
    if design.by == "records":
        lengths = [shortest]
        while lengths[-1] * FACTOR < length_limit:
            lengths.append(lengths[-1] * FACTOR)
        tokens_j = np.unique(np.minimum([*lengths, length_limit], length_limit))
        return most_bits(tokens_j, log2_vocabulary) / -log1p(-rate)
    return np.array([largest_ratio(SamplingDesign(rate, design.by), length_limit, log2_vocabulary, MAX_END_BITS)])
