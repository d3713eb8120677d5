"""Scored positions of several records, as tests, charges and reports use them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from weightwarden.sampler.types import BoolArray, FloatArray, IntArray
from weightwarden.verifier.scoring.record_sums import compress_plain_positions
from weightwarden.verifier.scoring.token_scores import TokenScores, without_evidence
from weightwarden.verifier.scoring.token_verdicts import TokenVerdicts, Verdict
from weightwarden.verifier.verification.record_verdict import TokenDetail

Positions = tuple[IntArray, TokenScores, IntArray]
"""Input of an `Accumulator`: record, scores and multiplicity of positions."""


@dataclass(frozen=True)
class ScoredChunk:
    """Scored positions of one chunk of a replay.

    Attributes:
        record_n: place of each position's record among the records that are judged together.
        position_n: output position of each.
        scores: scores of the claimed tokens.
        verdicts: verdicts and charges of the claimed tokens.
        likelihood_n: likelihood score of each, nats; larger is more plausible.
        unsteady_n: positions that are charged and are no evidence; None where every position is evidence.
    """

    record_n: IntArray
    position_n: IntArray
    scores: TokenScores
    verdicts: TokenVerdicts
    likelihood_n: FloatArray
    unsteady_n: BoolArray | None = None

    def of_records(self, new_r: IntArray) -> "ScoredChunk":
        """The positions of some of the records.

        Args:
            new_r: new place of each record; -1 for a record that is left out.
        """
        which_n = np.flatnonzero(new_r[self.record_n] >= 0)
        return ScoredChunk(
            record_n=new_r[self.record_n[which_n]],
            position_n=self.position_n[which_n],
            scores=self.scores.take(which_n),
            verdicts=self.verdicts.take(which_n),
            likelihood_n=self.likelihood_n[which_n],
            unsteady_n=None if self.unsteady_n is None else self.unsteady_n[which_n],
        )

    def without(self, unsteady: Sequence[BoolArray | None]) -> "ScoredChunk":
        """The chunk with some positions of each record marked as no evidence."""
        marked_n = np.zeros(len(self.scores), np.bool_)
        for record in np.unique(self.record_n):
            unsteady_t = unsteady[record]
            if unsteady_t is not None:
                at = np.flatnonzero(self.record_n == record)
                marked_n[at] = unsteady_t[self.position_n[at]]
        return replace(self, unsteady_n=marked_n) if marked_n.any() else self

    @property
    def tested(self) -> TokenScores:
        """The scores that tests count."""
        return self.scores if self.unsteady_n is None else without_evidence(self.scores, self.unsteady_n)

    def evidence(self) -> Positions:
        """The positions as tests count them."""
        return self._compressed(self.tested)

    def charged(self) -> Positions:
        """The positions as they are charged."""
        return self._compressed(self.scores)

    def _compressed(self, scores: TokenScores) -> Positions:
        which_n, times_n = compress_plain_positions(self.record_n, scores)
        return self.record_n[which_n], scores.take(which_n), times_n

    def detail(self) -> tuple[IntArray, IntArray, TokenDetail]:
        """Details of the positions for the records' verdicts, with the record and the output position of each."""
        tested, verdict_n = self.tested, self.verdicts.verdict_n
        unsteady_n = np.zeros(len(tested), np.bool_) if self.unsteady_n is None else self.unsteady_n
        detail = TokenDetail(
            margin=tested.margin_n,
            exact=tested.exact_n,
            logit_rank=tested.logit_rank_n,
            gumbel_rank=tested.gumbel_rank_n,
            admissible=tested.admissible_n,
            verdict=np.where(unsteady_n, Verdict.SAFE, verdict_n).astype(np.int8),
            unseen=tested.unseen_n,
            charged_bits=self.verdicts.charged_bits_n,
            likelihood_score=self.likelihood_n,
            unsteady=unsteady_n,
            outside_grammar=self.verdicts.outside_grammar_n,
            forced=np.zeros(len(tested), np.bool_),
        )
        return self.record_n, self.position_n, detail
