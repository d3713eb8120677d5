"""Bounds of the normaliser of a filtered distribution: the mass that the filters keep, where cuts are unsure."""

import numpy as np

from weightwarden.sampler.support import kept_before_top_p, logit_distance
from weightwarden.sampler.types import FloatArray, IntArray
from weightwarden.verifier.candidates.draws import Draws
from weightwarden.verifier.candidates.gumbel_head import PlacedHead
from weightwarden.verifier.candidates.table import boundary
from weightwarden.verifier.candidates.window import Window
from weightwarden.verifier.logits.rows import LogitRows

ROUNDING = 1e-5
"""Probability by which an engine's float32 cumulative sum may miss the top-p cut."""


def log_normaliser(
    rows: LogitRows, draws: Draws, window: Window, head: FloatArray, looked: PlacedHead
) -> tuple[FloatArray, FloatArray]:
    """Bounds [n, e] of ln of the sum of exp(logit / temperature) over the support, nats, at each logit slack.

    The support holds every sure token, and no token but the possible ones (`boundary`). The nucleus of top-p holds at
    least p of the mass that the other filters keep, and less than p without its least likely token.

    Args:
        head: the largest logits of each row, descending.
        looked: the same head, placed against the cuts.
    """
    filters, temperature_n, levels = draws.filters, draws.temperature_n, window.logit_slacks
    weights = np.exp((head - head[:, :1]) / temperature_n[:, None])
    shape = len(head), len(levels)
    least, most = np.empty(shape), np.empty(shape)
    for level, slack in enumerate(levels):
        sure, possible = boundary(
            looked.support.logit_distance_nk,
            looked.support.mass_above_min_nke[:, :, level],
            looked.support.mass_above_max_nke[:, :, level],
            filters.top_p_n,
            slack,
            looked.mass_slack_n,
        )
        least[:, level] = np.maximum(np.where(sure, weights, 0.0).sum(axis=1), 1.0)  # the likeliest is always kept
        most[:, level] = np.where(possible | looked.support.nominal_nk, weights, 0.0).sum(axis=1)
    nucleus_n = filters.top_p_n < 1
    cut_n = head[:, 0] + filters.min_p_offset()

    def whole_mass(which: IntArray, floor: FloatArray) -> FloatArray:
        """Mass, relative to the likeliest token's, of the tokens of some rows that are not below a floor."""
        log_mass = rows.log_mass(which, temperature_n[which], floor, head[which, 0])
        mass: FloatArray = np.exp(log_mass - head[which, 0] / temperature_n[which])
        return mass

    wide = np.flatnonzero(looked.beyond & ~nucleus_n)
    everything = wide[np.isneginf(cut_n[wide])]
    least[everything] = most[everything] = whole_mass(everything, cut_n[everything])[:, None]
    cut = wide[np.isfinite(cut_n[wide])]
    for level, slack in enumerate(levels):
        reach = slack * rows.steepest()[cut]
        least[cut, level] = whole_mass(cut, cut_n[cut] + reach)
        most[cut, level] = whole_mass(cut, cut_n[cut] - reach)
    total_n = np.where(kept_before_top_p(head, filters), weights, 0.0).sum(axis=1)
    if head.shape[1] < rows.vocabulary:
        below = logit_distance(head[:, -1:], head, filters)[:, 0] > -levels[-1] * rows.steepest()
        at = np.flatnonzero(nucleus_n & below)
        total_n[at] = whole_mass(at, cut_n[at])
    floor_n = np.where(nucleus_n, (filters.top_p_n - ROUNDING) * total_n, 0.0)
    ceiling_n = (filters.top_p_n + ROUNDING) * total_n + weights[:, -1]
    least = np.maximum(least, floor_n[:, None])
    open_n = looked.beyond & nucleus_n
    most[open_n] = np.minimum(np.maximum(most, ceiling_n[:, None]), total_n[:, None])[open_n]
    offset_n = (head[:, 0] / temperature_n)[:, None]
    return np.log(least) + offset_n, np.log(np.maximum(most, least)) + offset_n
