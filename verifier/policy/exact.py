"""The exact policy: replay on the same engine, tolerance zero up to ties, one mismatch flags its record."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from weightwarden.sampler.types import FloatArray, IntArray
from weightwarden.verifier.candidates.table import CandidateTable
from weightwarden.verifier.candidates.window import Window
from weightwarden.verifier.policy.base import BasePolicy, Count, Counted, Digest, Probability, Rate
from weightwarden.verifier.scoring.codes import (
    AGAINST_SHARE,
    OPEN_SHARE,
    CodeName,
    CountingCode,
    OutsideCode,
    PooledCode,
)
from weightwarden.verifier.scoring.levels import FLAG_LEVEL
from weightwarden.verifier.scoring.likelihood_ratio import LikelihoodRatioBets
from weightwarden.verifier.scoring.record_sums import scatter_add
from weightwarden.verifier.scoring.run_evidence import HonestRates
from weightwarden.verifier.scoring.stopping import ForcedEndLimits
from weightwarden.verifier.scoring.token_scores import TokenScores, Tolerance

EXACT_FORMAT: Literal["weightwarden-exact-policy/1"] = "weightwarden-exact-policy/1"
EXACT_TOLERANCE = Tolerance(margin=5e-5, logit_slack=1e-5, mass_slack=1e-5)
"""Zero, up to the float32 rounding of the engine's own sampler, which is never observed: the division by the
temperature (3e-6 logits at a logit of 50), and the cumulative sum that top-p cuts. The error of the noise is separate
(`GumbelNoise.error`). The tolerance is below any step between two bfloat16 logits beyond 0.01, and below the margin of
a lost tie.
"""
RANK_LIMIT = 64
"""R of exact replay. It needs no calibration, since any mismatch flags its record."""


class ExactCheck(Counted):
    """The honest traffic on which no token differed, and the rates that it leaves possible.

    The two rates are one-sided 95% upper confidence limits: of records that would hold a mismatch, and of tokens.
    """

    record_mismatch_upper: Probability
    token_mismatch_upper: Annotated[Probability, Field(gt=0, lt=1)]
    tied_positions: Count
    unresolved_positions: Count
    charged_bits_per_token: Rate
    traffic: list[Digest]


class ExactPolicy(BasePolicy):
    """A policy for replay on the same engine, made only from traffic on which no token differed."""

    exact: ClassVar[bool] = True
    leading_code: ClassVar[CodeName] = "counting"

    format: Literal["weightwarden-exact-policy/1"]
    check: ExactCheck

    @property
    def tolerance(self) -> Tolerance:
        return EXACT_TOLERANCE

    @property
    def rank_limit(self) -> int:
        return RANK_LIMIT

    @property
    def window(self) -> Window:
        return EXACT_WINDOW

    @property
    def forced_end_limits(self) -> ForcedEndLimits:
        return ForcedEndLimits(EXACT_TOLERANCE.margin, self.check.record_mismatch_upper)

    @property
    def steady_sway(self) -> None:
        """None: the same engine makes the same errors."""
        return None

    @property
    def honest_rates(self) -> HonestRates:
        mismatch = self.check.record_mismatch_upper  # tokens of one record may all be wrong together
        return HonestRates(level=0.0, events=(mismatch, FLAG_LEVEL), outlier_rate=mismatch, most_outlying=mismatch)

    def accumulator(self, records: int) -> "MismatchCounter":
        """The accumulator of mismatches."""
        return MismatchCounter(records, self.check.record_mismatch_upper)

    @property
    def likelihood_ratio_bets(self) -> LikelihoodRatioBets:
        """Bets on mismatches. An honest server may take any tied or unresolved token."""
        return LikelihoodRatioBets(
            edges_b=np.array([0.0, EXACT_TOLERANCE.margin]),
            upper_c=np.ones(2),
            admissible_margin=EXACT_TOLERANCE.margin,
            outside_margin=EXACT_TOLERANCE.margin,
            outside_upper=self.check.token_mismatch_upper,
            exact=True,
        )

    def counting_code(self, vocabulary: int) -> CountingCode:
        """The code of ties and unresolved tokens, with equal charges."""
        return CountingCode(margin=EXACT_TOLERANCE.margin, escape=self._escape(vocabulary))

    def pooled_code(self, vocabulary: int) -> PooledCode:
        """The same code: an honest server may take either token of a tie, so that the odds are even."""
        edges = np.array([0.0, EXACT_TOLERANCE.margin])
        return PooledCode(edges_b=edges, log_odds_c=np.zeros(len(edges)), escape=self._escape(vocabulary))

    def _escape(self, vocabulary: int) -> OutsideCode:
        """The code of mismatches, at the rate that the policy's traffic cannot exclude."""
        share = self.check.token_mismatch_upper / 2
        return OutsideCode(
            near=share, far=share, open=OPEN_SHARE, against=AGAINST_SHARE, rank_limit=RANK_LIMIT, vocabulary=vocabulary
        )

    def likelihood(self, table: CandidateTable, scores: TokenScores) -> FloatArray:
        """nan for every token: there is no noise."""
        del table
        return np.full(len(scores), np.nan)


EXACT_WINDOW = Window(
    margin=EXACT_TOLERANCE.margin,
    logit_slacks=(EXACT_TOLERANCE.logit_slack,),
    mass_slack=EXACT_TOLERANCE.mass_slack,
    least_slope=1.0,
)


@dataclass(frozen=True, kw_only=True)
class ExactEvidence:
    """Evidence about one record under an exact policy.

    Attributes:
        tokens: output tokens.
        outliers: mismatches.
        mismatch_upper: largest share of honest records that hold a mismatch.
    """

    tokens: int
    outliers: int
    mismatch_upper: float

    @property
    def p_value(self) -> float:
        """The largest share of honest records with a mismatch, if this record has one; otherwise 1."""
        return self.mismatch_upper if self.outliers else 1.0

    @property
    def reasons(self) -> list[str]:
        if not self.outliers:
            return []
        return [
            f"mismatch: {self.outliers} of {self.tokens} tokens are not what the same engine draws"
            f" (honest records: at most {100 * self.mismatch_upper:.2g}%)"
        ]


class MismatchCounter:
    """`EvidenceAccumulator` of the exact policy."""

    def __init__(self, records: int, mismatch_upper: float) -> None:
        self._mismatch_upper = mismatch_upper
        self._tokens = np.zeros(records, np.int64)
        self._mismatches = np.zeros(records, np.int64)

    def add(self, record_n: IntArray, scores: TokenScores, times_n: IntArray | None = None) -> None:
        """Add positions (`Accumulator`)."""
        scatter_add(self._tokens, record_n, 1, times_n)
        scatter_add(self._mismatches, record_n, scores.margin_n > EXACT_TOLERANCE.margin, times_n)

    def evidence(self, record: int) -> ExactEvidence:
        """Evidence about one record. All of its positions must have been added before.

        Raises:
            ValueError: no position of the record has been added.
        """
        if not self._tokens[record]:
            raise ValueError(f"record {record} has no replayed position")
        return ExactEvidence(
            tokens=int(self._tokens[record]),
            outliers=int(self._mismatches[record]),
            mismatch_upper=self._mismatch_upper,
        )
