"""The profile of a server: what decides its logits and draws beside the model (docs/design.md, section 4)."""

import hashlib
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

import rfc8785
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from weightwarden.errors import WeightwardenError
from weightwarden.logger.record import Engine, Name
from weightwarden.sampler.errors import UnknownScheme
from weightwarden.sampler.params import refusal
from weightwarden.sampler.schemes import scheme
from weightwarden.sampler.validation_message import field_and_fault
from weightwarden.text import printable

MAX_PROFILE_BYTES = 65_536
ONE_HOT = "vllm-v2-one-hot"
"""The scheme of acceptance `one-hot`."""
COUPLED_SCHEMES = ("vllm-v2", "vllm-v2-fp64")
"""The schemes whose noise depends on the position alone: a drafted token can be compared with the draw."""


class EngineProfileError(WeightwardenError, ValueError):
    """A file that is no engine profile; the message names file and field."""


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


_CHANCE = "the server's own claims decide which tokens it admits"
UNKNOWN_ACCEPTANCE = {
    "probabilistic": f"a draft's probability is not in the record, and {_CHANCE}",
    "block": f"a token's acceptance depends on later drafts, which are not in the record, and {_CHANCE}",
    "synthetic": "tokens are accepted at a set rate, whatever the model says of them",
}
"""Rules of acceptance above temperature 0 that cannot be verified, with the reason (docs/sampling.md, section 4.9)."""


def _known_acceptance(value: Any) -> Any:
    """The value, unless it is a rule that cannot be verified."""
    if isinstance(value, str) and value in UNKNOWN_ACCEPTANCE:
        what = f"{value} acceptance cannot be verified above temperature 0: {UNKNOWN_ACCEPTANCE[value]}"
        raise refusal("acceptance", "", f"{what}; verified are greedy, coupled and one-hot")
    return value


class Speculation(_Strict):
    """The speculative decoding of a server.

    Attributes:
        method: method that drafts tokens, by the engine's name for it, such as `ngram` or `eagle3`.
        tokens: drafted tokens a step.
        acceptance: rule by which drafted tokens are accepted. `greedy`: requests have temperature 0. `coupled`: a token
            is accepted if the seeded draw gives it, so that tokens are those without speculation. `one-hot`: the rule
            of vLLM's V2 runner for drafts without probabilities.
    """

    method: Name
    tokens: Annotated[int, Field(ge=1, le=1024)]
    acceptance: Annotated[Literal["greedy", "coupled", "one-hot"], BeforeValidator(_known_acceptance)]


class EngineProfile(_Strict):
    """The profile of a server. Records name it by its digest.

    Attributes:
        format: name and version of this format.
        engine: name of the engine.
        version: its version.
        runner: its model runner (vLLM: `V1` or `V2`), or None where it has one only.
        sampler: its sampling scheme (docs/sampling.md).
        dtype: dtype of its weights and activations, such as `bfloat16`.
        quantization: method by which its weights are quantised, or None.
        kv_cache_dtype: dtype of its KV cache; `auto` is that of the activations.
        tensor_parallel: number of devices that share each layer.
        attention_backend: its attention backend, by the engine's name for it.
        batch_invariant: whether its logits do not depend on the batch.
        grammar_backend: its grammar backend as `NAME==VERSION`, or None.
        speculation: its speculative decoding, or None.
        adapters: whether it serves low-rank adapters.
    """

    format: Literal["weightwarden engine profile/1"] = "weightwarden engine profile/1"
    engine: Name
    version: Name
    runner: Name | None = None
    sampler: Name
    dtype: Name
    quantization: Name | None = None
    kv_cache_dtype: Name = "auto"
    tensor_parallel: Annotated[int, Field(ge=1, le=4096)] = 1
    attention_backend: Name | None = None
    batch_invariant: bool = False
    grammar_backend: Name | None = None
    speculation: Speculation | None = None
    adapters: bool = False

    @model_validator(mode="after")
    def _known_scheme(self) -> "EngineProfile":
        try:
            scheme(self.sampler)
        except UnknownScheme as error:
            raise refusal("unknown_scheme", "sampler", str(error)) from None
        return self

    @model_validator(mode="after")
    def _scheme_of_the_acceptance(self) -> "EngineProfile":
        """The scheme and the acceptance rule say the same of how tokens are drawn."""
        acceptance = None if self.speculation is None else self.speculation.acceptance
        if (acceptance == "one-hot") != (self.sampler == ONE_HOT):
            what = f"speculation.acceptance one-hot and scheme {ONE_HOT} need each other; the scheme is {self.sampler}"
            raise refusal("speculation", "sampler", what)
        if acceptance == "coupled" and self.sampler not in COUPLED_SCHEMES:
            what = f"draws of {' and '.join(COUPLED_SCHEMES)} alone can be coupled; the scheme is {self.sampler}"
            raise refusal("speculation", "speculation.acceptance", what)
        return self

    @classmethod
    def read(cls, path: Path) -> "EngineProfile":
        """The profile in a TOML file.

        Raises:
            EngineProfileError: the file cannot be read, or is no profile.
        """
        try:
            data = path.read_bytes()
            if len(data) > MAX_PROFILE_BYTES:
                raise EngineProfileError(f"{path}: {len(data)} bytes, and a profile has at most {MAX_PROFILE_BYTES}")
            return cls.model_validate(tomllib.loads(data.decode("utf-8")))
        except OSError as error:
            raise EngineProfileError(f"{path}: {error.strerror or error}") from None
        except ValidationError as error:
            field, what = field_and_fault(error)
            raise EngineProfileError(f"{path}: {printable(field)}: {what}" if field else f"{path}: {what}") from None
        except ValueError as error:  # not UTF-8, or not TOML
            raise EngineProfileError(f"{path}: not TOML: {printable(str(error))}") from None

    def contents(self) -> dict[str, Any]:
        """The profile as JSON, without what it leaves out."""
        return self.model_dump(exclude_none=True)

    def digest(self) -> str:
        """Digest "sha256:..." of the profile's canonical JSON (RFC 8785), by which records name it."""
        return f"sha256:{hashlib.sha256(rfc8785.dumps(self.contents())).hexdigest()}"

    def of_record(self) -> Engine:
        """The engine as a record names it."""
        return Engine(name=self.engine, version=self.version, sampler=self.sampler, profile=self.digest())
