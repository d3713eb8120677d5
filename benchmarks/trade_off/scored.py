"""Scores of a replayed series, as sums over records for every threshold."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np

from benchmarks.trade_off.replayed import WINDOW, Replayed
from sampler.types import BoolArray, FloatArray, IntArray
from verifier.candidate_table import CandidateTable
from verifier.score import TokenScores, Tolerance, score
from verifier.token_code import HONEST_TILT, Escape, PooledCode, classes, taken_classes
from verifier.token_noise import MARGIN_EDGES

MARGINS = np.unique(np.round(np.geomspace(0.005, 1.0, 47), 4))
"""Thresholds of the curves, logits."""


class Score(Protocol):
    """What makes scores of candidates."""

    def scores(self, table: CandidateTable) -> TokenScores: ...


@dataclass(frozen=True)
class Slack:
    """This project's score, where a candidate may be that far from a cut (`Tolerance`)."""

    logits: float
    mass: float

    def scores(self, table: CandidateTable) -> TokenScores:
        """See `verifier.score`; margins up to the window's."""
        tolerance = Tolerance(margin=MARGIN_EDGES[-1], logit_slack=self.logits, mass_slack=self.mass)
        return score(table, tolerance, WINDOW.logit_slacks.index(self.logits))


@dataclass(frozen=True)
class Choice:
    """A threshold, logits, and a rank limit: what is beyond the one and within the other is suspicious."""

    margin: float
    rank_limit: int


@dataclass(frozen=True)
class Sums:
    """What a choice makes of some records. dangerous_r: tokens. bits_r: charged."""

    tokens_r: FloatArray
    dangerous_r: FloatArray
    bits_r: FloatArray

    @property
    def dangerous(self) -> float:
        """Share of honest tokens that are called dangerous: the false-positive rate."""
        return float(self.dangerous_r.sum() / self.tokens_r.sum())

    @property
    def bits_per_token(self) -> float:
        """Information that is left to an attacker."""
        return float(self.bits_r.sum() / self.tokens_r.sum())


class Scored:
    """A series under one score.

    Attributes:
        records: how many there are. vocabulary: tokens.
        parts: scores of positions, with the record that each is of.
    """

    def __init__(self, series: Replayed, by: Score, vocabulary: int) -> None:
        self.vocabulary = vocabulary
        self.records = len(series.records)
        self.parts = [(placed.record_n, by.scores(placed.table)) for placed in series.tables]

    @cached_property
    def tokens_r(self) -> FloatArray:
        """Tokens of each record."""
        return self._summed([np.ones(len(scores)) for _, scores in self.parts])

    def sums(self, choice: Choice, which_r: BoolArray) -> Sums:
        """Design section 6: log2|A| for a safe token, log2 R for a suspicious one, log2 V for a dangerous one."""
        bits, dangerous = [], []
        for _, scores in self.parts:
            safe = scores.margin_n <= choice.margin
            far = ~safe & (scores.logit_rank_n > choice.rank_limit)
            admissible = np.log2(1 + (scores.rival_margin_nk <= choice.margin).sum(axis=1))
            unsafe = np.where(far, np.log2(self.vocabulary), np.log2(choice.rank_limit))
            bits.append(np.where(safe, admissible, unsafe))
            dangerous.append(far.astype(np.float64))
        return self._of(which_r, dangerous, bits)

    def pooled_sums(self, code: PooledCode, which_r: BoolArray) -> Sums:
        """Bits under the pooled code with lambda 1; dangerous is what is beyond its bins and its rank limit."""
        bits = [code.lengths(scores)[:, HONEST_TILT] for _, scores in self.parts]
        edge = code.edges_b[-1]
        far = [
            ((scores.margin_n > edge) & (scores.logit_rank_n > code.escape.rank_limit)).astype(np.float64)
            for _, scores in self.parts
        ]
        return self._of(which_r, far, bits)

    def entropy(self, code: PooledCode, which_r: BoolArray) -> float:
        """Conditional entropy of the honest choice given the replay, bits a token: no bound is smaller."""
        bits = self._summed([code.entropies(scores) for _, scores in self.parts])
        return float(bits[which_r].sum() / self.tokens_r[which_r].sum())

    def pooled_code(self, edges_b: FloatArray, rank_limit: int, which_r: BoolArray) -> PooledCode:
        """The code that some records make; one half of an event is added, so that no share is 0."""
        offered, taken = np.zeros(len(edges_b)), np.zeros(len(edges_b))
        near = far = tokens = 0.0
        for record_n, scores in self.parts:
            half = scores.chosen(which_r[record_n])
            class_n, offered_nc, _ = classes(edges_b, half)
            offered += offered_nc.sum(axis=0)
            taken += taken_classes(class_n, len(edges_b) - 1).sum(axis=0)
            beyond = half.margin_n > edges_b[-1]
            near += float((beyond & (half.logit_rank_n <= rank_limit)).sum())
            far += float((beyond & (half.logit_rank_n > rank_limit)).sum())
            tokens += len(half)
        share = np.minimum((taken + 0.5) / (offered + 1), 0.5)
        share[1:] = np.minimum.accumulate(share[1:])
        return PooledCode(
            edges_b=edges_b,
            log_odds_c=np.log(share / (1 - share)),
            escape=Escape(
                near=(near + 0.5) / (tokens + 1),
                far=(far + 0.5) / (tokens + 1),
                open=0.0,
                rank_limit=rank_limit,
                vocabulary=self.vocabulary,
            ),
        )

    def beyond(self, margin: float, which_r: BoolArray) -> IntArray:
        """Logit ranks of the honest tokens beyond a threshold."""
        return np.concatenate(
            [scores.logit_rank_n[(scores.margin_n > margin) & which_r[record_n]] for record_n, scores in self.parts]
        )

    def admissible_sizes(self, margin: float) -> IntArray:
        """Size of every position's admissible set."""
        return np.concatenate([1 + (s.rival_margin_nk <= margin).sum(axis=1) for _, s in self.parts])

    def _of(self, which_r: BoolArray, dangerous: Sequence[FloatArray], bits: Sequence[FloatArray]) -> Sums:
        return Sums(self.tokens_r[which_r], self._summed(dangerous)[which_r], self._summed(bits)[which_r])

    def _summed(self, values: Sequence[FloatArray]) -> FloatArray:
        total = np.zeros(self.records)
        for (record_n, _), value_n in zip(self.parts, values, strict=True):
            np.add.at(total, record_n, value_n)
        return total
