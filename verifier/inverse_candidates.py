"""Candidates of positions whose token is where one uniform number falls in the cumulative distribution."""

from dataclasses import replace

import numpy as np
from scipy.special import logit

from sampler.support import Filters, Support, logit_distance, support_of_head
from sampler.types import BoolArray, FloatArray, IntArray
from verifier.candidate_table import (
    HEAD_RESERVE,
    CandidateTable,
    Draws,
    Entries,
    Window,
    at_levels,
    boundary,
    filters_of,
    lay_out,
    logit_rank,
)
from verifier.rows import LogitRows

MAX_MARGIN = 0.25
"""Widest window kept, logits: in vocabulary order thousands of intervals lie within a logit of u."""


def margin_limit(scheme_name: str) -> float:
    """Largest threshold, logits, at which the admissible set of a scheme is counted whole."""
    return MAX_MARGIN if scheme_name == "inverse-cdf" else float("inf")


def inverse_cdf_candidates(rows: LogitRows, draws: Draws, window: Window) -> CandidateTable:
    """Candidates of scheme `inverse-cdf`: llama.cpp's default chain (sampling-spec 8).

    The token is the first, in candidate order (descending logits after top-k or top-p, else vocabulary order), whose
    cumulative probability exceeds u. The margin of a token is the logit error that would move u into its interval:
    raising all logits on one side of an edge by e / 2 and lowering the others by e / 2 moves the edge's log-odds by
    e / temperature, so the margin is temperature * |log-odds(edge) - log-odds(u)|, in logits; 0 inside. A cut that may
    or may not keep a token changes every interval: the margin is the smallest over the nominal, the sure and the
    possible support. Scores are minus the margin; the cuts need no further slack.
    """
    if draws.uniforms_n is None:
        raise ValueError("scheme inverse-cdf needs its uniform numbers")
    filters, n = draws.filters, len(rows)
    ordered = (filters.top_k_n < rows.vocabulary) | (filters.top_p_n < 1)
    exact, ranks = np.zeros(n, np.bool_), np.zeros(n, np.int64)
    low, high = np.full(n, np.nan), np.full(n, np.nan)
    claimed: list[Entries] = []
    others: list[Entries] = []
    for which, by_rank in ((np.flatnonzero(ordered), True), (np.flatnonzero(~ordered), False)):
        if not len(which):
            continue
        here = np.arange(len(which))
        temperature, uniform, y = draws.temperature_n[which], draws.uniforms_n[which], draws.claimed_n[which]
        values, ids, support = _in_candidate_order(rows, which, filters_of(filters, which), window, by_rank)
        weights = np.exp((values - values.max(axis=1, keepdims=True)) / temperature[:, None])
        margins = np.full(values.shape, np.inf)
        for kept in _supports(support, filters_of(filters, which), window):
            margins = np.minimum(margins, _margins(*_intervals(weights, kept), kept, uniform, temperature))

        lower, upper = _intervals(weights, support.nominal_nk)
        drawn = (upper > uniform[:, None]).argmax(axis=1)
        match = ids == y[:, None]
        present, at = match.any(axis=1), match.argmax(axis=1)
        exact[which] = present & (at == drawn)
        ranks[which] = 1 + (margins < np.where(present, margins[here, at], np.inf)[:, None]).sum(axis=1)
        low[which] = np.where(present, lower[here, at], np.inf) - uniform
        high[which] = np.where(present, upper[here, at], np.inf) - uniform
        claimed.append(_entries(which, y, np.where(present, margins[here, at], np.inf), window))
        row, column = np.nonzero((margins <= min(window.margin, MAX_MARGIN)) & ~match)
        others.append(_entries(which[row], ids[row, column], margins[row, column], window))
    together = Entries.joined(claimed)
    return lay_out(
        together.chosen(np.argsort(together.row)),
        Entries.joined(others),
        filters=filters,
        exact_n=exact,
        logit_rank_n=logit_rank(rows, draws),
        gumbel_rank_n=ranks,
        cdf_low_n=low,
        cdf_high_n=high,
    )


def _in_candidate_order(
    rows: LogitRows, which: IntArray, filters: Filters, window: Window, by_rank: bool
) -> tuple[FloatArray, IntArray, Support]:
    """Logits, ids and support of the rows, in the order in which the engine adds probabilities up."""
    vocabulary = rows.vocabulary
    cut = filters.top_k_n < vocabulary
    size = int(filters.top_k_n.max()) + HEAD_RESERVE if cut.all() else vocabulary
    values, ids = rows.head(which, size)
    # llama.cpp cuts by min-p last: top-p sees what top-k keeps.
    earlier = replace(filters, min_p_n=np.zeros_like(filters.min_p_n))
    support = support_of_head(values, earlier, None, np.asarray(window.logit_slacks))
    support = replace(
        support,
        nominal_nk=support.nominal_nk & (values >= values[:, :1] + filters.min_p_offset()[:, None]),
        logit_distance_nk=logit_distance(values, values, filters),
    )
    if by_rank:
        return values, ids, support
    order = np.argsort(ids, axis=1)
    deep = order[:, :, None]
    in_order = replace(
        support,
        nominal_nk=np.take_along_axis(support.nominal_nk, order, 1),
        logit_distance_nk=np.take_along_axis(support.logit_distance_nk, order, 1),
        mass_above_nk=np.take_along_axis(support.mass_above_nk, order, 1),
        mass_above_min_nke=np.take_along_axis(support.mass_above_min_nke, deep, 1),
        mass_above_max_nke=np.take_along_axis(support.mass_above_max_nke, deep, 1),
    )
    return np.take_along_axis(values, order, 1), np.take_along_axis(ids, order, 1), in_order


def _supports(support: Support, filters: Filters, window: Window) -> list[BoolArray]:
    """The nominal, the sure and the possible support; a row with no sure token falls back on the nominal one."""
    sure, possible = boundary(
        support.logit_distance_nk,
        support.mass_above_min_nke[:, :, -1],
        support.mass_above_max_nke[:, :, -1],
        filters.top_p_n,
        window.logit_slacks[-1],
        window.mass_slack / filters.temperature_n,
    )
    nominal = support.nominal_nk
    sure &= nominal
    sure[~sure.any(axis=1)] = nominal[~sure.any(axis=1)]
    return [nominal, sure, possible | nominal]


def _intervals(weights_nk: FloatArray, kept_nk: BoolArray) -> tuple[FloatArray, FloatArray]:
    """Lower and upper ends [n, k] of each kept token's interval of the cumulative distribution."""
    kept = np.where(kept_nk, weights_nk, 0.0)
    upper = np.cumsum(kept, axis=1)
    total = upper[:, -1:].copy()
    return (upper - kept) / total, upper / total


def _margins(
    lower_nk: FloatArray, upper_nk: FloatArray, kept_nk: BoolArray, uniform_n: FloatArray, temperature_n: FloatArray
) -> FloatArray:
    """Margins [n, k], logits; inf for tokens that are not kept."""
    u = uniform_n[:, None]
    edge = np.where(lower_nk > u, lower_nk, upper_nk)
    inside = (lower_nk <= u) & (u < upper_nk)
    distance = np.abs(logit(np.clip(edge, 0.0, 1.0)) - logit(np.clip(u, 1e-300, None)))
    return np.where(kept_nk, np.where(inside, 0.0, temperature_n[:, None] * distance), np.inf)


def _entries(row: IntArray, token: IntArray, margin: FloatArray, window: Window) -> Entries:
    nothing = np.zeros((len(row), len(window.logit_slacks)))
    return Entries(
        row=row,
        token=token,
        score=-margin,
        score_min_e=at_levels(-margin, len(window.logit_slacks)),
        score_max_e=at_levels(-margin, len(window.logit_slacks)),
        distance=np.where(np.isfinite(margin), np.inf, -np.inf),
        mass_min_e=nothing,
        mass_max_e=nothing - 1.0,  # the margin has the cuts in it already: surely inside
    )
