"""Upper limit of a total from a Poisson sample: of the bits of all records, when each was audited with its probability.

Record r carries x_r bits, at most X_r (its length is known). It was audited with probability p_r, independently of all
others, and the draw was made after the records were fixed. Write H_r = -ln(1 - p_r): the *risk* of an unaudited
record, nats. A record that carries bits unaudited spends risk: h_r(x) = min(x / u, b H_r), at a price of u bits a nat,
0 < b < 1. Every record then has a factor of mean 1, whatever x_r is:

    exp(h_r(x_r))                                    if it was not audited,
    w_r = (1 - (1 - p_r) exp(h_r(x_r))) / p_r        if it was.

So the product over the records is an e-process, and exceeds 1 / alpha at any time with probability at most alpha (Ville
1939). Where it does not, the unaudited records spent at most B = ln(1 / alpha) - sum over the audited ones of ln w_r,
and carry at most u B bits, and what records longer than b H_r u could carry beyond that:

    U <= u ln(1 / alpha)                 a stock: gambled once, whatever the traffic;
       + u sum over audited of -ln w_r   a rate: about x_r (1 - p_r) / p_r each, what the audited ones show, scaled up;
       + sum over unaudited of (X_r - b H_r u)+.

With one common probability and nothing seen, the stock is the bits of the longest records of which that many escape
the audit with probability alpha (`verifier.statistics.evasion`). The price must be fixed before the draw. Nothing is
assumed of the records: neither that they are alike, nor that they are independent.
"""

from dataclasses import dataclass
from math import exp, inf, log, log1p
from typing import Self

import numpy as np

from weightwarden.sampler.types import FloatArray
from weightwarden.verifier.statistics.errors import StatisticsError
from weightwarden.verifier.statistics.sampling_design import SamplingDesign

STEEP, FLAT = 0.98, 0.5
"""Values of b. The steep one gives the least stock, and grows fast where an audited record is full of bits.

The flat one grows slowly then, and its stock is about twice as large.
"""
STEEP_SHARE = 0.9
"""Share of the error that limits with a steep price get together; those with a flat one get the rest."""


@dataclass(frozen=True, kw_only=True)
class PoissonSample:
    """A sample of records, each of which was drawn with its own probability.

    Unaudited records of one kind may share a row.

    Attributes:
        bits_r: bits of each audited record.
        probability_r: probability with which it was drawn, in (0, 1].
        unaudited_bits_u: largest number of bits that an unaudited record of each kind can carry.
        unaudited_probability_u: probability with which it was drawn, in [0, 1).
        unaudited_count_u: number of unaudited records of each kind.
        tokens: output tokens of all records.
        audited_tokens: output tokens of the audited ones.
    """

    bits_r: FloatArray
    probability_r: FloatArray
    unaudited_bits_u: FloatArray
    unaudited_probability_u: FloatArray
    unaudited_count_u: FloatArray
    tokens: int
    audited_tokens: int

    def __post_init__(self) -> None:
        drawn, left = self.probability_r, self.unaudited_probability_u
        if not ((drawn > 0) & (drawn <= 1)).all() or not ((left >= 0) & (left < 1)).all():
            raise StatisticsError("an audited record has a probability in (0, 1], an unaudited one in [0, 1)")
        if not (self.bits_r >= 0).all() or not (self.unaudited_bits_u >= 0).all():
            raise StatisticsError("bits are numbers of at least 0")

    @property
    def log_missed(self) -> float:
        """ln of the probability that the draw selects no record at all, nats."""
        with np.errstate(divide="ignore"):
            return float(np.log1p(-self.probability_r).sum()) - float(
                (risk(self.unaudited_probability_u) * self.unaudited_count_u).sum()
            )


def risk(probability_r: FloatArray) -> FloatArray:
    """-ln(1 - p), nats: the risk of a record that is drawn with probability p."""
    with np.errstate(divide="ignore"):
        nats: FloatArray = -np.log1p(-np.asarray(probability_r, np.float64))
    return nats


@dataclass(frozen=True, kw_only=True)
class UpperLimit:
    """An upper limit of the bits of all records, in two parts.

    Attributes:
        rate_bits: bits that grow with the traffic: those of the audited records, and in proportion those of the others.
        stock_bits: bits that count once, however long the traffic goes on: what a few unaudited records can hold.
        tokens: output tokens of all records.
        most_bits: bits of the audited records, and the most that the others can hold at all.
        excess_bits: the part of the stock that a series adds to with its traffic: what unaudited records hold beyond
            the length for which the price is made.
    """

    rate_bits: float
    stock_bits: float
    tokens: int
    most_bits: float
    excess_bits: float = 0.0

    @property
    def bits(self) -> float:
        """The limit."""
        return min(self.rate_bits + self.stock_bits, self.most_bits)

    @property
    def bits_per_token(self) -> float:
        return self.bits / self.tokens


@dataclass(kw_only=True)
class TotalLimit:
    """The upper limit of the bits of all records of a series, as draws are added: valid at every moment of it.

    Several prices are tried at once, each with its part of the error, and the best limit counts.

    Attributes:
        price_k: u of each price, bits a nat.
        slope_k: b of each price.
        share_k: part of the error that each price gets; the sum is 1.
        spent_k: sum over the audited records of -ln w, nats.
        excess_bits_k: bits that unaudited records could carry beyond b H u.
        audited_bits: bits of the audited records.
        unaudited_most_bits: the most bits that the unaudited records can carry.
    """

    price_k: FloatArray
    slope_k: FloatArray
    share_k: FloatArray
    spent_k: FloatArray
    excess_bits_k: FloatArray
    audited_bits: float = 0.0
    unaudited_most_bits: float = 0.0
    records: int = 0
    audited_records: int = 0
    tokens: int = 0
    audited_tokens: int = 0

    @classmethod
    def at_prices(cls, ratio_j: FloatArray) -> Self:
        """The limit of no record, at prices for records whose most bits a nat of risk, X / H, are at most `ratio_j`.

        Args:
            ratio_j: one or more ratios, bits a nat; a series may meet longer records than foreseen, at a cost in its
                limit: give some that cover them.

        Raises:
            StatisticsError: a ratio is not positive.
        """
        ratio_j = np.asarray(ratio_j, np.float64)
        if not len(ratio_j) or not ((ratio_j > 0) & np.isfinite(ratio_j)).all():
            raise StatisticsError(f"prices are positive numbers of bits a nat, not {ratio_j}")
        slope_k = np.repeat([STEEP, FLAT], len(ratio_j))
        share_k = np.repeat([STEEP_SHARE, 1 - STEEP_SHARE], len(ratio_j)) / len(ratio_j)
        zeros = np.zeros(len(slope_k))
        return cls(
            price_k=np.tile(ratio_j, 2) / slope_k,
            slope_k=slope_k,
            share_k=share_k,
            spent_k=zeros,
            excess_bits_k=zeros.copy(),
        )

    def add(self, sample: PoissonSample) -> None:
        """Add the draw of some more records."""
        drawn = sample.probability_r < 1  # of the others nothing is left unaudited
        bits_r, probability_r = sample.bits_r[drawn], sample.probability_r[drawn]
        self.spent_k = self.spent_k + spent(bits_r, probability_r, self.price_k, self.slope_k)
        reach_uk = risk(sample.unaudited_probability_u)[:, None] * (self.slope_k * self.price_k)
        excess_uk = np.maximum(sample.unaudited_bits_u[:, None] - reach_uk, 0.0)
        self.excess_bits_k = self.excess_bits_k + sample.unaudited_count_u @ excess_uk
        self.audited_bits += float(sample.bits_r.sum())
        self.unaudited_most_bits += float(sample.unaudited_count_u @ sample.unaudited_bits_u)
        self.audited_records += len(sample.bits_r)
        self.records += len(sample.bits_r) + int(sample.unaudited_count_u.sum())
        self.tokens += sample.tokens
        self.audited_tokens += sample.audited_tokens

    def limit(self, confidence: float, log_missed: float = -inf) -> UpperLimit:
        """The limit now. With probability at least `confidence` it holds after every draw of the series at once.

        Args:
            confidence: of the limit.
            log_missed: `PoissonSample.log_missed` of a single draw that would not have been used had it selected
                nothing; -inf for a series, in which such draws count.

        Raises:
            StatisticsError: the confidence is outside (0, 1).
        """
        if not 0 < confidence < 1:
            raise StatisticsError(f"a confidence lies in (0, 1), not {confidence}")
        most = self.audited_bits + self.unaudited_most_bits
        if not self.unaudited_most_bits:
            return UpperLimit(rate_bits=self.audited_bits, stock_bits=0.0, tokens=self.tokens, most_bits=most)
        goal_k = -log(1 - confidence) - log1p(-min(exp(log_missed), 1 - 1e-12)) - np.log(self.share_k)
        rate_k = self.audited_bits + self.price_k * self.spent_k
        stock_k = self.price_k * goal_k + self.excess_bits_k
        best = int(np.argmin(rate_k + stock_k))
        return UpperLimit(
            rate_bits=float(rate_k[best]),
            stock_bits=float(stock_k[best]),
            tokens=self.tokens,
            most_bits=most,
            excess_bits=float(self.excess_bits_k[best]),
        )


def spent(bits_r: FloatArray, probability_r: FloatArray, price_k: FloatArray, slope_k: FloatArray) -> FloatArray:
    """Sum [k] over audited records of -ln w, nats: what their bits say of the unaudited ones."""
    risk_r = risk(probability_r)[:, None]
    spent_rk = np.minimum(bits_r[:, None] / price_k, slope_k * risk_r)
    odds_r = ((1 - probability_r) / probability_r)[:, None]
    nats: FloatArray = -np.log1p(-odds_r * np.expm1(spent_rk)).sum(axis=0)
    return nats


def best_ratio(largest_u: FloatArray, probability_u: FloatArray, count_u: FloatArray, confidence: float) -> float:
    """The ratio X / H, bits a nat, at which one draw of records of these kinds has the least stock.

    It depends on the records' lengths and probabilities, and not on the draw: it may be chosen before it. The stock is
    piecewise linear in the price, and least where the records that are longer than the price foresees have the risk
    ln(1 / alpha) together; they are the few in which an attacker would gamble.

    Args:
        largest_u: largest number of bits of a record of each kind.
        probability_u: the probability that it is drawn; records that are always drawn do not count.
        count_u: number of records of each kind.

    Raises:
        StatisticsError: every record is always drawn.
    """
    left = (probability_u < 1) & (count_u > 0) & (largest_u > 0)
    if not left.any():
        raise StatisticsError("every record is audited: there is no stock")
    risk_u = risk(probability_u[left])
    with np.errstate(divide="ignore"):
        ratio_u = largest_u[left] / risk_u
    order = np.argsort(-ratio_u, kind="stable")
    total_u = np.cumsum((risk_u * np.exp(-risk_u) * count_u[left])[order])
    goal = -log(1 - confidence) - log(STEEP_SHARE)
    at = min(int(np.searchsorted(total_u, goal / STEEP)), len(order) - 1)
    return float(ratio_u[order[at]])


def largest_ratio(design: SamplingDesign, longest: int, bits_per_token: float, bits_per_end: float) -> float:
    """The largest X / H, bits a nat, of any record of up to `longest` tokens: a series has no dearer record.

    X rises in proportion to the tokens, and H is a convex function of them: their ratio rises up to one length and
    falls beyond it.

    Args:
        design: probability of a record's draw by its length.
        longest: largest number of output tokens of a record.
        bits_per_token: bits of a token that is chosen freely.
        bits_per_end: largest number of bits of a record's end.

    Returns:
        The ratio; 0 where every record is always drawn.
    """

    def ratio(tokens: int) -> float:
        probability = design.probability(tokens)
        return (bits_per_token * tokens + bits_per_end) / -log1p(-probability) if probability < 1 else 0.0

    low, high = 0, longest
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if ratio(middle) < ratio(middle + 1) else (low, middle)
    return ratio(low)


def stock_at(ratio: float, confidence: float) -> float:
    """The stock of a limit at one price, for records whose X / H is at most `ratio` bits a nat: bits once."""
    return ratio / STEEP * (-log(1 - confidence) - log(STEEP_SHARE))
