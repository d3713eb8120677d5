"""The head of each row: its largest logits, placed against the cuts and perturbed (steps 1 to 3 of the candidates)."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from weightwarden.sampler.support import MassProfile, Support, Unseen, logit_distance, support_of_head
from weightwarden.sampler.types import BoolArray, FloatArray, IntArray
from weightwarden.verifier.candidates.draws import Draws
from weightwarden.verifier.candidates.layout import at_levels
from weightwarden.verifier.candidates.ranked import ranked_scores, reaches_beyond
from weightwarden.verifier.candidates.table import boundary
from weightwarden.verifier.candidates.unseen import settle_by_draw
from weightwarden.verifier.candidates.window import HEAD_RESERVE, HEAD_SIZE, Window
from weightwarden.verifier.logits.rows import LogitRows

DRAWN_LEAD = 1e-6
"""Logits by which a token that the engine drew is placed above the best score; below every tolerance."""


@dataclass(frozen=True, kw_only=True)
class ScoredHead:
    """Perturbed logits [n, k] of the head, their least and largest values [n, k, e] (`CandidateTable`), and slopes."""

    slope_nk: FloatArray
    scores: FloatArray
    least: FloatArray
    largest: FloatArray

    def raised(self, which_nk: BoolArray, to_nk: FloatArray) -> "ScoredHead":
        """The same head with some of the scores replaced."""
        return ScoredHead(
            slope_nk=self.slope_nk,
            scores=np.where(which_nk, to_nk, self.scores),
            least=np.where(which_nk[:, :, None], to_nk[:, :, None], self.least),
            largest=np.where(which_nk[:, :, None], to_nk[:, :, None], self.largest),
        )


@dataclass(frozen=True, kw_only=True)
class PlacedHead:
    """A head placed against the cuts and perturbed (steps 2 and 3).

    Attributes:
        sure: candidates of the head [n, k] that are surely inside every cut (`boundary`).
        possible: candidates of the head [n, k] that are possibly inside every cut (`boundary`).
        best_sure_n: the least score of the best sure candidate.
        best_slope_n: slope of the best sure candidate.
        winner_n: the token of the largest nominal score.
        mass_slack_n: probability by which a token may cross the top-p cut.
        beyond: rows with a support that may reach beyond the head.
    """

    scored: ScoredHead
    support: Support
    profiles: Mapping[int, MassProfile]
    beyond: BoolArray
    sure: BoolArray
    possible: BoolArray
    best_sure_n: FloatArray
    best_slope_n: FloatArray
    winner_n: IntArray
    mass_slack_n: FloatArray


def take_head(rows: LogitRows, draws: Draws, window: Window, steepest_n: FloatArray) -> tuple[FloatArray, IntArray]:
    """The head, grown until it reaches past every top-k cut (greedy: past the window) by more than the slack.

    Where noise belongs to ranks, it reaches past every cut by twice the slack.
    """
    filters, vocabulary = draws.filters, rows.vocabulary
    everything = np.arange(len(rows))
    cut = filters.top_k_n < vocabulary
    size = max(HEAD_SIZE, int(filters.top_k_n[cut].max(initial=0)) + HEAD_RESERVE)
    while True:
        head, ids = rows.head(everything, size)
        if size >= vocabulary or not rows.whole:
            return head, ids
        if draws.by_rank:
            log_mass_n = rows.log_mass(everything, filters.temperature_n, np.full(len(rows), -np.inf), head[:, 0])
            unfinished = reaches_beyond(head, log_mass_n, draws, window, steepest_n)
        elif draws.noise is None:
            unfinished = head[:, -1] >= head[:, 0] - window.margin * steepest_n
        else:
            distance = logit_distance(head[:, -1:], head, filters)[:, 0]
            unfinished = cut & (distance > -window.logit_slacks[-1] * steepest_n)
        if not unfinished.any():
            return head, ids
        size *= 2


def without_token(head: FloatArray, head_ids: IntArray, token_n: IntArray) -> tuple[FloatArray, IntArray]:
    """A head without one token of some rows (-1: none), still descending."""
    left_out = (head_ids == token_n[:, None]) & (token_n >= 0)[:, None]
    if not left_out.any():
        return head, head_ids
    values, ids = np.where(left_out, -np.inf, head), np.where(left_out, -1, head_ids)
    order = np.argsort(-values, axis=1, kind="stable")
    return np.take_along_axis(values, order, 1), np.take_along_axis(ids, order, 1)


def with_unknown(rows: LogitRows, head: FloatArray, head_ids: IntArray) -> tuple[FloatArray, IntArray]:
    """A head with the ceiling of each row that has no known token left: an unknown token, of id -1, is the first."""
    empty = np.isneginf(head[:, :1])
    if not empty.any():
        return head, head_ids
    first = np.arange(head.shape[1]) == 0
    ids = np.where(empty, np.sort(head_ids, axis=1), head_ids)  # -1 marks unused places, of which one is the first
    return np.where(empty & first, rows.ceilings()[:, None], head), ids


def placed_head(rows: LogitRows, draws: Draws, window: Window, head: FloatArray, head_ids: IntArray) -> PlacedHead:
    """A head [n, k] of logits and token ids, placed against the cuts and perturbed.

    An unknown token of the head (`with_unknown`) has a place among the probabilities, and is no candidate.
    """
    slack, filters = window.logit_slacks[-1], draws.filters
    slope_nk = window.slopes(rows, np.arange(len(rows))[:, None], head_ids)
    support, profiles, beyond = _against_cuts(rows, draws, window, head, slope_nk)
    mass_slack_n = window.mass_slack * support.slope_n / filters.temperature_n
    scored = _scored(draws, window, head, head_ids, slope_nk, support)
    if not rows.whole:
        support.nominal_nk[head_ids < 0] = False
        support.logit_distance_nk[head_ids < 0] = -np.inf
        reach = scored.least[:, :, -1], scored.largest[:, :, -1]
        settle_by_draw(rows, draws, slack, mass_slack_n, head, head_ids, reach, support)
    sure, possible = boundary(
        support.logit_distance_nk,
        support.mass_above_min_nke[:, :, -1],
        support.mass_above_max_nke[:, :, -1],
        filters.top_p_n,
        slack,
        mass_slack_n,
    )
    sure_scores = np.where(sure, scored.least[:, :, -1], -np.inf)
    best_sure_n = sure_scores.max(axis=1)
    # A token that the engine was observed to draw is no mismatch, though scoring contradicts it. The token that scoring
    # chooses would have passed as well, and stays in the admissible set.
    drawn = (head_ids == rows.drawn()[:, None]) & (head_ids >= 0)
    won = drawn & (scored.largest[:, :, -1] < best_sure_n[:, None])
    if won.any():
        scored = scored.raised(won, (best_sure_n + DRAWN_LEAD)[:, None])
    nominal_scores = np.where(support.nominal_nk, scored.scores, -np.inf)
    tied = nominal_scores == nominal_scores.max(axis=1)[:, None]
    return PlacedHead(
        scored=scored,
        support=support,
        profiles=profiles,
        beyond=beyond,
        sure=sure,
        possible=possible,
        best_sure_n=best_sure_n,
        best_slope_n=slope_nk[np.arange(len(rows)), sure_scores.argmax(axis=1)],
        mass_slack_n=mass_slack_n,
        winner_n=np.where(tied, head_ids, rows.vocabulary).min(axis=1),  # the lowest id wins a tie
    )


def _scored(
    draws: Draws, window: Window, head: FloatArray, head_ids: IntArray, slope_nk: FloatArray, support: Support
) -> ScoredHead:
    if draws.by_rank:
        scale_nk = np.maximum(slope_nk, support.slope_n[:, None])
        return ScoredHead(slope_nk=slope_nk, **ranked_scores(draws, window, head, scale_nk))
    perturbation = draws.perturbation(head_ids)
    scores = head + perturbation
    least, largest = draws.reach(scores, perturbation)
    levels = len(window.logit_slacks)
    return ScoredHead(
        slope_nk=slope_nk, scores=scores, least=at_levels(least, levels), largest=at_levels(largest, levels)
    )


def _against_cuts(
    rows: LogitRows, draws: Draws, window: Window, head: FloatArray, slope_nk: FloatArray
) -> tuple[Support, Mapping[int, MassProfile], BoolArray]:
    """The head against the cuts.

    Returns:
        The support; mass profiles of rows with a wide nucleus; a mask of supports that may reach beyond the head.
    """
    filters, slack = draws.filters, window.logit_slacks[-1]
    levels = np.asarray(window.logit_slacks)
    sloped = None if (slope_nk == 1).all() else slope_nk
    steepest_n = rows.steepest()
    top_p_on = filters.top_p_n < 1
    if not rows.whole:
        unseen = Unseen(
            ceiling_n=rows.ceilings(),
            count_n=rows.candidates() - (head > -np.inf).sum(axis=1),
            on_top_k_n=filters.top_k_n < rows.vocabulary,
        )
        support = support_of_head(head, filters, None, levels, unseen, sloped)
        mass_slack_n = window.mass_slack * support.slope_n / filters.temperature_n
        beyond = support.unseen_distance_n > -slack
        beyond &= ~top_p_on | (support.unseen_mass_min_n < filters.top_p_n + mass_slack_n)
        return support, {}, beyond
    if draws.noise is None or draws.by_rank or head.shape[1] >= rows.vocabulary:
        beyond = np.zeros(len(rows), np.bool_)
    else:
        beyond = logit_distance(head[:, -1:], head, filters)[:, 0] > -slack * steepest_n
    cut_n = head[:, 0] + filters.min_p_offset()
    log_mass_n = np.full(len(rows), np.nan)
    floor_n = np.full(len(rows), -np.inf) if draws.top_p_of_everything else cut_n
    wide = np.flatnonzero((beyond | draws.top_p_of_everything) & top_p_on)
    if len(wide):
        log_mass_n[wide] = rows.log_mass(wide, filters.temperature_n[wide], floor_n[wide], head[wide, 0])
    support = support_of_head(head, filters, log_mass_n, levels, slope_nk=sloped)
    mass_slack_n = window.mass_slack * support.slope_n / filters.temperature_n
    beyond &= ~top_p_on | (support.mass_above_min_nke[:, -1, -1] < filters.top_p_n + mass_slack_n)
    profiles = {
        int(row): MassProfile(rows.row(int(row)), cut_n[row], filters.temperature_n[row])
        for row in np.flatnonzero(beyond & top_p_on)
    }
    for at, profile in profiles.items():  # tokens within the slack of these may lie below the head
        own = profile.own(head[at])
        for level, some_slack in enumerate(window.logit_slacks):
            reach = some_slack * np.maximum(slope_nk[at], support.slope_n[at])
            support.mass_above_max_nke[at, :, level] = profile.at_or_above(head[at] - reach) - own
    return support, profiles, beyond
