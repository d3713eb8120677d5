"""Candidates of positions whose token is the argmax of perturbed logits, or of plain logits (greedy)."""

from collections.abc import Mapping

import numpy as np

from weightwarden.sampler.support import MassProfile, Slopes, Support, logit_distance
from weightwarden.sampler.types import BoolArray, FloatArray, IntArray
from weightwarden.verifier.candidates.draws import Draws, filters_of, logit_rank
from weightwarden.verifier.candidates.gumbel_head import ScoredHead, placed_head, take_head, with_unknown, without_token
from weightwarden.verifier.candidates.layout import Entries, at_levels, lay_out
from weightwarden.verifier.candidates.table import CandidateTable, Standing, boundary
from weightwarden.verifier.candidates.unseen import unseen_scores
from weightwarden.verifier.candidates.window import Window
from weightwarden.verifier.errors import ReplayError
from weightwarden.verifier.logits.rows import LogitRows


def gumbel_candidates(rows: LogitRows, draws: Draws, window: Window) -> CandidateTable:
    """Candidates of positions whose token is the argmax of perturbed logits, or of plain logits (greedy).

    1. Take the head: the largest logits of each row, past every top-k cut and its slack.
    2. Place the head against the cuts, with the probability of the whole support where top-p needs it.
    3. Perturb it. The best surely supported candidate, with the least noise that the engine may have had, sets the
       floor that others must reach with the largest. Where a penalty scales logits and their errors, every tolerance is
       scaled alike (`Slopes`).
    4. Where the support reaches beyond the head, hash the whole vocabulary for noise large enough to lift any token of
       the tail to that floor (exact: none is missed). Tokens of unknown logit get their row's ceiling.
    5. Place the claimed token, wherever it lies. Mark contradicted and open positions, and lay the table out.

    A token that the engine was observed to draw is placed first, whatever the claimed token. A token whose logit is
    known only because it is claimed is left out of steps 1 to 4, so that the other tokens that could have been claimed
    do not depend on the claim.

    Raises:
        ReplayError: a row has no finite maximum, or noise of ranks meets rows that are not whole.
    """
    if draws.by_rank and not rows.whole:
        raise ReplayError("ranks need every logit of a row: replay on transformers")
    filters = draws.filters
    slack = window.logit_slacks[-1]
    steepest_n = rows.steepest()

    # 1
    everything, everything_ids = take_head(rows, draws, window, steepest_n)
    drawn_n = rows.drawn()
    hidden_n = (rows.claim_only() == draws.claimed_n) & (drawn_n != draws.claimed_n)
    head, head_ids = without_token(everything, everything_ids, np.where(hidden_n, draws.claimed_n, -1))
    head, head_ids = with_unknown(rows, head, head_ids)

    # 2, 3
    looked = placed_head(rows, draws, window, head, head_ids)
    scored, support, profiles, beyond = looked.scored, looked.support, looked.profiles, looked.beyond
    sure, possible, best_sure_n, winner_n = looked.sure, looked.possible, looked.best_sure_n, looked.winner_n
    score_max, slope_nk, best_n = scored.largest[:, :, -1], scored.slope_nk, best_sure_n.copy()
    nominal_scores = np.where(support.nominal_nk, scored.scores, -np.inf)
    best_nominal_n = nominal_scores.max(axis=1)

    # 4
    tail, tail_nominal = tail_entries(
        rows,
        draws,
        window,
        profiles,
        np.flatnonzero(beyond & rows.whole),
        best_sure_n - window.margin * steepest_n,
        head,
        head_ids,
        slope_nk,
        np.stack([best_n, looked.best_slope_n], axis=1),
        support,
    )
    tail_sure, tail_possible = boundary(
        tail.distance[:, None],
        tail.mass_min_e[:, -1:],
        tail.mass_max_e[:, -1:],
        filters.top_p_n[tail.row],
        slack,
        looked.mass_slack_n[tail.row],
    )
    np.maximum.at(best_sure_n, tail.row, np.where(tail_sure[:, 0], tail.score_min_e[:, -1], -np.inf))
    for r, token, score in zip(*(a[tail_nominal] for a in (tail.row, tail.token, tail.score)), strict=True):
        if score > best_nominal_n[r]:
            best_nominal_n[r], winner_n[r] = score, token
    floor_n = best_sure_n - window.margin * steepest_n
    reach_nk = window.margin * np.maximum(slope_nk, looked.best_slope_n[:, None])
    near = score_max >= np.maximum(floor_n[:, None], best_n[:, None] - reach_nk)
    row, column = np.nonzero(possible & near & (head_ids != draws.claimed_n[:, None]))
    kept = (
        tail_possible[:, 0] & (tail.score_max_e[:, -1] >= floor_n[tail.row]) & (tail.token != draws.claimed_n[tail.row])
    )

    # 5
    claimed = claimed_entries(rows, draws, window, profiles, head, head_ids, scored, support)
    inside_n = (possible & (head_ids == draws.claimed_n[:, None])).any(axis=1) | rows.whole
    exact_n = np.where(drawn_n >= 0, drawn_n, winner_n) == draws.claimed_n
    hidden = np.flatnonzero(hidden_n)
    if len(hidden):
        seen = placed_head(rows, draws, window, everything, everything_ids)
        at = (everything_ids == draws.claimed_n[:, None]).argmax(axis=1)
        own = head_entries(np.arange(len(rows)), at, everything_ids, seen.scored, seen.support).take(hidden)
        claimed = claimed.replaced(hidden, own)
        inside_n[hidden] = seen.possible[hidden, at[hidden]]
        exact_n[hidden] = (seen.winner_n == draws.claimed_n)[hidden] & (drawn_n[hidden] < 0)
    contradicted_n = (~inside_n | (claimed.score_max_e[:, -1] < floor_n)) & (drawn_n != draws.claimed_n)
    unseen, open_n = unseen_scores(rows, draws, np.flatnonzero(beyond & (drawn_n < 0)), floor_n, head_ids)
    matters = near | (head_ids == draws.claimed_n[:, None])
    unsettled_n = (support.unsettled_nk & possible & ~sure & matters).any(axis=1)
    gumbel_rank = 1 + (nominal_scores > claimed.score[:, None]).sum(axis=1)
    np.add.at(gumbel_rank, tail.row, tail_nominal & (tail.score > claimed.score[tail.row]))
    return lay_out(
        claimed,
        Entries.concat([head_entries(row, column, head_ids, scored, support), tail.take(kept)]),
        filters=filters,
        slope_n=support.slope_n,
        steepest_n=np.maximum(steepest_n, window.least_slope),
        exact_n=exact_n,
        logit_rank_n=logit_rank(rows, draws, head),
        gumbel_rank_n=gumbel_rank,
        unseen_scores_nu=unseen,
        contradicted_n=contradicted_n,
        standing_n=np.where(hidden_n, Standing.CLAIMED, np.where(drawn_n == draws.claimed_n, Standing.DRAWN, 0)).astype(
            np.int8
        ),
        open_n=open_n | unsettled_n,
    )


def head_entries(row: IntArray, column: IntArray, ids: IntArray, scored: ScoredHead, support: Support) -> Entries:
    """Entries of (row, column) pairs of the head."""
    return Entries(
        row=row,
        token=ids[row, column],
        score=scored.scores[row, column],
        score_min_e=scored.least[row, column],
        score_max_e=scored.largest[row, column],
        distance=support.logit_distance_nk[row, column],
        mass_min_e=support.mass_above_min_nke[row, column],
        mass_max_e=support.mass_above_max_nke[row, column],
        slope=scored.slope_nk[row, column],
    )


def tail_entries(
    rows: LogitRows,
    draws: Draws,
    window: Window,
    profiles: Mapping[int, MassProfile],
    open_rows: IntArray,
    floor_n: FloatArray,
    head: FloatArray,
    head_ids: IntArray,
    slope_nk: FloatArray,
    near_floor: FloatArray,
    support: Support,
) -> tuple[Entries, BoolArray]:
    """Tokens below the head that are nominally supported, with noise that lifts them to the floor of their row."""
    if draws.noise is None or draws.keys_n is None or not len(open_rows):
        nothing = np.empty(0, np.int64)
        return placed_entries(rows, draws, window, profiles, head, slope_nk, support, nothing, nothing, np.empty(0))
    temperature = draws.temperature_n[open_rows]
    needed = (floor_n[open_rows] - head[open_rows, -1]) / temperature
    hit, token = draws.noise.above(draws.keys_n[open_rows], needed)
    row = open_rows[hit]
    value = rows.at(row, token)
    in_head = np.zeros(len(row), np.bool_)
    near = np.flatnonzero(value >= head[row, -1])
    in_head[near] = (head_ids[row[near]] == token[near, None]).any(axis=1)
    keep = np.flatnonzero(~in_head & np.isfinite(value))
    if (slope_nk != 1).any():  # the floor holds for the steepest token; most tokens are less steep
        slope = window.slopes(rows, row[keep], token[keep])
        perturbation = draws.perturbation(token[keep, None], row[keep])
        _, largest = draws.reach(value[keep, None] + perturbation, perturbation, row[keep])
        best_n, slope_n = near_floor[row[keep]].T
        keep = keep[largest[:, 0] >= best_n - window.margin * np.maximum(slope, slope_n)]
    entries, nominal = placed_entries(
        rows, draws, window, profiles, head, slope_nk, support, row[keep], token[keep], value[keep]
    )
    high = entries.score_max_e[:, -1] >= floor_n[entries.row]
    return entries.take(high), nominal[high]


def placed_entries(
    rows: LogitRows,
    draws: Draws,
    window: Window,
    profiles: Mapping[int, MassProfile],
    head: FloatArray,
    slope_nk: FloatArray,
    support: Support,
    row: IntArray,
    token: IntArray,
    value: FloatArray,
) -> tuple[Entries, BoolArray]:
    """Entries of tokens outside the head (rows ascending), placed against the cuts, and a mask of the nominal ones.

    Where top-p ends the support within the head, the whole nucleus is above the token.
    """
    filters = draws.filters
    narrow = filters.top_p_n[row] < 1
    shape = (len(row), len(window.logit_slacks))
    mass_min, mass_max, mass = np.zeros(shape), np.zeros(shape), np.zeros(len(row))
    for level in range(shape[1]):
        mass_min[narrow, level] = mass_max[narrow, level] = 1.0
    mass[narrow] = 1.0
    slope = window.slopes(rows, row, token)
    for r in np.unique(row[narrow]):
        profile = profiles.get(int(r))
        if profile is None:
            continue
        at = slice(*np.searchsorted(row, [r, r + 1]))
        limit = value[at]
        mass[at], own = profile.above(limit), profile.own(limit)
        for level, slack in enumerate(window.logit_slacks):
            reach = slack * np.maximum(slope[at], support.slope_n[r])
            mass_min[at, level] = profile.above(limit + reach)
            mass_max[at, level] = profile.at_or_above(limit - reach) - own
    plain = (slope == 1).all() and (slope_nk == 1).all()
    slopes = None if plain else Slopes(values_nq=slope[:, None], head_nk=slope_nk[row])
    distance = logit_distance(value[:, None], head[row], filters_of(filters, row), slopes=slopes)[:, 0]
    if draws.by_rank:  # the head holds all possible candidates
        score, least, largest = (np.full((len(row), 1), -np.inf) for _ in range(3))
    else:
        perturbation = draws.perturbation(token[:, None], row)
        score = value[:, None] + perturbation
        least, largest = draws.reach(score, perturbation, row)
    entries = Entries(
        row=row,
        token=token,
        score=score[:, 0],
        score_min_e=at_levels(least[:, 0], shape[1]),
        score_max_e=at_levels(largest[:, 0], shape[1]),
        distance=distance,
        mass_min_e=mass_min,
        mass_max_e=mass_max,
        slope=slope,
    )
    return entries, (distance >= 0) & (~narrow | (mass < filters.top_p_n[row]))


def claimed_entries(
    rows: LogitRows,
    draws: Draws,
    window: Window,
    profiles: Mapping[int, MassProfile],
    head: FloatArray,
    head_ids: IntArray,
    scored: ScoredHead,
    support: Support,
) -> Entries:
    """One entry a row for the claimed token, in the head or below it."""
    match = head_ids == draws.claimed_n[:, None]
    entries = head_entries(np.arange(len(rows)), match.argmax(axis=1), head_ids, scored, support)
    outside = np.flatnonzero(~match.any(axis=1))
    if not len(outside):
        return entries
    token = draws.claimed_n[outside]
    value = rows.at(outside, token)
    placed, _ = placed_entries(rows, draws, window, profiles, head, scored.slope_nk, support, outside, token, value)
    return entries.replaced(outside, placed)
