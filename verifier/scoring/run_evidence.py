"""Hypothesis tests of one run (count, extreme, conditional) against an honest server, and their p-value."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import binom

from weightwarden.sampler.types import FloatArray, IntArray
from weightwarden.verifier.statistics.conditional_e_process import log_factors
from weightwarden.verifier.statistics.e_process import log_mean

TESTS = 3
"""Number of tests of a run; each is used at this part of the level (Bonferroni)."""


@dataclass(frozen=True, kw_only=True)
class HonestRates:
    """Upper limits of honest records under a policy.

    Attributes:
        level: largest share of honest records flagged by the tests of their tokens; the p-values are at most x in a
            share x of honest records. 0 where no test has its own p-value.
        events: largest shares of honest records with another event that flags a record, such as a server's failure. The
            p-value of such a record is that share.
        outlier_rate: largest share of honest tokens that are outliers.
        most_outlying: largest share of honest records that hold an outlier, whatever their length.
    """

    level: float
    events: tuple[float, ...]
    outlier_rate: float
    most_outlying: float

    @property
    def flagged(self) -> float:
        """Largest share of honest records that are flagged, for any reason."""
        return self.level + sum(self.events)

    @property
    def contamination(self) -> float:
        """Largest share of honest records that may hold anything in the conditional test: those that are flagged."""
        return min(self.flagged, 0.5)

    def as_implausible(self, p_value: float) -> float:
        """Largest share of honest records with a p-value, the least over all reasons, of at most this one."""
        by_tokens = p_value if self.level else 0.0
        return by_tokens + sum(share for share in self.events if share <= p_value)

    def outlying(self, tokens_r: IntArray) -> FloatArray:
        """Largest probability [r] that an honest record of so many tokens holds an outlier.

        The sum over its tokens, which holds for any dependence between them.
        """
        probability: FloatArray = np.minimum(tokens_r * self.outlier_rate, self.most_outlying)
        return probability


def run_p_value(
    honest: HonestRates,
    *,
    p_value_r: FloatArray,
    flagged: int,
    tokens_r: IntArray,
    log_ratio_rk: FloatArray,
) -> float:
    """Probability bound that an honest run shows as much as this one.

    Three tests, Bonferroni over all. *Count*: the flagged records against a binomial law at the honest rate of being
    flagged for any reason; it detects many records that are each just implausible. *Extreme*: the smallest p-value; it
    detects one record that is impossible. *Conditional*: the likelihood ratios of the records (`conditional_bound`); it
    detects choices that are each plausible, and too many, and lone outliers in many records, none of which flags its
    record. The share of records with an outlier is no test: honest traffic with more close candidates has more.

    Args:
        p_value_r: p-value of every record, 0 for one that no honest run would show.
        flagged: number of flagged records.
        tokens_r: output tokens of each record.
        log_ratio_rk: ln of each record's e-value under each bet, nats.

    Raises:
        ValueError: there are no records.
    """
    records = len(p_value_r)
    if not records:
        raise ValueError("a run of no records has no p-value")
    by_count = float(binom.sf(flagged - 1, records, min(honest.flagged, 1.0))) if flagged else 1.0
    by_extreme = records * honest.as_implausible(float(p_value_r.min()))
    by_conditional = conditional_bound(log_ratio_rk[tokens_r > 0], honest.contamination)
    return min(1.0, TESTS * min(by_count, by_extreme, by_conditional))


def conditional_bound(log_ratio_rk: FloatArray, contamination: float) -> float:
    """Probability bound that honest records multiply the capital of the conditional test as these did (Markov).

    Args:
        log_ratio_rk: ln of each record's e-value under each bet, nats, of records with tokens.
        contamination: largest share of honest records that may hold anything.
    """
    log_capital = float(log_mean(log_factors(log_ratio_rk, contamination).sum(axis=0)))
    return float(np.exp(-max(log_capital, 0.0)))
