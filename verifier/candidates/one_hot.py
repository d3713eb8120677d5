"""Candidates of positions that a speculating engine filled: the tokens that some draft could have made it emit.

vLLM's V2 runner with drafts of no probabilities (scheme `vllm-v2-one-hot`, docs/sampling.md, section 4.9) accepts a
draft whose probability exceeds a uniform number a. It replaces a rejected draft by the best perturbed logit of the
other tokens, and emits the best of all where nothing was drafted. Drafts are not in the record, so that each token that
some draft could give is admissible, whatever was drafted.
"""

from dataclasses import dataclass, replace

import numpy as np

from weightwarden.sampler.types import BoolArray, FloatArray, IntArray
from weightwarden.verifier.candidates.draws import Draws, filters_of, logit_rank
from weightwarden.verifier.candidates.gumbel import claimed_entries, head_entries, placed_entries, tail_entries
from weightwarden.verifier.candidates.gumbel_head import PlacedHead, placed_head, take_head
from weightwarden.verifier.candidates.layout import Entries, lay_out
from weightwarden.verifier.candidates.normaliser import log_normaliser
from weightwarden.verifier.candidates.pending import PartTable
from weightwarden.verifier.candidates.table import boundary
from weightwarden.verifier.candidates.window import Window
from weightwarden.verifier.errors import ReplayError
from weightwarden.verifier.logits.rows import LogitRows

ERROR = 1e-5
"""Error of the engine's ln p and ln a in float32, nats."""
LEAD = 1.0
"""Logits by which a token leads if it was drafted and accepted: more than any bound on the choice without drafts."""
NARROW = 256
"""Candidates of a position up to which positions share a table. Wider ones share one with positions of their size."""


def one_hot_candidates(rows: LogitRows, draws: Draws, window: Window) -> list[PartTable]:
    """Candidates of positions of scheme `vllm-v2-one-hot`, in parts: a position may have thousands.

    The margin of a token is the least difference of logit errors that would make it admissible, in raw logits, by
    any of three ways:

    1. It has the best perturbed logit: nothing was drafted, or a rejected draft was another token.
    2. It has the second best, and the best was drafted and rejected: the probability of the best is at most a.
    3. It was drafted and accepted: its probability exceeds a.

    Scores are minus the margin. The token of the first way with the largest least score has a least score of 0, from
    which `score` measures. All admissible tokens have a largest score of `LEAD`, and margin 0. `exact_n` is the first
    way. Where slopes differ, the steepest of the row counts for all: the admissible set is then larger than necessary.

    Raises:
        ReplayError: the rows are not whole, or a row has no finite maximum.
    """
    if not rows.whole or draws.uniforms_n is None:
        raise ReplayError("drafted tokens are accepted by probability, which needs every logit: replay on transformers")
    steepest_n = np.maximum(rows.steepest(), window.least_slope)
    head, head_ids = take_head(rows, draws, window, rows.steepest())
    looked = placed_head(rows, draws, window, head, head_ids)
    least_ne, most_ne = log_normaliser(rows, draws, window, head, looked)
    log_a_n = np.log(draws.uniforms_n)
    accepted_ne = draws.temperature_n[:, None] * (least_ne + log_a_n[:, None] - ERROR)
    rejected_ne = draws.temperature_n[:, None] * (most_ne + log_a_n[:, None] + ERROR)

    found = _found(rows, draws, window, head, head_ids, looked, steepest_n, accepted_ne[:, -1])
    rule = _Rule.of(found, draws, window, head, looked, steepest_n, accepted_ne, rejected_ne)
    claimed = claimed_entries(rows, draws, window, looked.profiles, head, head_ids, looked.scored, looked.support)
    best_n = np.full(len(rows), -np.inf)
    np.maximum.at(best_n, found.entries.row[found.nominal], found.entries.score[found.nominal])
    won = found.nominal & (found.entries.score == best_n[found.entries.row])
    winner_n = np.full(len(rows), rows.vocabulary)
    np.minimum.at(winner_n, found.entries.row[won], found.entries.token[won])
    rank_n = np.ones(len(rows), np.int64)
    np.add.at(rank_n, found.entries.row, found.nominal & (found.entries.score > claimed.score[found.entries.row]))
    others, margin_me = rule.judged(found.entries, found.logit)
    kept = (margin_me.min(axis=1) <= window.margin) & (others.token != draws.claimed_n[others.row])
    kept &= boundary(
        others.distance[:, None],
        others.mass_min_e[:, -1:],
        others.mass_max_e[:, -1:],
        draws.filters.top_p_n[others.row],
        window.logit_slacks[-1],
        looked.mass_slack_n[others.row],
    )[1][:, 0]
    claimed, _ = rule.judged(claimed, rows.at(np.arange(len(rows)), draws.claimed_n))
    return _in_parts(
        claimed,
        others.take(kept),
        draws,
        slope_n=looked.support.slope_n,
        exact_n=winner_n == draws.claimed_n,
        logit_rank_n=logit_rank(rows, draws, head),
        gumbel_rank_n=rank_n,
    )


@dataclass(frozen=True)
class _Found:
    """Tokens [m] that may matter, their logits, and whether they are inside every cut without slack."""

    entries: Entries
    logit: FloatArray
    nominal: BoolArray


def _found(
    rows: LogitRows,
    draws: Draws,
    window: Window,
    head: FloatArray,
    head_ids: IntArray,
    looked: PlacedHead,
    steepest_n: FloatArray,
    accepted_n: FloatArray,
) -> _Found:
    """The possible tokens of the head, and those below it that noise or a draft could make admissible."""
    support, profiles, slope_nk = looked.support, looked.profiles, looked.scored.slope_nk
    row, column = np.nonzero(looked.possible | support.nominal_nk)
    parts = [head_entries(row, column, head_ids, looked.scored, support)]
    nominal = [support.nominal_nk[row, column]]
    open_rows = np.flatnonzero(looked.beyond)
    if len(open_rows):
        second_n = _second_floor(head, looked, window, steepest_n)[:, -1]
        tail, tail_nominal = tail_entries(
            rows,
            draws,
            window,
            profiles,
            open_rows,
            second_n - window.margin * steepest_n,
            head,
            head_ids,
            slope_nk,
            np.stack([second_n, steepest_n], axis=1),
            support,
        )
        parts.append(tail)
        nominal.append(tail_nominal)
        limit_n = accepted_n - window.margin * steepest_n
        hits = []
        for at in open_rows[limit_n[open_rows] <= head[open_rows, -1]]:
            ids = np.setdiff1d(np.flatnonzero(rows.row(int(at)) >= limit_n[at]), head_ids[at])
            ids = np.setdiff1d(ids, tail.token[tail.row == at])
            hits.append(np.stack([np.full(len(ids), at), ids]))
        if hits:
            row, token = np.concatenate(hits, axis=1)
            likely, likely_nominal = placed_entries(
                rows, draws, window, profiles, head, slope_nk, support, row, token, rows.at(row, token)
            )
            parts.append(likely)
            nominal.append(likely_nominal)
    entries = Entries.concat(parts)
    return _Found(entries, rows.at(entries.row, entries.token), np.concatenate(nominal))


def _second_floor(head: FloatArray, looked: PlacedHead, window: Window, steepest_n: FloatArray) -> FloatArray:
    """Least score [n, e] of the second best token of the head.

    It is that of the second best sure token. Where fewer than two are sure: if one token is rejected, the support holds
    another, hence the likeliest other one, or one within the slack of it.
    """
    floors = []
    for level, slack in enumerate(window.logit_slacks):
        least = looked.scored.least[:, :, level]
        sure_scores = np.where(looked.sure, least, -np.inf)
        best = sure_scores.argmax(axis=1)
        others = np.arange(head.shape[1])[None, :] != np.where(looked.sure.any(axis=1), best, -1)[:, None]
        near = others & (head >= (head[:, min(1, head.shape[1] - 1)] - slack * steepest_n)[:, None])
        likeliest_n = np.where(near & np.isfinite(head), least, np.inf).min(axis=1)
        floors.append(np.fmax(np.where(others, sure_scores, -np.inf).max(axis=1), likeliest_n))
    return np.stack(floors, axis=1)


@dataclass(frozen=True, kw_only=True)
class _Rule:
    """The engine's rule at n positions and e logit slacks.

    Attributes:
        first_ne: the sure token of the largest least score, -1 where none is sure.
        best_ne: its least score, or that of the likeliest token where none is sure.
        second_ne: least score of the second best token.
        rejected_ne: margin, raw logits, at which the best token may have been rejected.
        accepted_ne: the least logit of an accepted draft.
        steepest_n: factor from raw logits to scores.
    """

    first_ne: IntArray
    best_ne: FloatArray
    second_ne: FloatArray
    rejected_ne: FloatArray
    accepted_ne: FloatArray
    steepest_n: FloatArray

    @classmethod
    def of(
        cls,
        found: _Found,
        draws: Draws,
        window: Window,
        head: FloatArray,
        looked: PlacedHead,
        steepest_n: FloatArray,
        accepted_ne: FloatArray,
        rejected_ne: FloatArray,
    ) -> "_Rule":
        """The rule of some positions.

        Args:
            rejected_ne: the largest logit that the engine may reject as a draft.
        """
        entries, n = found.entries, len(head)
        second_ne = _second_floor(head, looked, window, steepest_n)
        first, best, reject = (np.empty(accepted_ne.shape) for _ in range(3))
        for level, slack in enumerate(window.logit_slacks):
            sure, _ = boundary(
                entries.distance[:, None],
                entries.mass_min_e[:, level, None],
                entries.mass_max_e[:, level, None],
                draws.filters.top_p_n[entries.row],
                slack,
                looked.mass_slack_n[entries.row],
            )
            scores = np.where(sure[:, 0], entries.score_min_e[:, level], -np.inf)
            order = np.lexsort((-scores, entries.row))
            top = order[np.searchsorted(entries.row[order], np.arange(n))]
            any_sure = scores[top] > -np.inf
            near = head >= (head[:, 0] - slack * steepest_n)[:, None]
            likeliest_n = np.where(near, looked.scored.least[:, :, level], np.inf).min(axis=1)
            first[:, level] = np.where(any_sure, entries.token[top], -1)
            best[:, level] = np.where(any_sure, scores[top], likeliest_n)
            lowest_n = np.where(near, head, np.inf).min(axis=1)
            reject[:, level] = np.where(any_sure, found.logit[top], lowest_n) - rejected_ne[:, level]
            scores[top] = -np.inf
            np.maximum.at(second_ne[:, level], entries.row, scores)
        return cls(
            first_ne=first.astype(np.int64),
            best_ne=best,
            second_ne=second_ne,
            rejected_ne=np.maximum(reject / steepest_n[:, None], 0.0),
            accepted_ne=accepted_ne,
            steepest_n=steepest_n,
        )

    def judged(self, entries: Entries, logit: FloatArray) -> tuple[Entries, FloatArray]:
        """The entries with their margins as scores, and the margins [m, e], raw logits."""
        row, steepest = entries.row, self.steepest_n[entries.row, None]
        first = self.first_ne[row] == entries.token[:, None]
        with np.errstate(invalid="ignore"):  # masked tokens: inf minus inf
            behind = (self.best_ne[row] - entries.score_max_e) / steepest
            second = np.maximum((self.second_ne[row] - entries.score_max_e) / steepest, self.rejected_ne[row])
            drafted = (self.accepted_ne[row] - logit[:, None]) / steepest
        ways = np.stack([behind, np.where(first, np.inf, second), drafted])
        margin = np.maximum(np.fmin(np.fmin(*ways[:2]), ways[2]), 0.0)
        margin = np.where(np.isneginf(logit)[:, None], np.inf, margin)
        judged = replace(
            entries,
            score=-margin[:, 0],
            score_min_e=np.where(first, 0.0, -np.inf),
            score_max_e=np.where(margin > 0, -margin, LEAD),
            slope=np.ones(len(row)),
        )
        return judged, margin


def _in_parts(
    claimed: Entries,
    others: Entries,
    draws: Draws,
    *,
    slope_n: FloatArray,
    exact_n: BoolArray,
    logit_rank_n: IntArray,
    gumbel_rank_n: IntArray,
) -> list[PartTable]:
    """Tables of positions with similar numbers of candidates."""
    counts = np.bincount(others.row, minlength=len(claimed))
    size_n = np.ceil(np.log2(np.maximum(counts, NARROW)))
    parts = []
    for size in np.unique(size_n):
        which = np.flatnonzero(size_n == size)
        some = others.take(size_n[others.row] == size)
        table = lay_out(
            replace(claimed.take(which), row=np.arange(len(which))),
            replace(some, row=np.searchsorted(which, some.row)),
            filters=filters_of(draws.filters, which),
            slope_n=slope_n[which],
            exact_n=exact_n[which],
            logit_rank_n=logit_rank_n[which],
            gumbel_rank_n=gumbel_rank_n[which],
        )
        parts.append(PartTable(which, table))
    return parts
