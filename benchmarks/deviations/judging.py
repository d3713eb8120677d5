"""Judged claims: the quantities that a series monitor watches, and the classes of the tokens."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from benchmarks.deviations.divergence import ClassifiedTokens
from weightwarden.logger.record import Record
from weightwarden.sampler.types import FloatArray, IntArray
from weightwarden.verifier.policy.calibrated import Policy
from weightwarden.verifier.replay.replay import Replay
from weightwarden.verifier.scoring.ledger import Ledger, OutcomeCounter
from weightwarden.verifier.scoring.likelihood_ratio import LikelihoodRatioAccumulator
from weightwarden.verifier.scoring.token_scores import TokenScores, score
from weightwarden.verifier.verification.judgement import watched
from weightwarden.verifier.verification.tally import Tally


@dataclass(frozen=True)
class JudgedClaims:
    """Judged claims of one server.

    Attributes:
        columns: quantities of each record that `SeriesMonitor` watches. Ends of answers are not judged.
        tokens: classes of the claimed tokens.
    """

    columns: dict[str, FloatArray]
    tokens: ClassifiedTokens

    @classmethod
    def of(cls, scored: Sequence[tuple[IntArray, TokenScores]], count: int, policy: Policy, vocabulary: int) -> Self:
        """The claims of some records.

        Args:
            scored: record and scores of the claimed tokens, in parts.
            count: number of records.
        """
        outcomes = OutcomeCounter(
            count, margin=policy.tolerance.margin, rank_limit=policy.rank_limit, vocabulary=vocabulary
        )
        ledger = Ledger(count, policy.counting_code(vocabulary), policy.pooled_code(vocabulary), has_noise_model=True)
        ratios = LikelihoodRatioAccumulator(policy.likelihood_ratio_bets, count)
        evidence = policy.accumulator(count)
        parts = []
        for record_n, scores in scored:
            for accumulator in (outcomes, ledger, ratios, evidence):
                accumulator.add(record_n, scores)
            parts.append(ClassifiedTokens.of(record_n, scores, policy, vocabulary))
        found = [evidence.evidence(record) for record in range(count)]
        columns = watched(
            Tally(charges=ledger.charges(outcomes.counts_rc, np.zeros(count)), log_ratio_rk=ratios.log_ratio_rk),
            outlying_r=np.array([of.outliers > 0 for of in found], np.float64),
            flagged_r=np.array([bool(of.reasons) for of in found], np.float64),
        )
        return cls(columns, ClassifiedTokens.concat(parts))


def scored_claim(replay: Replay, policy: Policy, claim: Record) -> tuple[TokenScores, list[IntArray]]:
    """The scores of one claim's tokens, and the admissible set of each position, token ids."""
    (placed,) = replay.tables([claim])
    scores = score(placed.table, policy.tolerance, 0)
    margin_nk = np.concatenate([scores.margin_n[:, None], scores.rival_margin_nk], axis=1)
    admissible_nk = margin_nk <= policy.tolerance.margin
    return scores, [ids[inside] for ids, inside in zip(placed.table.ids_nk, admissible_nk, strict=True)]
