"""The calibrated policy (TOML): calibrated thresholds and token noise, with the model, engine and replay of both."""

from itertools import pairwise
from typing import Annotated, ClassVar, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from weightwarden.sampler.params import refusal
from weightwarden.sampler.types import FloatArray
from weightwarden.verifier.candidates.inverse_cdf import margin_limit
from weightwarden.verifier.candidates.table import CandidateTable
from weightwarden.verifier.candidates.window import Window
from weightwarden.verifier.policy.base import (
    BasePolicy,
    Count,
    Counted,
    Digest,
    MadeFor,
    PositiveCount,
    Probability,
    Rate,
    Section,
)
from weightwarden.verifier.scoring.codes import OPEN_SHARE, CodeName, CountingCode, OutsideCode, PooledCode
from weightwarden.verifier.scoring.levels import FLAG_LEVEL
from weightwarden.verifier.scoring.likelihood_ratio import LikelihoodRatioBets
from weightwarden.verifier.scoring.noise_model import MARGIN_EDGES, TokenNoise
from weightwarden.verifier.scoring.record_evidence import RecordEvidenceAccumulator
from weightwarden.verifier.scoring.run_evidence import HonestRates
from weightwarden.verifier.scoring.stopping import ForcedEndLimits
from weightwarden.verifier.scoring.token_scores import (
    TokenScores,
    Tolerance,
    gumbel_likelihood_score,
    inverse_transform_likelihood_score,
)

FORMAT: Literal["weightwarden-policy/1"] = "weightwarden-policy/1"

Logits = Annotated[float, Field(ge=0, le=100)]
Share = Annotated[float, Field(gt=0, lt=0.5)]


STEADY_SWAY = 1.5
"""Sway, logits, beyond which a position is no evidence: more than any margin that the noise model distinguishes. Among
ordinary positions of the embedded model, none in a thousand has so large a sway, and half have less than 0.2.
"""


class Thresholds(Section):
    """Thresholds between an honest token and the replay, chosen on the calibration half."""

    margin_logits: Annotated[Logits, Field(gt=0)]
    logit_slack_logits: Logits
    mass_slack: Annotated[Probability, Field(lt=1)]
    rank_limit: PositiveCount
    noise_scale_logits: Annotated[Logits, Field(gt=0)]
    noise_scale_cdf: Annotated[Probability, Field(gt=0)] | None = None


class NoiseBounds(Section):
    """`TokenNoise` as numbers: upper bounds of the share of candidates of each margin bin that honest traffic took.

    `boundary_upper` is the same for alternatives on the boundary of a cut. Policies of version 0.1 have none.
    """

    margin_edges_logits: list[Logits]
    chosen_upper: list[Probability]
    outlier_margin_logits: Logits
    outlier_upper: Annotated[Probability, Field(gt=0)]
    boundary_upper: Annotated[Probability, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        edges, upper = self.margin_edges_logits, self.chosen_upper
        if edges != sorted(set(edges)) or len(edges) < 2 or edges[0] != 0:
            raise refusal("edges", "margin_edges_logits", "must rise from 0")
        if edges != list(MARGIN_EDGES):
            raise refusal("edges", "margin_edges_logits", "not the bins of this version; calibrate again")
        if len(upper) != len(edges) - 1:
            raise refusal("upper", "chosen_upper", f"{len(upper)} bounds for {len(edges) - 1} bins")
        if any(a < b for a, b in pairwise(upper)) or upper[0] > 0.5 or upper[-1] <= 0:
            raise refusal("upper", "chosen_upper", "must fall from at most 0.5 and stay above 0")
        return self


WHOLE_ROWS = ("transformers", "vllm-local")
"""Implementations of replays that know every logit of a position."""


def open_share(made_for: MadeFor) -> float:
    """The expected share of open positions in a code; 0 for an independent replay, which knows every logit."""
    return 0.0 if made_for.replay in WHOLE_ROWS else OPEN_SHARE


def code_edges(scheme: str) -> FloatArray:
    """Margin bins, logits, within which all candidates of a scheme are kept: no other token may be inside a code."""
    return np.array([edge for edge in MARGIN_EDGES if edge <= margin_limit(scheme)])


class CodeRates(Section):
    """Rates to which the codes of tokens are fitted (`verifier.scoring.codes`): shares on one half, no limits.

    Attributes:
        alternative: share of alternatives of each class that honest traffic took: on a boundary, then the margin bins.
        suspicious: share of suspicious tokens.
        dangerous: share of dangerous tokens.
        outliers_near: share of tokens beyond the last bin that are among the `rank_limit` most likely.
        outliers_far: share of tokens beyond the last bin that are not.
    """

    alternative: list[Annotated[float, Field(gt=0, le=0.5)]]
    suspicious: Share
    dangerous: Share
    outliers_near: Share
    outliers_far: Share

    def counting_code(self, thresholds: Thresholds, made_for: MadeFor, vocabulary: int) -> CountingCode:
        """The code with equal charges for all tokens of the admissible set."""
        return CountingCode(
            margin=thresholds.margin_logits,
            escape=OutsideCode(
                near=self.suspicious,
                far=self.dangerous,
                open=open_share(made_for),
                against=0.0,
                rank_limit=thresholds.rank_limit,
                vocabulary=vocabulary,
            ),
        )

    def pooled_code(self, thresholds: Thresholds, made_for: MadeFor, vocabulary: int) -> PooledCode:
        """The code of alternatives by the share of honest traffic that took them."""
        edges = code_edges(made_for.scheme)
        taken = np.array(self.alternative[: len(edges)])
        return PooledCode(
            edges_b=edges,
            log_odds_c=np.log(taken / (1 - taken)),
            escape=OutsideCode(
                near=self.outliers_near,
                far=self.outliers_far,
                open=open_share(made_for),
                against=0.0,
                rank_limit=thresholds.rank_limit,
                vocabulary=vocabulary,
            ),
        )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if len(self.alternative) != len(MARGIN_EDGES):
            raise refusal("alternative", "alternative", f"{len(self.alternative)} shares, not {len(MARGIN_EDGES)}")
        if any(a < b for a, b in pairwise(self.alternative[1:])):
            raise refusal("alternative", "alternative", "must not rise with the margin")
        return self


class Evaluation(Counted):
    """Rates of the thresholds on honest records that were not used to choose them."""

    exact_match: Rate
    suspicious: Rate
    dangerous: Rate
    outliers: Rate
    charged_bits_per_token: Rate
    counting_bits_per_token: Rate
    pooled_bits_per_token: Rate
    entropy_bits_per_token: Rate
    flagged_records: Count


class Calibration(Counted):
    """The half that chose thresholds and noise bounds, and the split of the halves."""

    split_seed: Count
    max_dangerous_rate: Probability
    max_unsafe_rate: Probability
    traffic: list[Digest]


class Policy(BasePolicy):
    """A calibrated policy: immutable, strict, and refused for any other model, engine or replay than its own."""

    exact: ClassVar[bool] = False
    leading_code: ClassVar[CodeName] = "pooled"

    format: Literal["weightwarden-policy/1"]
    thresholds: Thresholds
    noise: NoiseBounds
    code: CodeRates
    calibration: Calibration
    evaluation: Evaluation

    @model_validator(mode="after")
    def _rivals_within_reach(self) -> Self:
        if self.thresholds.margin_logits > margin_limit(self.made_for.scheme):
            what = (
                f"scheme {self.made_for.scheme} keeps rivals up to {margin_limit(self.made_for.scheme):g} logits only"
            )
            raise refusal("margin", "thresholds.margin_logits", what)
        return self

    @property
    def tolerance(self) -> Tolerance:
        return Tolerance(
            margin=self.thresholds.margin_logits,
            logit_slack=self.thresholds.logit_slack_logits,
            mass_slack=self.thresholds.mass_slack,
        )

    @property
    def token_noise(self) -> TokenNoise:
        return TokenNoise(
            edges_b=np.array(self.noise.margin_edges_logits),
            upper_b=np.array(self.noise.chosen_upper),
            outlier_margin=self.noise.outlier_margin_logits,
            outlier_upper=self.noise.outlier_upper,
            boundary_upper=self.noise.boundary_upper,
        )

    @property
    def rank_limit(self) -> int:
        return self.thresholds.rank_limit

    @property
    def window(self) -> Window:
        return Window(
            margin=max(MARGIN_EDGES[-1], self.thresholds.margin_logits),
            logit_slacks=(self.thresholds.logit_slack_logits,),
            mass_slack=self.thresholds.mass_slack,
        )

    @property
    def forced_end_limits(self) -> ForcedEndLimits:
        return ForcedEndLimits(self.noise.outlier_margin_logits, self.noise.outlier_upper)

    @property
    def steady_sway(self) -> float:
        """The same for every policy: sway is a property of the model, not of the server's noise."""
        return STEADY_SWAY

    @property
    def honest_rates(self) -> HonestRates:
        return HonestRates(
            level=FLAG_LEVEL,
            events=(self.noise.outlier_upper, FLAG_LEVEL),  # a forced end, a failed server
            outlier_rate=self.noise.outlier_upper,
            most_outlying=1.0,
        )

    def accumulator(self, records: int) -> RecordEvidenceAccumulator:
        """The tests on the calibrated token noise."""
        return RecordEvidenceAccumulator(self.token_noise, records)

    @property
    def likelihood_ratio_bets(self) -> LikelihoodRatioBets:
        """Bets against the calibrated token noise; none on the boundary where it has no bound."""
        noise, edges_b = self.token_noise, code_edges(self.made_for.scheme)
        return LikelihoodRatioBets(
            edges_b=edges_b,
            upper_c=noise.upper_c[: len(edges_b)],
            admissible_margin=self.thresholds.margin_logits,
            outside_margin=max(float(edges_b[-1]), noise.outlier_margin),
            outside_upper=noise.outlier_upper,
            exact=False,
        )

    def counting_code(self, vocabulary: int) -> CountingCode:
        """The code with equal charges for all tokens of the admissible set."""
        return self.code.counting_code(self.thresholds, self.made_for, vocabulary)

    def pooled_code(self, vocabulary: int) -> PooledCode:
        """The code of alternatives by the share of honest traffic that took them."""
        return self.code.pooled_code(self.thresholds, self.made_for, vocabulary)

    def likelihood(self, table: CandidateTable, scores: TokenScores) -> FloatArray:
        """GM-LS, or IPT-LS for inverse-cdf."""
        if self.thresholds.noise_scale_cdf is None:
            return gumbel_likelihood_score(scores.margin_n, self.thresholds.noise_scale_logits)
        return inverse_transform_likelihood_score(table.cdf_low_n, table.cdf_high_n, self.thresholds.noise_scale_cdf)
