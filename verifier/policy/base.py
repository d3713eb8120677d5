"""The base of policies: model, engine and replay of a policy, and its rules for judging records."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Annotated, Any, ClassVar, Literal, Protocol, Self

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, model_validator

from weightwarden.logger.record import Record
from weightwarden.sampler.known_engines import unlisted
from weightwarden.sampler.params import TokenId, refusal
from weightwarden.sampler.schemes import SCHEMES
from weightwarden.sampler.types import FloatArray
from weightwarden.text import printable
from weightwarden.verifier.candidates.table import CandidateTable
from weightwarden.verifier.candidates.window import Window
from weightwarden.verifier.errors import PolicyError
from weightwarden.verifier.model.identity import ModelIdentity
from weightwarden.verifier.scoring.accumulator import Accumulator
from weightwarden.verifier.scoring.codes import CodeName, CountingCode, PooledCode
from weightwarden.verifier.scoring.likelihood_ratio import LikelihoodRatioBets
from weightwarden.verifier.scoring.run_evidence import HonestRates
from weightwarden.verifier.scoring.stopping import ForcedEndLimits
from weightwarden.verifier.scoring.token_scores import TokenScores, Tolerance

Probability = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]
PositiveCount = Annotated[int, Field(ge=1)]
Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]


class Section(BaseModel):
    """A part of a policy file: immutable, strict, with no unknown fields."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)


class KnownAnswer(Section):
    """A known answer of the replay server at calibration: a transcript, and the raw logit of each token but the first.

    No field of an HTTP answer reveals the weights, dtype or build of a server; its logits do.
    """

    token_ids: Annotated[list[TokenId], Field(min_length=2, max_length=1024)]
    logits: list[float]

    @model_validator(mode="after")
    def _one_logit_a_token(self) -> Self:
        if len(self.logits) != len(self.token_ids) - 1:
            raise refusal("known_answer", "logits", f"{len(self.logits)} logits for {len(self.token_ids)} tokens")
        return self


class MadeFor(Section):
    """The model, engine and replay for which a policy holds; any sampling parameters, since margins are in logits.

    Attributes:
        max_model_len: the server's context length in tokens, if it was given to calibration (`--max-model-len`).
        profile: digest of the engine profile that every record must name; None: records may name any, or none.
        unlisted_engine: True if the scheme was not compared with this engine and version, and the policy holds all the
            same; else None.
    """

    model_digest: Digest
    engine: Annotated[str, Field(min_length=1, max_length=256)]
    engine_version: Annotated[str, Field(min_length=1, max_length=256)]
    scheme: str
    replay: Annotated[str, Field(min_length=1, max_length=64)]
    dtype: Annotated[str, Field(min_length=1, max_length=32)]
    known_answer: KnownAnswer | None = None
    max_model_len: PositiveCount | None = None
    profile: Digest | None = None
    unlisted_engine: Literal[True] | None = None

    @model_validator(mode="after")
    def _known_scheme(self) -> Self:
        if self.scheme not in SCHEMES:
            raise refusal("unknown_scheme", "scheme", f"unknown sampling scheme {self.scheme!r}")
        return self


class Counted(Section):
    """The amount of records behind a part of the policy."""

    records: PositiveCount
    tokens: PositiveCount


class Rate(Section):
    """A rate or mean with its 95% record-clustered interval."""

    value: float
    low: float
    high: float

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.low <= self.value <= self.high:
            raise refusal("interval", "value", "must lie between low and high")
        return self


class RecordEvidence(Protocol):
    """Evidence from the tokens of one record.

    Attributes:
        tokens: output tokens.
        outliers: number of tokens beyond the outlier margin (independent) or mismatching (exact).
        p_value: share of honest records, at most, that look like this one.
        reasons: reasons why the record is flagged by its tokens; empty when it is not.
    """

    @property
    def tokens(self) -> int: ...

    @property
    def outliers(self) -> int: ...

    @property
    def p_value(self) -> float: ...

    @property
    def reasons(self) -> list[str]: ...


class EvidenceAccumulator(Accumulator, Protocol):
    """The accumulator of each record's evidence."""

    def evidence(self, record: int) -> RecordEvidence: ...


class BasePolicy(Section, ABC):
    """The rules for judging tokens and records, and the model, engine and replay for which they hold."""

    exact: ClassVar[bool]
    """True for replay on the same engine, with tolerance zero."""
    leading_code: ClassVar[CodeName]
    """The code whose bound counts. It is fixed in advance: the lesser of two limits would hold with less confidence."""

    format: str
    made_for: MadeFor

    @property
    @abstractmethod
    def tolerance(self) -> Tolerance:
        """Tolerated distance of an honest token from the replay."""

    @property
    @abstractmethod
    def rank_limit(self) -> int:
        """R, tokens: up to this logit rank an implausible token is suspicious, beyond it dangerous."""

    @property
    @abstractmethod
    def window(self) -> Window:
        """The window of candidates that the judgement needs. Its one slack level is that of the tolerance."""

    @property
    @abstractmethod
    def forced_end_limits(self) -> ForcedEndLimits:
        """Limits of final tokens that were not sampled but forced."""

    @property
    @abstractmethod
    def steady_sway(self) -> float | None:
        """Largest sway of a position that is evidence, logits (`SwayingReplayer`); None where every position is."""

    @property
    @abstractmethod
    def honest_rates(self) -> HonestRates:
        """Upper limits of honest records, against which runs and series are judged."""

    @abstractmethod
    def accumulator(self, records: int) -> EvidenceAccumulator:
        """An empty accumulator for `records` records."""

    @property
    @abstractmethod
    def likelihood_ratio_bets(self) -> LikelihoodRatioBets:
        """The bets of the conditional test."""

    @abstractmethod
    def counting_code(self, vocabulary: int) -> CountingCode:
        """The code with equal charges for all admissible tokens."""

    @abstractmethod
    def pooled_code(self, vocabulary: int) -> PooledCode:
        """The code with larger charges for less likely tokens."""

    @abstractmethod
    def likelihood(self, table: CandidateTable, scores: TokenScores) -> FloatArray:
        """The claimed tokens' likelihood scores, nats; nan where the policy has no noise model."""

    def check_scheme(self, record: Record) -> None:
        """Check that the policy holds for a record.

        1. The record has the policy's scheme, engine and version, and its engine profile where it has one.
        2. The scheme was compared with the engine and version, or the policy says that it holds all the same. A record
           at temperature 0 has no draw, and needs neither.

        Raises:
            PolicyError: the policy does not hold for it; the message names the field.
        """
        # 1
        made_for, engine = self.made_for, record.engine
        for field, what, ours, theirs in (
            ("sampler", "scheme", made_for.scheme, engine.sampler),
            (
                "version" if made_for.engine == engine.name else "name",
                "engine",
                f"{made_for.engine} {made_for.engine_version}",
                f"{engine.name} {engine.version}",
            ),
            ("profile", "engine profile", made_for.profile, engine.profile),
        ):
            if ours is not None and ours != theirs:
                other = "a record without one" if theirs is None else printable(theirs)
                raise PolicyError(
                    f"engine.{field}: the policy was made for {what} {ours}, not {other}; calibrate one that fits"
                )
        # 2
        if not made_for.unlisted_engine and not record.sampling.is_greedy:
            found = unlisted(engine.sampler, printable(engine.name), printable(engine.version))
            if found is not None:
                raise PolicyError(
                    f"engine.version: {found}; verify calibrate --unlisted-engine makes a policy that holds all the"
                    " same"
                )

    def warnings(self, records: Iterable[Record]) -> list[str]:
        """Warnings about the records for which the policy holds.

        Args:
            records: records, of which one names an engine profile if any record does.
        """
        made_for, found = self.made_for, []
        if made_for.unlisted_engine:
            found.append(
                f"the policy holds for {printable(made_for.engine)} {printable(made_for.engine_version)}, with which"
                f" scheme {made_for.scheme} was not compared: if that engine draws otherwise, then the policy has taken"
                " tokens for honest noise, and its limits are looser"
            )
        if made_for.profile is None and any(record.engine.profile is not None for record in records):
            found.append(
                "records name an engine profile, and the policy was made for none: it holds whatever the profile says"
            )
        return found

    def to_toml(self) -> str:
        """The policy as text of a policy file."""
        content: dict[str, Any] = self.model_dump(exclude_none=True)
        return tomli_w.dumps(content)

    def with_context(self, max_model_len: int | None) -> Self:
        """The same policy for a server with this context length, tokens; None for the model's default."""
        made_for = self.made_for.model_copy(update={"max_model_len": max_model_len})
        return self.model_copy(update={"made_for": made_for})

    def check_context(self, identity: ModelIdentity, max_model_len: int | None) -> None:
        """Check that the policy holds for a server of a model with this context length.

        Args:
            identity: the model.
            max_model_len: context length with which the model replays, tokens; None for the model's default.

        Raises:
            PolicyError: the model has other rotary factors with this context than with the policy's.
        """
        made_for = self.made_for.max_model_len
        if identity.takes_long_factors(max_model_len) != identity.takes_long_factors(made_for):
            raise PolicyError(
                f"the policy was made for a server with --max-model-len {made_for or identity.context_length}, and with"
                f" {max_model_len or identity.context_length} this model has other rotary factors; calibrate one that"
                " fits"
            )

    def digest(self) -> str:
        """Digest "sha256:..." of the canonical text, which identifies the policy in reports."""
        return f"sha256:{hashlib.sha256(self.to_toml().encode()).hexdigest()}"

    def check_made_for(self, *, model_digest: str, replay: str, dtype: str) -> None:
        """Check that the policy holds for a replayer.

        Raises:
            PolicyError: the policy was made for another model, replay implementation or dtype.
        """
        for what, ours, theirs in (
            ("model", self.made_for.model_digest, model_digest),
            ("replay", self.made_for.replay, replay),
            ("replay dtype", self.made_for.dtype, dtype),
        ):
            if ours != theirs:
                raise PolicyError(f"the policy was made for {what} {ours}, not {theirs}; calibrate one that fits")
