"""Scores where the noise belongs to a candidate's rank, which is known up to the slack (scheme `sglang-ranked`).

If another token's logit may have overtaken a token, the token may have been drawn with that one's noise. Each token is
bounded separately, by the least and the largest noise of its possible ranks. The bounds ignore that two tokens cannot
share a rank. So an honest token is never worse than its margin, and the admissible set is larger than necessary.
"""

from typing import TypedDict

import numpy as np

from weightwarden.sampler.support import counts_above, logit_distance
from weightwarden.sampler.types import BoolArray, FloatArray, IntArray
from weightwarden.verifier.candidates.draws import Draws
from weightwarden.verifier.candidates.window import Window


class RankedScores(TypedDict):
    """Perturbed logits [n, k] at the replay's own ranks, and the least and the largest [n, k, e] within each slack."""

    scores: FloatArray
    least: FloatArray
    largest: FloatArray


def ranked_scores(draws: Draws, window: Window, head: FloatArray, scale_nk: FloatArray) -> RankedScores:
    """Scores of a head that holds every possible token, and every token that may have the rank of one.

    Args:
        head: the largest logits of each row, descending.
        scale_nk: largest factor from errors of raw logits to errors of the difference to a neighbour.
    """
    perturbation = draws.perturbation(np.broadcast_to(np.arange(head.shape[1]), head.shape))
    low, high = draws.reach(perturbation, perturbation)
    least, largest = [], []
    for slack in window.logit_slacks:
        reach = slack * scale_nk
        first = counts_above(head, head + reach)
        last = np.maximum(counts_above(head, head - reach, inclusive=True) - 1, first)
        least.append(head - range_maximum(-low, first, last))
        largest.append(head + range_maximum(high, first, last))
    return RankedScores(scores=head + perturbation, least=np.stack(least, axis=2), largest=np.stack(largest, axis=2))


def reaches_beyond(
    head: FloatArray, log_mass_n: FloatArray, draws: Draws, window: Window, steepest_n: FloatArray
) -> BoolArray:
    """True for rows [n] in which a token below the head may be possible, or may have a possible token's rank.

    A possible token that is above the last of the head by no more than the slack would be within twice the slack of the
    cuts, seen from that last one.

    Args:
        log_mass_n: ln of the sum of exp(logit / temperature) over the whole vocabulary.
    """
    filters, reach = draws.filters, 2 * window.logit_slacks[-1] * steepest_n
    largest_n, last = head[:, 0], head[:, -1:]
    mass_n = np.exp(log_mass_n - largest_n / filters.temperature_n)
    cumulative = np.cumsum(np.exp((head - largest_n[:, None]) / filters.temperature_n[:, None]), axis=1)
    above = counts_above(head, last + reach[:, None])
    share_n = np.where(above > 0, np.take_along_axis(cumulative, np.maximum(above - 1, 0), 1), 0.0)[:, 0] / mass_n
    inside = logit_distance(last, head, filters)[:, 0] > -reach
    in_nucleus = share_n < filters.top_p_n + window.mass_slack * steepest_n / filters.temperature_n
    open_n: BoolArray = inside & ((filters.top_p_n >= 1) | in_nucleus)
    return open_n


def range_maximum(values_nk: FloatArray, first_nk: IntArray, last_nk: IntArray) -> FloatArray:
    """Largest value [n, q] of each row in the columns first to last, both included and first <= last."""
    width = values_nk.shape[1]
    first, last = np.minimum(first_nk, width - 1), np.minimum(last_nk, width - 1)
    power = np.frexp(last - first + 1)[1] - 1
    found = np.full(first.shape, -np.inf)
    spans, span = values_nk, 1  # spans[:, i]: the maximum of columns i to i + span - 1
    for exponent in range(int(power.max(initial=0)) + 1):
        row, column = np.nonzero(power == exponent)
        start, end = first[row, column], last[row, column] - span + 1
        found[row, column] = np.maximum(spans[row, start], spans[row, end])
        spans = np.maximum(spans[:, :-span], spans[:, span:])
        span *= 2
    return found
