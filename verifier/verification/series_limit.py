"""The upper limit of what all answers of a series can have carried, audited or not, under every code."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from math import inf, log, log1p
from typing import Any, Self, get_args

import numpy as np

from weightwarden.sampler.types import FloatArray, IntArray
from weightwarden.verifier.scoring.codes import CodeName
from weightwarden.verifier.scoring.ledger import MAX_END_BITS
from weightwarden.verifier.statistics.errors import StatisticsError
from weightwarden.verifier.statistics.sampling_design import SamplingDesign
from weightwarden.verifier.statistics.total_limit import PoissonSample, TotalLimit, UpperLimit
from weightwarden.verifier.verification.length_table import LengthTable

CODES: tuple[CodeName, ...] = get_args(CodeName)
SHORTEST, FACTOR = 1024, 4
"""Shortest length of a record for which a series has a price by default, tokens, and the ratio of neighbouring ones."""
PRICED_RATE = 0.01
"""Audit rate by which prices are made where all records are audited: then no price counts until the rate falls."""


@dataclass(frozen=True, kw_only=True)
class SeriesDraw:
    """One draw of a series: all records of an audit, or of an archive, and what the drawn ones are charged.

    Attributes:
        design: sampling design of the draw.
        tokens_r: output tokens of each audited record.
        bits_r: bits of each audited record under each code, its end included.
        unaudited: the records that were not drawn.
    """

    design: SamplingDesign
    tokens_r: IntArray
    bits_r: Mapping[CodeName, FloatArray]
    unaudited: LengthTable


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

    def add(self, draw: SeriesDraw) -> None:
        """Add a draw.

        A series may leave out the draws that selected nothing, with all of their records: their factor is at least 1
        (`verifier.statistics.total_limit`), so that the mean of the others is at most 1.

        Raises:
            StatisticsError: bits are negative, or a record that is certainly drawn was not.
        """
        probability_r = draw.design.probabilities(draw.tokens_r)
        unaudited = draw.unaudited
        audited_tokens = int(draw.tokens_r.sum())
        samples = {
            code: PoissonSample(
                bits_r=draw.bits_r[code],
                probability_r=probability_r,
                unaudited_bits_u=self.most_bits(unaudited.tokens_u),
                unaudited_probability_u=draw.design.probabilities(unaudited.tokens_u),
                unaudited_count_u=unaudited.records_u.astype(np.float64),
                tokens=audited_tokens + unaudited.tokens,
                audited_tokens=audited_tokens,
            )
            for code in CODES
        }
        for code, sample in samples.items():
            self.totals[code].add(sample)
        self.draws += 1

    def most_bits(self, tokens_r: IntArray) -> FloatArray:
        """Largest number of bits of a record of each length, its end included."""
        return _most_bits(tokens_r, self.log2_vocabulary)

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
    if design.by == "records":
        lengths = [shortest]
        while lengths[-1] * FACTOR < length_limit:
            lengths.append(lengths[-1] * FACTOR)
        tokens_j = np.unique(np.minimum([*lengths, length_limit], length_limit))
        rate = PRICED_RATE if design.rate == 1 else design.rate
        return _most_bits(tokens_j, log2_vocabulary) / -log1p(-rate)
    probability_u = design.probabilities(tokens_u := np.arange(length_limit + 1))
    left = probability_u < 1
    if not left.any():
        return price_ratios(log2_vocabulary, SamplingDesign(PRICED_RATE, design.by), length_limit)
    most = float((_most_bits(tokens_u[left], log2_vocabulary) / -np.log1p(-probability_u[left])).max())
    return np.array([most])


def _most_bits(tokens_r: IntArray, log2_vocabulary: float) -> FloatArray:
    return np.asarray(tokens_r * log2_vocabulary + MAX_END_BITS, np.float64)
