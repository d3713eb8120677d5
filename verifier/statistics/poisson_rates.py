"""Limits of a rate per token from a Poisson sample: each record was drawn with its own probability.

Record r of a population has n_r tokens and x_r events, and was drawn with probability p_r, independently of all others;
the draw was made after the records were fixed. With w_r = n_r / (p_r s) and v_r = x_r / (p_r s), where s is the largest
n / p of any record, a fixed bet 0 <= b <= 1 / (1 - q) on "less than q" has the capital

    product over the drawn records of (1 + b (q w_r - v_r)).

The factors are not negative. That of record r has the mean 1 + b (q n_r - x_r) / s, drawn or not, so that the mean of
the product is at most exp(b sum_r (q n_r - x_r) / s), which is at most 1 where the rate is q or more. By Markov's
inequality the capital then reaches 1 / alpha with probability at most alpha: rates of which it does are rejected. The
bet on "more than q" is symmetric. Nothing is assumed of the tokens, nor of the records.
"""

import numpy as np

from weightwarden.sampler.types import FloatArray
from weightwarden.verifier.statistics.errors import StatisticsError
from weightwarden.verifier.statistics.intervals import Interval
from weightwarden.verifier.statistics.rates import rate_limits


def poisson_rate_limits(
    events_r: FloatArray,
    tokens_r: FloatArray,
    probability_r: FloatArray,
    *,
    tokens: float,
    longest: float,
    confidence: float,
    log_missed: float,
) -> Interval:
    """Confidence limits of a rate per token of a population, from records drawn with their own probabilities.

    Records that are always drawn are known. The others get limits by betting (`verifier.statistics.rates`).

    Args:
        events_r: events of each drawn record, at most one a token.
        tokens_r: tokens of each drawn record.
        probability_r: probability with which it was drawn, in (0, 1].
        tokens: tokens of all records, drawn or not.
        longest: largest tokens / probability of any record of the population that is not always drawn; 0 without one.
        log_missed: ln of the probability that the draw selects no record, in which case it would not have been used.

    Returns:
        The interval around `estimated_rate`.

    Raises:
        StatisticsError: no drawn record has tokens, or the arguments are no sample.
    """
    if not 0 < confidence < 1:
        raise StatisticsError(f"a confidence lies in (0, 1), not {confidence}")
    events_r, tokens_r = np.asarray(events_r, np.float64), np.asarray(tokens_r, np.float64)
    probability_r = np.asarray(probability_r, np.float64)
    if not ((probability_r > 0) & (probability_r <= 1)).all():
        raise StatisticsError("a drawn record has a probability in (0, 1]")
    seen_tokens, seen_events = float(tokens_r.sum()), float(events_r.sum())
    if not seen_tokens or seen_tokens > tokens:
        raise StatisticsError(f"drawn records with {seen_tokens:g} tokens are no sample of {tokens:g} tokens")
    always_r = probability_r == 1
    known_events, left = float(events_r[always_r].sum()), tokens - float(tokens_r[always_r].sum())
    low, high = 0.0, 1.0
    if left > 0 and tokens_r[~always_r].any():
        weight_r = 1 / probability_r[~always_r]
        rest = rate_limits(
            events_r[~always_r] * weight_r,
            tokens_r[~always_r] * weight_r,
            confidence=1 - (1 - confidence) * -float(np.expm1(log_missed)),
            longest=longest * (1 + 1e-12),
            trials=left / longest,
        )
        low, high = ((known_events + limit * left) / tokens for limit in (max(rest.low, 0.0), min(rest.high, 1.0)))
    # Whatever the others hold, the events that were seen are there, and so are the tokens without one.
    low, high = max(low, seen_events / tokens), min(high, 1 - (seen_tokens - seen_events) / tokens)
    value = estimated_rate(events_r, tokens_r, probability_r, tokens)
    return Interval(min(max(value, low), high), low, high)


def estimated_rate(events_r: FloatArray, tokens_r: FloatArray, probability_r: FloatArray, tokens: float) -> float:
    """The estimate of a rate per token of all records: each drawn one stands for 1 / probability records of its kind.

    Records that are always drawn stand for themselves. With equal probabilities it is the share of events among the
    tokens of the drawn records.

    Args:
        events_r: events of each drawn record.
        tokens_r: tokens of each drawn record, not all of them 0.
        probability_r: probability with which it was drawn, in (0, 1].
        tokens: tokens of all records.
    """
    some_r = (probability_r < 1) & (tokens_r > 0)
    if not some_r.any():
        return float(events_r.sum() / tokens_r.sum())
    weight_r = 1 / probability_r[some_r]
    rate = float((events_r[some_r] * weight_r).sum() / (tokens_r[some_r] * weight_r).sum())
    return float((events_r[~some_r].sum() + rate * (tokens - tokens_r[~some_r].sum())) / tokens)
