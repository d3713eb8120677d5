"""Requests in the clients' form (OpenAI's API with vLLM's additions), strictly parsed.

Each field is used, or known to have no effect on the answer, or refused. An unknown field could change how tokens are
drawn, and the answer could then not be replayed.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, cast

from pydantic import BeforeValidator, Field, JsonValue, ValidationError, model_validator
from pydantic.config import JsonDict
from pydantic_core import PydanticCustomError

from weightwarden.logger.record import Grammar, Reasoning
from weightwarden.logger.sidecar.errors import invalid
from weightwarden.logger.sidecar.reading.parts import AnswerReader, CallBegin
from weightwarden.logger.sidecar.wire.answer_form import AnswerForm, Head
from weightwarden.logger.sidecar.wire.lean_json import read_object
from weightwarden.logger.sidecar.wire.messages import Message
from weightwarden.logger.sidecar.wire.neutral_fields import NEUTRAL, asks_for_nothing
from weightwarden.logger.sidecar.wire.openai_forms import StreamUsage
from weightwarden.logger.sidecar.wire.strict_fields import Few, Strict, one_of
from weightwarden.sampler.params import NonEmptyString, SamplingParams, TokenId
from weightwarden.sampler.validation_message import field_and_fault
from weightwarden.text import printable

MAX_STOPS = 16
MAX_STOP_CHARACTERS = 512
MAX_TEMPERATURE = 2.0
MIN_REPETITION_PENALTY, MAX_REPETITION_PENALTY = 0.5, 2.0
"""Range of the repetition penalty. It scales logits, and so their noise on an honest server, here by at most 2."""
MAX_MESSAGES = 10_000
MAX_STOP_IDS, MAX_IDS = 128, 1024
"""vLLM's limits for stop ids (end-of-sequence tokens included) and for other ids (docs/sampling.md, section 6.1)."""

_NO_EFFECT_SCHEMA: JsonDict = {"description": "Accepted, and without effect."}


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _not_too_many(value: Any) -> Any:
    if isinstance(value, dict) and len(value) > MAX_IDS:
        raise PydanticCustomError("too_many", "more than {most} entries", {"most": MAX_IDS})
    return value


StopString = Annotated[NonEmptyString, Field(max_length=MAX_STOP_CHARACTERS, pattern="^[^\ufffd]*$")]
Bias = Annotated[float, Field(ge=-100, le=100)]


class StreamOptions(Strict):
    """Options for the end of a stream."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = Field(default=None, description="Accepted, and without effect.")
    continuous_usage_stats: bool | None = None

    @property
    def usage(self) -> StreamUsage:
        """The usage that the client wants. As in vLLM, usage in every event goes with usage at the end."""
        at_end = bool(self.include_usage)
        return StreamUsage(at_end=at_end, always=at_end and bool(self.continuous_usage_stats))


class Request(Strict):
    """Fields that both endpoints share. A sampling parameter that is null has the sidecar's default."""

    model: Annotated[str, Field(min_length=1, max_length=256)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: Annotated[int, Field(ge=1)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    temperature: Annotated[float, Field(ge=0, le=MAX_TEMPERATURE)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=-1, lt=2**31)] | None = None
    min_p: Annotated[float, Field(ge=0, le=1)] | None = None
    repetition_penalty: Annotated[float, Field(ge=MIN_REPETITION_PENALTY, le=MAX_REPETITION_PENALTY)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    min_tokens: Annotated[int, Field(ge=0, lt=2**31)] | None = None
    max_tokens: Annotated[int, Field(ge=1, lt=2**31)] | None = None
    stop: Annotated[Few[StopString], Field(max_length=MAX_STOPS), BeforeValidator(_as_list)] | None = None
    stop_token_ids: Annotated[Few[TokenId], Field(max_length=MAX_STOP_IDS)] | None = None
    ignore_eos: bool | None = None
    logit_bias: Annotated[dict[str, Bias], Field(max_length=MAX_IDS), BeforeValidator(_not_too_many)] | None = None
    allowed_token_ids: Annotated[Few[TokenId], Field(min_length=1, max_length=MAX_IDS)] | None = None
    include_stop_str_in_output: bool | None = None
    skip_special_tokens: bool | None = None
    user: JsonValue = Field(default=None, json_schema_extra=_NO_EFFECT_SCHEMA)
    metadata: JsonValue = Field(default=None, json_schema_extra=_NO_EFFECT_SCHEMA)
    service_tier: JsonValue = Field(default=None, json_schema_extra=_NO_EFFECT_SCHEMA)
    safety_identifier: JsonValue = Field(default=None, json_schema_extra=_NO_EFFECT_SCHEMA)
    prompt_cache_key: JsonValue = Field(default=None, json_schema_extra=_NO_EFFECT_SCHEMA)
    prompt_cache_options: JsonValue = Field(default=None, json_schema_extra=_NO_EFFECT_SCHEMA)
    prompt_cache_retention: JsonValue = Field(default=None, json_schema_extra=_NO_EFFECT_SCHEMA)

    @model_validator(mode="before")
    @classmethod
    def _drop_neutral(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        for field in NEUTRAL:
            if field in value and not asks_for_nothing(field, value[field]):
                raise invalid(f"{field} is not served: what it asks for could not be replayed", field)
        return {key: item for key, item in value.items() if key not in NEUTRAL}

    def sampling(self, defaults: Mapping[str, Any], max_tokens: int) -> SamplingParams:
        """The effective sampling parameters: the request's, else the sidecar's defaults, else neutral values.

        Raises:
            ApiError: a parameter is invalid.
        """
        said = {name: value for name in _SAMPLING_FIELDS if (value := getattr(self, name)) is not None}
        try:
            return SamplingParams.model_validate({**defaults, **said, "max_tokens": max_tokens})
        except ValidationError as error:
            field, what = field_and_fault(error)
            raise invalid(f"{field}: {what}", field) from None


_SAMPLING_FIELDS = tuple(name for name in SamplingParams.model_fields if name in Request.model_fields)


class ChatRequest(Request):
    """The body of /v1/chat/completions."""

    messages: Annotated[Few[Message], Field(min_length=1, max_length=MAX_MESSAGES)]
    max_completion_tokens: Annotated[int, Field(ge=1, lt=2**31)] | None = None
    add_generation_prompt: bool | None = None
    continue_final_message: bool | None = None
    add_special_tokens: bool | None = None
    chat_template_kwargs: dict[str, JsonValue] | None = None


class CompletionRequest(Request):
    """The body of /v1/completions."""

    prompt: Annotated[
        str | Few[str] | Few[TokenId] | Few[Few[TokenId]],
        one_of("a text, a list of texts, a list of token ids, or a list of such lists"),
    ]
    add_special_tokens: bool | None = None

    def prompts(self) -> list[str] | list[list[int]]:
        """The prompts, one or many, as texts or token ids."""
        if isinstance(self.prompt, str):
            return [self.prompt]
        if self.prompt and isinstance(self.prompt[0], int):
            return [self.prompt]
        return cast("list[str] | list[list[int]]", self.prompt)


def openai_call_id(digits: str, begin: CallBegin) -> str:
    """The id of a tool call in OpenAI's form, or the one that the model wrote."""
    return begin.own_id or f"call_{digits}"


@dataclass(frozen=True, kw_only=True)
class GenerationRequest:
    """An interpreted request.

    Attributes:
        prompts: token ids of each prompt.
        sampling: sampling parameters of every choice.
        choices: number n of choices of each prompt.
        seed: the client's seed, or None.
        stream: True if the response is streamed.
        form: maker of the form of the response.
        reader: maker of the reader of a choice's text, or None where all of it is content.
        call_id: id of a tool call, from the digits that the sidecar issues and the call's beginning.
        grammar: grammar that constrains every choice, or None.
        reasoning: reasoning with which a choice may begin, if its stop strings or its budget depend on it, else None.
    """

    prompts: list[list[int]]
    sampling: SamplingParams
    choices: int
    seed: int | None
    stream: bool
    form: Callable[[Head], AnswerForm]
    reader: Callable[[], AnswerReader] | None = None
    call_id: Callable[[str, CallBegin], str] = openai_call_id
    grammar: Grammar | None = None
    reasoning: Reasoning | None = None


def parse(kind: type[Request], body: bytes) -> Any:
    """The request in a body.

    Raises:
        ApiError: the body is not JSON, or not a valid request; the message names the field.
    """
    try:
        value = read_object(body, _without_effect(kind))
    except (ValueError, RecursionError):
        raise invalid("the body is not JSON") from None
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        field, what = field_and_fault(error)
        if what == "unknown field":
            what = "not served: what is not known here could change how tokens are drawn"
        raise invalid(f"{printable(field)}: {what}" if field else what, field and printable(field)) from None


@cache
def _without_effect(kind: type[Request]) -> frozenset[str]:
    """The fields that are accepted and ignored."""
    fields = kind.model_fields.items()
    return frozenset(name for name, field in fields if field.json_schema_extra == _NO_EFFECT_SCHEMA)
