"""The replay of one record as files of a bundle: its verdict, and a table with one entry an output token."""

import json
from typing import Annotated, Any, Literal, Self, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from weightwarden.logger.record import Record
from weightwarden.sampler.params import refusal
from weightwarden.sampler.validation_message import validation_message
from weightwarden.verifier.bundle.errors import BundleError
from weightwarden.verifier.policy.base import BasePolicy
from weightwarden.verifier.replay.environment import ReplayEnvironment
from weightwarden.verifier.replay.replay import ReplayFacts
from weightwarden.verifier.scoring.token_verdicts import Verdict
from weightwarden.verifier.verification.record_verdict import RecordVerdict

Count = Annotated[int, Field(ge=0, le=2**53)]
TokenVerdict = Literal["safe", "suspicious", "dangerous"]
Part = TypeVar("Part", bound=BaseModel)
_NAMES: dict[Verdict, TokenVerdict] = {
    Verdict.SAFE: "safe",
    Verdict.SUSPICIOUS: "suspicious",
    Verdict.DANGEROUS: "dangerous",
}
LEAST_TOLERANCE = 0.001
"""Smallest tolerance between two replays, logits: two processors round differently even in float32."""
MOST_APART = 0.01
"""Largest share of a record's positions that may differ between two replays by more than the tolerance; one may."""


class _Part(BaseModel):
    """A strict part of a bundle's JSON."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)


class ReplayTable(_Part):
    """Scores and verdict of every output token, by column (`weightwarden.verifier.verification.token_frame.SCHEMA`).

    Attributes:
        margin: margin in logits; null outside the support.
        alternatives: by position that is not safe, the admissible tokens with their margins in logits.
    """

    format: Literal["weightwarden-replay-table/1"] = "weightwarden-replay-table/1"
    token: list[Count]
    margin: list[float | None]
    exact: list[bool]
    logit_rank: list[Count]
    gumbel_rank: list[Count]
    admissible: list[Count]
    verdict: list[TokenVerdict]
    charged_bits: list[Annotated[float, Field(ge=0)]]
    likelihood: list[float | None]
    unsteady: list[bool]
    alternatives: dict[str, list[tuple[Count, float]]]

    @model_validator(mode="after")
    def _one_entry_a_token(self) -> Self:
        columns = [getattr(self, name) for name in type(self).model_fields if name not in ("format", "alternatives")]
        if len({len(column) for column in columns}) != 1:
            raise refusal("columns", "token", "columns of different lengths")
        return self

    @classmethod
    def of(cls, record: Record, verdict: RecordVerdict) -> "ReplayTable":
        """The table of a judged record."""
        tokens = verdict.tokens
        return cls(
            token=list(record.output_token_ids),
            margin=_finite(tokens.margin),
            exact=tokens.exact.tolist(),
            logit_rank=tokens.logit_rank.tolist(),
            gumbel_rank=tokens.gumbel_rank.tolist(),
            admissible=tokens.admissible.tolist(),
            verdict=[_NAMES[Verdict(int(one))] for one in tokens.verdict],
            charged_bits=tokens.charged_bits.tolist(),
            likelihood=_finite(tokens.likelihood_score),
            unsteady=tokens.unsteady.tolist(),
            alternatives={
                str(at): [(one.token, one.margin) for one in found] for at, found in verdict.alternatives.items()
            },
        )

    def apart(self, other: "ReplayTable", tolerance: float) -> list[int]:
        """Positions at which two replays of one record differ by more than rounding explains.

        Margins must agree within the tolerance, or both be outside the support. Verdicts may differ where the margins
        agree. Positions that rounding errors decide in either replay (`unsteady`) are left out.
        """
        found = []
        for at, (one, another) in enumerate(zip(self.margin, other.margin, strict=True)):
            if self.unsteady[at] or other.unsteady[at]:
                continue
            agree = one is another if one is None or another is None else abs(one - another) <= tolerance
            if not agree:
                found.append(at)
        return found


class BundledVerdict(_Part):
    """The verdict of a bundled record, and what computed it."""

    format: Literal["weightwarden-record-verdict/1"] = "weightwarden-record-verdict/1"
    log: str
    record: Count
    flagged: bool
    reasons: list[str]
    p_value: Annotated[float, Field(ge=0, le=1)]
    tokens: Count
    outliers: Count
    undefined: str | None
    stop_findings: list[tuple[Literal["early", "late", "forced"], str]]
    stop_bits: Annotated[float, Field(ge=0)]
    weightwarden_version: str
    model: str
    model_digest: str
    policy_digest: str
    replay: str
    dtype: str
    processor: str | None
    software: dict[str, str]

    @classmethod
    def of(
        cls,
        verdict: RecordVerdict,
        *,
        origin: str,
        index: int,
        policy: BasePolicy,
        replayer: ReplayFacts,
        environment: ReplayEnvironment,
        version: str,
    ) -> "BundledVerdict":
        """The verdict of a judged record of a log."""
        return cls(
            log=origin,
            record=index,
            flagged=verdict.flagged,
            reasons=verdict.reasons,
            p_value=verdict.p_value,
            tokens=verdict.evidence.tokens,
            outliers=verdict.evidence.outliers,
            undefined=verdict.undefined,
            stop_findings=[(finding.kind, finding.why) for finding in verdict.stop_findings],
            stop_bits=verdict.stop_bits,
            weightwarden_version=version,
            model=replayer.identity.path.name,
            model_digest=replayer.identity.digest,
            policy_digest=policy.digest(),
            replay=replayer.implementation,
            dtype=replayer.dtype,
            processor=environment.processor,
            software=environment.software,
        )

    @property
    def kinds(self) -> set[str]:
        """Kinds of the reasons: the part before the colon."""
        return {reason.partition(":")[0] for reason in self.reasons}


def encode(part: BaseModel) -> bytes:
    """A part as JSON."""
    return (json.dumps(part.model_dump(mode="json"), indent=1, allow_nan=False) + "\n").encode()


def decode(kind: type[Part], name: str, data: bytes) -> Part:
    """The part in a member of a bundle.

    Raises:
        BundleError: the member is not this part.
    """
    try:
        return kind.model_validate_json(data)
    except ValidationError as error:
        raise BundleError(f"{name}: {validation_message(error)}") from None


def _finite(values: Any) -> list[float | None]:
    return [float(value) if np.isfinite(value) else None for value in values]
