"""The policy file: what calibration found, and for what it holds (TOML)."""

import hashlib
import tomllib
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from sampler.errors import printable
from sampler.params import refusal
from sampler.schemes import SCHEMES
from verifier.errors import PolicyError
from verifier.inverse_candidates import margin_limit
from verifier.score import Tolerance
from verifier.token_noise import MARGIN_EDGES, TokenNoise

FORMAT: Literal["weightwarden-policy/1"] = "weightwarden-policy/1"
MAX_POLICY_BYTES = 1 << 20

Probability = Annotated[float, Field(ge=0, le=1)]
Logits = Annotated[float, Field(ge=0, le=100)]
Count = Annotated[int, Field(ge=0)]
PositiveCount = Annotated[int, Field(ge=1)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)


class MadeFor(_Section):
    """What the policy holds for; any sampling parameters, since margins are in logits."""

    model_digest: Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
    engine: Annotated[str, Field(min_length=1, max_length=256)]
    engine_version: Annotated[str, Field(min_length=1, max_length=256)]
    scheme: str
    replay: Annotated[str, Field(min_length=1, max_length=64)]
    dtype: Annotated[str, Field(min_length=1, max_length=32)]

    @model_validator(mode="after")
    def _known_scheme(self) -> Self:
        if self.scheme not in SCHEMES:
            raise refusal("unknown_scheme", "scheme", f"unknown sampling scheme {self.scheme!r}")
        return self


class Thresholds(_Section):
    """How far an honest token may be from the replay; chosen on the calibration half."""

    margin_logits: Annotated[Logits, Field(gt=0)]
    logit_slack_logits: Logits
    mass_slack: Annotated[Probability, Field(lt=1)]
    rank_limit: PositiveCount
    noise_scale_logits: Annotated[Logits, Field(gt=0)]
    noise_scale_cdf: Annotated[Probability, Field(gt=0)] | None = None


class NoiseBounds(_Section):
    """`TokenNoise` as numbers: upper bounds of how often honest traffic took a candidate of each margin bin."""

    margin_edges_logits: list[Logits]
    chosen_upper: list[Probability]
    outlier_margin_logits: Logits
    outlier_upper: Annotated[Probability, Field(gt=0)]

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


class Counted(_Section):
    """Which records stood behind a part of the policy."""

    records: PositiveCount
    tokens: PositiveCount


class Rate(_Section):
    """A rate or mean with its 95% record-clustered interval."""

    value: float
    low: float
    high: float

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.low <= self.value <= self.high:
            raise refusal("interval", "value", "must lie between low and high")
        return self


class Evaluation(Counted):
    """What the thresholds do on honest records that did not choose them."""

    exact_match: Rate
    suspicious: Rate
    dangerous: Rate
    outliers: Rate
    extractable_bits_per_token: Rate
    flagged_records: Count


class Calibration(Counted):
    """The half that chose thresholds and noise bounds, and how the halves were made."""

    split_seed: Count
    max_dangerous_rate: Probability
    max_unsafe_rate: Probability
    traffic: list[Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]]


class Policy(_Section):
    """A calibrated policy; immutable, strict, and refused for anything that it was not made for."""

    format: Literal["weightwarden-policy/1"]
    made_for: MadeFor
    thresholds: Thresholds
    noise: NoiseBounds
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
        )

    def to_toml(self) -> str:
        """The policy as its file's text."""
        return tomli_w.dumps(self.model_dump(exclude_none=True))

    def digest(self) -> str:
        """ "sha256:..." of the canonical text: what reports name it by."""
        return f"sha256:{hashlib.sha256(self.to_toml().encode()).hexdigest()}"

    def check_made_for(self, *, model_digest: str, replay: str, dtype: str) -> None:
        """Check that the policy holds for a replayer.

        Raises:
            PolicyError: it was made for another model, replay implementation or dtype.
        """
        for what, ours, theirs in (
            ("model", self.made_for.model_digest, model_digest),
            ("replay", self.made_for.replay, replay),
            ("replay dtype", self.made_for.dtype, dtype),
        ):
            if ours != theirs:
                raise PolicyError(f"the policy was made for {what} {ours}, not {theirs}; calibrate one that fits")


def read_policy(path: Path) -> Policy:
    """Read a policy file.

    Raises:
        PolicyError: unreadable, not TOML, or not a strict policy; the message names the file and the field.
    """
    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_POLICY_BYTES + 1)
    except OSError as error:
        raise PolicyError(f"{path}: cannot be read: {error.strerror or error}") from error
    if len(content) > MAX_POLICY_BYTES:
        raise PolicyError(f"{path}: longer than {MAX_POLICY_BYTES} bytes")
    if not content.strip():
        raise PolicyError(f"{path}: empty")
    try:
        fields = tomllib.loads(content.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise PolicyError(f"{path}: not UTF-8 at byte {error.start}") from None
    except (ValueError, RecursionError) as error:  # ValueError: also a number of too many digits
        raise PolicyError(f"{path}: not TOML: {error or 'nested too deeply'}") from None
    try:
        return Policy.model_validate(fields)
    except ValidationError as error:
        raise PolicyError(f"{path}: {_first_complaint(error)}") from None


def _first_complaint(error: ValidationError) -> str:
    first: Any = error.errors(include_url=False)[0]
    at = first.get("ctx", {}).get("at")
    field = ".".join([*map(str, first["loc"]), *([at] if at else [])])
    what = {"extra_forbidden": "unknown field", "missing": "missing"}.get(first["type"], first["msg"])
    return f"{printable(field)}: {what}" if field else what
