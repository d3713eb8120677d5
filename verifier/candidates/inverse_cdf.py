"""Candidates of positions whose token is the interval of the cumulative distribution that holds one uniform number."""

from dataclasses import replace

import numpy as np
from scipy.special import logit

from weightwarden.sampler.support import Filters, logit_distance, support_of_head
from weightwarden.sampler.types import BoolArray, FloatArray, IntArray
from weightwarden.verifier.candidates.draws import Draws, filters_of, logit_rank
from weightwarden.verifier.candidates.layout import Entries, at_levels, lay_out
from weightwarden.verifier.candidates.table import CandidateTable, boundary
from weightwarden.verifier.candidates.window import HEAD_RESERVE, Window
from weightwarden.verifier.logits.rows import LogitRows

MAX_MARGIN = 0.25
"""Widest window kept, logits: in vocabulary order thousands of intervals lie within a logit of u."""


def margin_limit(scheme_name: str) -> float:
    """Largest threshold, logits, at which the admissible set of a scheme is counted completely."""
    return MAX_MARGIN if scheme_name == "inverse-cdf" else float("inf")


def inverse_cdf_candidates(rows: LogitRows, draws: Draws, window: Window) -> CandidateTable:
    """Candidates of scheme `inverse-cdf`: llama.cpp's default chain (docs/sampling.md, section 8).

    The token is the first, in candidate order (descending logits after top-k or top-p, else vocabulary order), whose
    cumulative probability reaches u. The margin of a token is the logit error that would move u into its interval:
    raising all logits on one side of an edge by e / 2 and lowering the others by e / 2 moves the edge's log-odds by e /
    temperature, so the margin is temperature * |log-odds(edge) - log-odds(u)|, in logits; 0 inside. A cut that may or
    may not keep a token changes every interval: the margin is the smallest over the nominal, the sure and the possible
    support. Scores are minus the margin; the cuts need no further slack.
    """
    if draws.uniforms_n is None:
        raise ValueError("scheme inverse-cdf needs its uniform numbers")
    filters, n = draws.filters, len(rows)
    ordered = (filters.top_k_n < rows.vocabulary) | (filters.top_p_n < 1)
    exact, ranks = np.zeros(n, np.bool_), np.zeros(n, np.int64)
    low, high = np.full(n, np.nan), np.full(n, np.nan)
    claimed: list[Entries] = []
    others: list[Entries] = []
    for which, in_order in ((np.flatnonzero(ordered), _by_rank), (np.flatnonzero(~ordered), _by_id)):
        if not len(which):
            continue
        here = np.arange(len(which))
        temperature, uniform, y = draws.temperature_n[which], draws.uniforms_n[which], draws.claimed_n[which]
        values, ids, supports = in_order(rows, which, filters_of(filters, which), window)
        weights = np.exp((values - values.max(axis=1, keepdims=True)) / temperature[:, None])
        margins = np.full(values.shape, np.inf)
        for kept in supports:
            margins = np.minimum(margins, _margins(*_intervals(weights, kept), kept, uniform, temperature))

        lower, upper = _intervals(weights, supports[0])
        drawn = (supports[0] & (upper >= uniform[:, None])).argmax(axis=1)
        match = ids == y[:, None]
        present, at = match.any(axis=1), match.argmax(axis=1)
        exact[which] = present & (at == drawn)
        ranks[which] = 1 + (margins < np.where(present, margins[here, at], np.inf)[:, None]).sum(axis=1)
        low[which] = np.where(present, lower[here, at], np.inf) - uniform
        high[which] = np.where(present, upper[here, at], np.inf) - uniform
        claimed.append(_entries(which, y, np.where(present, margins[here, at], np.inf), window))
        row, column = np.nonzero((margins <= min(window.margin, MAX_MARGIN)) & ~match)
        others.append(_entries(which[row], ids[row, column], margins[row, column], window))
    together = Entries.concat(claimed)
    return lay_out(
        together.take(np.argsort(together.row)),
        Entries.concat(others),
        filters=filters,
        exact_n=exact,
        logit_rank_n=logit_rank(rows, draws),
        gumbel_rank_n=ranks,
        cdf_low_n=low,
        cdf_high_n=high,
    )


def _by_rank(
    rows: LogitRows, which: IntArray, filters: Filters, window: Window
) -> tuple[FloatArray, IntArray, list[BoolArray]]:
    """Logits, ids and supports (`_supports`) of rows with candidates that a filter left in descending order."""
    cut = filters.top_k_n < rows.vocabulary
    size = int(filters.top_k_n.max()) + HEAD_RESERVE if cut.all() else rows.vocabulary
    values, ids = rows.head(which, size)
    # llama.cpp applies min-p last: top-p counts the tokens that top-k keeps.
    earlier = replace(filters, min_p_n=np.zeros_like(filters.min_p_n))
    support = support_of_head(values, earlier, None, np.asarray(window.logit_slacks))
    sure, possible = boundary(
        logit_distance(values, values, filters),
        support.mass_above_min_nke[:, :, -1],
        support.mass_above_max_nke[:, :, -1],
        filters.top_p_n,
        window.logit_slacks[-1],
        window.mass_slack / filters.temperature_n,
    )
    nominal = support.nominal_nk & (values >= values[:, :1] + filters.min_p_offset()[:, None])
    return values, ids, _supports(nominal, sure, possible)


def _by_id(
    rows: LogitRows, which: IntArray, filters: Filters, window: Window
) -> tuple[FloatArray, IntArray, list[BoolArray]]:
    """Logits, ids and supports of rows in vocabulary order, which no filter but min-p may have cut."""
    largest_n = rows.head(which, 1)[0][:, 0]
    values = np.stack([rows.row(int(row)) for row in which]).astype(np.float64)
    with np.errstate(invalid="ignore"):  # -inf minus -inf: masked tokens, outside everything
        distance = values - (largest_n + filters.min_p_offset())[:, None]
    distance = np.where(np.isneginf(values), -np.inf, distance)
    slack = window.logit_slacks[-1]
    ids = np.broadcast_to(np.arange(rows.vocabulary), values.shape)
    return values, ids, _supports(distance >= 0, distance >= slack, distance > -slack)


def _supports(nominal: BoolArray, sure: BoolArray, possible: BoolArray) -> list[BoolArray]:
    """The nominal support; the sure and the possible support where they differ from it.

    A row with no sure token falls back on the nominal support.
    """
    sure = sure & nominal
    sure[~sure.any(axis=1)] = nominal[~sure.any(axis=1)]
    return [nominal, *(other for other in (sure, possible | nominal) if not np.array_equal(other, nominal))]


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
    edge = np.where(lower_nk >= u, lower_nk, upper_nk)
    inside = ((lower_nk < u) | (lower_nk == 0)) & (u <= upper_nk)
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
        mass_max_e=nothing - 1.0,  # the margin includes the cuts already: surely inside
        slope=np.ones(len(row)),  # the scheme has no penalties
    )
