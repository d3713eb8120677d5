"""Confidence intervals for rates and means over tokens that depend on each other within a record."""

import bisect
from dataclasses import dataclass

import numpy as np
from scipy.stats import beta, hypergeom, t

from weightwarden.sampler.types import FloatArray

CONFIDENCE = 0.95
MAX_POPULATION = 10_000_000
"""Largest population for which the hypergeometric law is computed."""


@dataclass(frozen=True)
class Interval:
    """An estimate and its two-sided confidence interval (each side misses with half of 1 - confidence)."""

    value: float
    low: float
    high: float


def clopper_pearson(successes: float, trials: float, confidence: float = CONFIDENCE) -> Interval:
    """Exact binomial interval (Clopper and Pearson 1934); real-valued counts are allowed (Korn and Graubard 1998).

    Raises:
        ValueError: there are no trials.
    """
    if trials <= 0:
        raise ValueError("a rate of zero trials has no interval")
    miss = (1 - confidence) / 2
    low = float(beta.ppf(miss, successes, trials - successes + 1)) if successes > 0 else 0.0
    high = float(beta.ppf(1 - miss, successes + 1, trials - successes)) if successes < trials else 1.0
    return Interval(successes / trials, low, high)


def hypergeometric_interval(successes: int, sample: int, population: int, confidence: float = CONFIDENCE) -> Interval:
    """Exact interval of a share of a population that was sampled without replacement (Buonaccorsi 1987).

    For events that a record either has or has not, such as being flagged. Each tail test is inverted, as Clopper and
    Pearson do for the binomial law.

    Raises:
        ValueError: nothing was sampled, or more than the population.
    """
    if not 0 < sample <= population or not 0 <= successes <= sample:
        raise ValueError(f"{successes} of {sample} of {population} is no sample")
    if population > MAX_POPULATION:  # its sample is practically independent, and Clopper-Pearson no narrower
        return clopper_pearson(successes, sample, confidence)
    miss = (1 - confidence) / 2
    least, most = successes, population - (sample - successes)

    def too_few(total: int) -> bool:
        return float(hypergeom.sf(successes - 1, population, total, sample)) <= miss

    def too_many(total: int) -> bool:
        return float(hypergeom.cdf(successes, population, total, sample)) <= miss

    low = bisect.bisect_left(range(least, most + 1), True, key=lambda total: not too_few(total)) + least
    high = bisect.bisect_left(range(least, most + 1), True, key=too_many) + least - 1
    return Interval(successes / sample, low / population, high / population)


def clustered_rate(successes_r: FloatArray, trials_r: FloatArray, confidence: float = CONFIDENCE) -> Interval:
    """Interval of a rate over tokens grouped in records: Clopper-Pearson at the effective sample size.

    The design effect (between-record variance over binomial variance, at least 1) divides the trials, and the t
    quantile's ratio accounts for the number of records (Korn and Graubard, Survey Methodology 24 (1998)). Assumes
    independent records; with no event at all the design effect is 1, which is the best that the data allow.

    Args:
        successes_r: events of each record.
        trials_r: tokens of each record.

    Raises:
        ValueError: fewer than two records have trials.
    """
    used = trials_r > 0
    successes_r, trials_r = successes_r[used], trials_r[used]
    records, trials, successes = len(trials_r), float(trials_r.sum()), float(successes_r.sum())
    if records < 2:
        raise ValueError("a clustered interval needs at least two records")
    rate = successes / trials
    if not 0 < rate < 1:
        return clopper_pearson(successes, trials, confidence)
    residual = successes_r - rate * trials_r
    variance = records / (records - 1) * float((residual**2).sum()) / trials**2
    effective = rate * (1 - rate) / variance if variance > 0 else trials
    quantile = (1 + confidence) / 2
    effective *= (t.ppf(quantile, trials - 1) / t.ppf(quantile, records - 1)) ** 2
    effective = min(effective, trials)
    bounds = clopper_pearson(rate * effective, effective, confidence)
    return Interval(rate, bounds.low, bounds.high)


def clustered_mean(sums_r: FloatArray, trials_r: FloatArray, confidence: float = CONFIDENCE) -> Interval:
    """Interval of a mean per token over records: ratio estimator, linearised variance, t quantile.

    Approximate (asymptotic in the number of records); assumes independent records of bounded sums.

    Raises:
        ValueError: there are fewer than two records.
    """
    used = trials_r > 0
    sums_r, trials_r = sums_r[used], trials_r[used]
    records, trials = len(trials_r), float(trials_r.sum())
    if records < 2:
        raise ValueError("a clustered interval needs at least two records")
    mean = float(sums_r.sum()) / trials
    residual = sums_r - mean * trials_r
    error = float(np.sqrt(records / (records - 1) * (residual**2).sum())) / trials
    half = float(t.ppf((1 + confidence) / 2, records - 1)) * error
    return Interval(mean, mean - half, mean + half)
