"""Audited records until an alarm: the time at which a random walk with drift first reaches a threshold.

The ln of a bet's capital is a sum over records of gains with mean m > 0 and variance v. Brownian motion with this drift
and variance first reaches b at a time with the inverse Gaussian law (Wald 1947; Folks and Chhikara 1978):

    P(time <= n) = Phi((m n - b) / sqrt(v n)) + exp(2 m b / v) Phi(-(m n + b) / sqrt(v n)).

Gains are not Gaussian and come by whole records, so that this is an approximation.
"""

from math import ceil, inf, log

import numpy as np
from scipy.optimize import brentq
from scipy.special import log_ndtr

from weightwarden.verifier.statistics.errors import StatisticsError


def crossing_probability(records: float, *, threshold: float, drift: float, variance: float) -> float:
    """Probability that the walk has reached the threshold within so many records.

    Args:
        threshold: b, nats, positive.
        drift: m, nats a record.
        variance: v, squared nats a record.
    """
    if records <= 0:
        return 0.0
    if variance <= 0:
        return float(drift * records >= threshold)
    width = (variance * records) ** 0.5
    by_drift = log_ndtr((drift * records - threshold) / width)
    reflected = 2 * drift * threshold / variance + log_ndtr(-(drift * records + threshold) / width)
    return float(min(1.0, np.exp(by_drift) + np.exp(min(reflected, 0.0))))


def records_to_cross(power: float, *, threshold: float, drift: float, variance: float) -> float:
    """Records after which the walk has reached the threshold with probability `power`; inf where it does not rise.

    Whole records, at least one.

    Raises:
        StatisticsError: `power` is not in (0, 1), or the threshold is not positive.
    """
    if not 0 < power < 1 or not threshold > 0:
        raise StatisticsError(f"no time to an alarm with probability {power:g} at a threshold of {threshold:g} nats")
    if drift <= 0:
        return inf

    def excess(log_records: float) -> float:
        found = crossing_probability(np.exp(log_records), threshold=threshold, drift=drift, variance=variance)
        return found - power

    mean = threshold / drift
    if variance <= 0:
        return float(ceil(mean))
    low, high = log(mean), log(mean)
    while excess(low) > 0:
        low -= 1
    while excess(high) < 0:
        high += 1
    return float(max(1, ceil(np.exp(brentq(excess, low, high)))))
