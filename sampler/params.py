"""The sampling parameters of one request, strict and immutable."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

TokenId = Annotated[int, Field(ge=0, lt=2**31)]

SPECULATES = (
    "above temperature 0, speculative decoding consumes noise at boundaries that the record does not show, or accepts"
    " tokens by chance; vLLM's V2 runner with drafts of no probabilities has the scheme vllm-v2-one-hot, and one whose"
    " acceptance is coupled to the seeded draw has the scheme vllm-v2"
)
UNREPLAYABLE_FIELDS: Mapping[str, str] = {
    "structured_outputs": "a grammar mask is known from the field grammar of the record alone",
    "response_format": "a grammar mask is known from the field grammar of the record alone",
    "guided_json": "a grammar mask is known from the field grammar of the record alone",
    "guided_regex": "a grammar mask is known from the field grammar of the record alone",
    "guided_choice": "a grammar mask is known from the field grammar of the record alone",
    "guided_grammar": "a grammar mask is known from the field grammar of the record alone",
    "tool_choice": "a forced tool call is known from the field grammar of the record alone",
    "speculative_decoding": SPECULATES,
    "use_beam_search": "beam search is not drawn from a seed",
    "thinking_token_budget": "the engine's forced tokens are unknown; the sidecar forces its own (reasoning.budget)",
    "watermarking": "a watermarked token is drawn with the watermark's key, not with the seed",
    "logits_processors": "a custom logits processor is unknown to the verifier",
    "vllm_xargs": "custom arguments may reach plugins unknown to the verifier",
}
"""Request fields that make a request unreplayable, with the reason (docs/sampling.md, sections 1, 4.9, 6.1, 7.2)."""


def refusal(kind: str, at: str, what: str) -> PydanticCustomError:
    """A validation error for the field `at` below the validated object."""
    return PydanticCustomError(kind, "{what}", {"at": at, "what": what})


def _int_keys(value: Any) -> Any:
    """The object with integer keys: JSON keys are strings, and a logit bias has token ids as keys."""
    if not isinstance(value, Mapping):
        return value
    keys = {}
    for key, bias in value.items():
        if isinstance(key, str) and not (key.isascii() and key.isdigit() and str(int(key)) == key):
            raise refusal("logit_bias_key", "", f"key {key!r} is not a token id")
        keys[int(key)] = bias
    return keys


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


NonEmptyString = Annotated[str, Field(min_length=1)]


class SamplingParams(BaseModel):
    """The sampling parameters of one request, with vLLM's names and domains.

    A field that is absent or null has the engine's neutral value, never the server's default: a logger records the
    effective parameters (docs/sampling.md, section 7.3). Unknown fields are refused, and so are fields that make a
    request unreplayable.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)

    temperature: Annotated[float, Field(ge=0, le=100)] = 1.0
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    top_k: Annotated[int, Field(ge=-1, lt=2**31)] = 0
    min_p: Annotated[float, Field(ge=0, le=1)] = 0.0
    repetition_penalty: Annotated[float, Field(gt=0, le=100)] = 1.0
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] = 0.0
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] = 0.0
    min_tokens: Annotated[int, Field(ge=0, lt=2**31)] = 0
    max_tokens: Annotated[int, Field(ge=1, lt=2**31)] | None = None
    n: Annotated[int, Field(ge=1, lt=2**16)] | None = None
    stop: Annotated[list[NonEmptyString], BeforeValidator(_as_list)] = []
    stop_token_ids: list[TokenId] = []
    ignore_eos: bool = False
    logit_bias: Annotated[dict[TokenId, float], BeforeValidator(_int_keys)] = {}
    allowed_token_ids: Annotated[list[TokenId], Field(min_length=1)] | None = None
    bad_words: list[NonEmptyString] = []
    # Text only: no effect on the draw.
    include_stop_str_in_output: bool = False
    skip_special_tokens: bool = True
    spaces_between_special_tokens: bool = True

    @model_validator(mode="before")
    @classmethod
    def _drop_nulls(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        for field, why in UNREPLAYABLE_FIELDS.items():
            if field == "speculative_decoding" and value.get("temperature") == 0:
                continue  # greedy speculation draws what greedy decoding draws
            if value.get(field):
                raise refusal("unreplayable", field, f"cannot be replayed: {why}")
        return {key: item for key, item in value.items() if item is not None and key not in UNREPLAYABLE_FIELDS}

    @property
    def is_greedy(self) -> bool:
        """True if the token is the plain argmax, for which no seed is used."""
        return self.temperature == 0.0

    def has(self, field: str) -> bool:
        """True if a field differs from its neutral value."""
        if field == "top_k":
            return self.top_k > 0
        return bool(getattr(self, field) != type(self).model_fields[field].default)

    @property
    def has_penalties(self) -> bool:
        return (self.repetition_penalty, self.presence_penalty, self.frequency_penalty) != (1.0, 0.0, 0.0)
