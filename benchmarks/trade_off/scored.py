"""Scores of a replayed series, as sums over prompts for every threshold."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

import numpy as np

from benchmarks.trade_off.replayed import WINDOW, Replayed
from weightwarden.sampler.types import BoolArray, FloatArray, IntArray
from weightwarden.verifier.candidates.table import CandidateTable
from weightwarden.verifier.scoring.codes import (
    CountingCode,
    OutsideCode,
    PooledCode,
    classes,
    taken_classes,
)
from weightwarden.verifier.scoring.noise_model import MARGIN_EDGES
from weightwarden.verifier.scoring.token_scores import TokenScores, Tolerance, score

MARGINS = np.unique(np.round(np.geomspace(0.005, 1.0, 47), 4))
"""Thresholds of the curves, logits."""


class Score(Protocol):
    """A score of candidates."""

    def scores(self, table: CandidateTable) -> TokenScores: ...


@dataclass(frozen=True)
class Slack:
    """This project's score, with the slack of cuts in `Tolerance`."""

    logits: float
    mass: float

    def scores(self, table: CandidateTable) -> TokenScores:
        """See `verifier.scoring.token_scores`; margins up to the window's."""
        tolerance = Tolerance(margin=MARGIN_EDGES[-1], logit_slack=self.logits, mass_slack=self.mass)
        return score(table, tolerance, WINDOW.logit_slacks.index(self.logits))


@dataclass(frozen=True)
class Choice:
    """A threshold, logits, and a rank limit: tokens beyond the threshold and within the rank limit are suspicious."""

    margin: float
    rank_limit: int


@dataclass(frozen=True)
class Sums:
    """Sums of a choice over the answers to each of some prompts.

    Attributes:
        dangerous_p: dangerous tokens.
        bits_p: bits charged.
    """

    tokens_p: FloatArray
    dangerous_p: FloatArray
    bits_p: FloatArray

    @property
    def dangerous(self) -> float:
        """Share of honest tokens judged dangerous: the false-positive rate."""
        return float(self.dangerous_p.sum() / self.tokens_p.sum())

    @property
    def bits_per_token(self) -> float:
        """Information left to an attacker, bits a token."""
        return float(self.bits_p.sum() / self.tokens_p.sum())


class Scored:
    """A series under one score.

    Attributes:
        prompts: number of prompts.
        vocabulary: size of the vocabulary, tokens.
        parts: scores of positions, with the number of each position's prompt.
    """

    def __init__(self, series: Replayed, by: Score, vocabulary: int) -> None:
        self.vocabulary = vocabulary
        self.prompts = int(series.prompt_of_record.max()) + 1
        self.parts = [(series.prompt_of_record[placed.record_n], by.scores(placed.table)) for placed in series.tables]

    @cached_property
    def tokens_p(self) -> FloatArray:
        """Tokens of all answers to each prompt."""
        return self._summed([np.ones(len(scores)) for _, scores in self.parts])

    def sums(self, choice: Choice, which_p: BoolArray) -> Sums:
        """Charges: log2|A| if safe, log2 R if suspicious, log2 V if dangerous (docs/design.md, section 6)."""
        bits, dangerous = [], []
        for _, scores in self.parts:
            safe = scores.margin_n <= choice.margin
            far = ~safe & (scores.logit_rank_n > choice.rank_limit)
            admissible = np.log2(1 + (scores.rival_margin_nk <= choice.margin).sum(axis=1))
            unsafe = np.where(far, np.log2(self.vocabulary), np.log2(choice.rank_limit))
            bits.append(np.where(safe, admissible, unsafe))
            dangerous.append(far.astype(np.float64))
        return self._of(which_p, dangerous, bits)

    def pooled_sums(self, code: PooledCode, which_p: BoolArray) -> Sums:
        """Bits under the pooled code. Tokens beyond its bins and its rank limit are dangerous."""
        bits = [code.lengths(scores) for _, scores in self.parts]
        edge = code.edges_b[-1]
        far = [
            ((scores.margin_n > edge) & (scores.logit_rank_n > code.escape.rank_limit)).astype(np.float64)
            for _, scores in self.parts
        ]
        return self._of(which_p, far, bits)

    def entropy(self, code: PooledCode, which_p: BoolArray) -> float:
        """Conditional entropy of the honest choice given the replay, bits a token: no bound is smaller."""
        bits = self._summed([code.entropies(scores) for _, scores in self.parts])
        return float(bits[which_p].sum() / self.tokens_p[which_p].sum())

    def pooled_code(self, edges_b: FloatArray, rank_limit: int, which_p: BoolArray) -> PooledCode:
        """The code fitted to the answers to some prompts; one half of an event is added, so that no share is 0."""
        offered, taken = np.zeros(len(edges_b)), np.zeros(len(edges_b))
        for prompt_n, scores in self.parts:
            half = scores.take(which_p[prompt_n])
            class_n, offered_nc = classes(edges_b, half)
            offered += offered_nc.sum(axis=0)
            taken += taken_classes(class_n, len(edges_b) - 1).sum(axis=0)
        share = np.minimum((taken + 0.5) / (offered + 1), 0.5)
        share[1:] = np.minimum.accumulate(share[1:])
        return PooledCode(
            edges_b=edges_b,
            log_odds_c=np.log(share / (1 - share)),
            escape=self._escape(float(edges_b[-1]), rank_limit, which_p),
        )

    def counting_code_sums(self, choice: Choice, chosen_by_p: BoolArray, which_p: BoolArray) -> Sums:
        """Bits under a code of equal lengths for the admissible set, fitted to some prompts.

        `dangerous` is as in `sums`.
        """
        escape = self._escape(choice.margin, choice.rank_limit, chosen_by_p)
        code = CountingCode(margin=choice.margin, escape=escape)
        bits = [
            code.lengths(replace(scores, admissible_n=1 + (scores.rival_margin_nk <= choice.margin).sum(axis=1)))
            for _, scores in self.parts
        ]
        far = [
            ((scores.margin_n > choice.margin) & (scores.logit_rank_n > choice.rank_limit)).astype(np.float64)
            for _, scores in self.parts
        ]
        return self._of(which_p, far, bits)

    def _escape(self, margin: float, rank_limit: int, which_p: BoolArray) -> OutsideCode:
        """Shares of tokens beyond the margin, near and far; one half of an event is added."""
        ranks = self.beyond(margin, which_p)
        tokens = float(self.tokens_p[which_p].sum())
        return OutsideCode(
            near=float((ranks <= rank_limit).sum() + 0.5) / (tokens + 1),
            far=float((ranks > rank_limit).sum() + 0.5) / (tokens + 1),
            open=0.0,
            against=0.0,
            rank_limit=rank_limit,
            vocabulary=self.vocabulary,
        )

    def beyond(self, margin: float, which_p: BoolArray) -> IntArray:
        """Logit ranks of the honest tokens beyond a threshold."""
        return np.concatenate(
            [scores.logit_rank_n[(scores.margin_n > margin) & which_p[prompt_n]] for prompt_n, scores in self.parts]
        )

    def admissible_sizes(self, margin: float, which_p: BoolArray) -> IntArray:
        """Size of the admissible set of every position of some prompts."""
        return np.concatenate(
            [1 + (s.rival_margin_nk[which_p[prompt_n]] <= margin).sum(axis=1) for prompt_n, s in self.parts]
        )

    def exact_match(self, which_p: BoolArray) -> float:
        """Share of the tokens of some prompts that are the replay's own choice."""
        return float(np.concatenate([s.exact_n[which_p[prompt_n]] for prompt_n, s in self.parts]).mean())

    def _of(self, which_p: BoolArray, dangerous: Sequence[FloatArray], bits: Sequence[FloatArray]) -> Sums:
        return Sums(self.tokens_p[which_p], self._summed(dangerous)[which_p], self._summed(bits)[which_p])

    def _summed(self, values: Sequence[FloatArray]) -> FloatArray:
        total = np.zeros(self.prompts)
        for (prompt_n, _), value_n in zip(self.parts, values, strict=True):
            np.add.at(total, prompt_n, value_n)
        return total
