"""Bounds for rows that are not whole: tokens of unknown logit, and cuts that they could move."""

import numpy as np

from weightwarden.sampler.support import Support, counts_above
from weightwarden.sampler.types import BoolArray, FloatArray, IntArray
from weightwarden.verifier.candidates.draws import Draws
from weightwarden.verifier.candidates.layout import in_columns
from weightwarden.verifier.logits.rows import LogitRows

_PAIRS = 1 << 16
"""Number of (row, token) pairs compared with the head at a time."""
_TOKENS = 1 << 22
"""Number of tokens of open rows looked at at a time."""


def settle_by_draw(
    rows: LogitRows,
    draws: Draws,
    slack: float,
    mass_slack_n: FloatArray,
    head: FloatArray,
    head_ids: IntArray,
    reach: tuple[FloatArray, FloatArray],
    support: Support,
) -> None:
    """Settle the cuts of rows where the engine was observed to draw a token. Changes the support in place.

    The drawn token is then inside every cut, and a rival that would have beaten it is outside. A token that is known to
    tie with another on a cut is left alone: the one that survives may differ from run to run. Below the ceiling ties
    are not known, and the engine's draw decides: the drawn token is inside, and every token that is not surely inside
    is outside.

    Args:
        reach: least and largest score [n, k] that the engine may have given each token of the head.
    """
    drawn = np.flatnonzero(rows.drawn() >= 0)
    if not len(drawn):
        return
    values, own = head[drawn], head_ids[drawn] == rows.drawn()[drawn, None]
    ties = counts_above(values, values - slack, inclusive=True) - counts_above(values, values + slack)
    low = values <= rows.ceilings()[drawn, None] + slack
    alone = (ties == 1) | low
    least, largest = (scores[drawn] for scores in reach)
    own_score = np.where(own, largest, -np.inf).max(axis=1, keepdims=True)
    row, column = np.nonzero(own)  # inside, or at least on a cut
    support.logit_distance_nk[drawn[row], column] = np.maximum(support.logit_distance_nk[drawn[row], column], 0.0)
    support.mass_above_min_nke[drawn[row], column] = -1.0
    row, column = np.nonzero(alone & own)
    support.logit_distance_nk[drawn[row], column] = np.inf
    support.mass_above_min_nke[drawn[row], column] = support.mass_above_max_nke[drawn[row], column] = -1.0
    row, column = np.nonzero(alone & ~own & ((least > own_score) | low))
    unsure = support.mass_above_max_nke[drawn[row], column, -1] >= (draws.filters.top_p_n - mass_slack_n)[drawn[row]]
    unsure |= support.logit_distance_nk[drawn[row], column] < slack
    support.logit_distance_nk[drawn[row[unsure]], column[unsure]] = -np.inf
    support.unsettled_nk[drawn] &= ~alone


def unseen_scores(
    rows: LogitRows,
    draws: Draws,
    open_rows: IntArray,
    floor_n: FloatArray,
    head_ids: IntArray,
) -> tuple[FloatArray, BoolArray]:
    """Largest possible scores [n, u] of the unseen tokens that could reach the floor of their row.

    Returns:
        The scores of tokens other than the claimed one, and a mask of rows with any unseen token, the claimed one
            included.
    """
    open_n = np.zeros(len(rows), np.bool_)
    if rows.whole or not len(open_rows):
        return np.empty((len(rows), 0)), open_n
    row, token, bound = _within_reach(rows, draws, open_rows, floor_n)
    held = np.zeros(len(row), np.bool_)
    for start in range(0, len(row), _PAIRS):
        block = slice(start, start + _PAIRS)
        held[block] = (head_ids[row[block]] == token[block, None]).any(axis=1)
    row, token, bound = row[~held], token[~held], bound[~held]
    perturbation = draws.perturbation(token[:, None], row)
    _, largest = draws.reach(bound[:, None] + perturbation, perturbation, row)
    score = largest[:, 0]
    near = score >= floor_n[row]
    open_n[row[near]] = True
    near &= token != draws.claimed_n[row]
    return in_columns(row[near], score[near], len(rows)), open_n


def _within_reach(
    rows: LogitRows, draws: Draws, open_rows: IntArray, floor_n: FloatArray
) -> tuple[IntArray, IntArray, FloatArray]:
    """Rows, ids and bounds of the tokens that reach the floor of their row with its ceiling, and that masks allow.

    Some rows at a time: where no known token is left, the whole vocabulary is within reach.
    """
    found = []
    step = max(1, _TOKENS // rows.vocabulary)
    for start in range(0, len(open_rows), step):
        some = open_rows[start : start + step]
        ceiling = rows.ceilings()[some]
        if draws.noise is None or draws.keys_n is None:
            level = some[ceiling >= floor_n[some]]
            row, token = np.repeat(level, rows.vocabulary), np.tile(np.arange(rows.vocabulary), len(level))
        else:
            needed = (floor_n[some] - ceiling) / draws.temperature_n[some]
            hit, token = draws.noise.above(draws.keys_n[some], needed)
            row = some[hit]
        bound = rows.bounds(row, token)
        allowed = bound > -np.inf
        found.append((row[allowed], token[allowed], bound[allowed]))
    row, token, bound = (np.concatenate([part[i] for part in found]) for i in range(3))
    return row, token, bound
