"""Requests in the clients' form (OpenAI's API with vLLM's additions), strictly parsed.

Each known field is used, or has no effect on the answer, or is refused. No field is forwarded to the server: an unknown
one has no effect, and is ignored or refused as the operator says.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import Annotated, Any, Literal, cast

from pydantic import AfterValidator, BeforeValidator, Field, JsonValue, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from weightwarden.logger.record import MAX_TOP_LOGPROBS, Adapter, Grammar, Logprobs, Reasoning
from weightwarden.logger.sidecar.errors import invalid
from weightwarden.logger.sidecar.reading.parts import AnswerReader, CallBegin
from weightwarden.logger.sidecar.wire.answer_form import AnswerForm, Head
from weightwarden.logger.sidecar.wire.effectless_fields import NO_EFFECT_SCHEMA, EffectlessFields
from weightwarden.logger.sidecar.wire.formats import ResponseFormat, StructuredOutputs
from weightwarden.logger.sidecar.wire.lean_json import read_object
from weightwarden.logger.sidecar.wire.messages import Message
from weightwarden.logger.sidecar.wire.neutral_fields import NEUTRAL, asks_for_nothing
from weightwarden.logger.sidecar.wire.openai_forms import StreamUsage
from weightwarden.logger.sidecar.wire.strict_fields import Few, Integer, Strict, TokenIds, one_of
from weightwarden.logger.sidecar.wire.tools import MAX_TOOLS, NamedTool, Tool, only_functions
from weightwarden.sampler.params import NonEmptyString, SamplingParams
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


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _not_too_many(value: Any) -> Any:
    if isinstance(value, dict) and len(value) > MAX_IDS:
        raise PydanticCustomError("too_many", "more than {most} entries", {"most": MAX_IDS})
    return value


def _instead(successor: str, nothing: tuple[object, ...], value: JsonValue) -> JsonValue:
    """Refuse a deprecated field, unless its value asks for nothing."""
    if value is not None and value not in nothing:
        raise PydanticCustomError("deprecated", "not served: send {successor} instead", {"successor": successor})
    return value


def _no_number(value: Any) -> Any:
    """None for false, by which clients decline."""
    return None if value is False else value


def _unlimited(value: Any) -> Any:
    """None for vLLM's value without a limit."""
    return None if value == -1 and not isinstance(value, bool) else value


StopString = Annotated[NonEmptyString, Field(max_length=MAX_STOP_CHARACTERS, pattern="^[^\ufffd]*$")]
Bias = Annotated[float, Field(ge=-100, le=100)]
_Budget = Annotated[Integer, Field(ge=1, lt=2**31)]
_Top = Annotated[Integer, Field(ge=0, le=MAX_TOP_LOGPROBS)]


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


class Request(EffectlessFields):
    """Fields that both endpoints share. A sampling parameter that is null has the sidecar's default."""

    model: Annotated[str, Field(min_length=1, max_length=256)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: Annotated[Integer, Field(ge=1)] | None = None
    seed: Annotated[Integer, Field(ge=-(2**63), lt=2**63)] | None = None
    temperature: Annotated[float, Field(ge=0, le=MAX_TEMPERATURE)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    top_k: Annotated[Integer, Field(ge=-1, lt=2**31)] | None = None
    min_p: Annotated[float, Field(ge=0, le=1)] | None = None
    repetition_penalty: Annotated[float, Field(ge=MIN_REPETITION_PENALTY, le=MAX_REPETITION_PENALTY)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    min_tokens: Annotated[Integer, Field(ge=0, lt=2**31)] | None = None
    max_tokens: Annotated[Integer, Field(ge=1, lt=2**31)] | None = None
    stop: Annotated[Few[StopString], Field(max_length=MAX_STOPS), BeforeValidator(_as_list)] | None = None
    stop_token_ids: Annotated[TokenIds, Field(max_length=MAX_STOP_IDS)] | None = None
    ignore_eos: bool | None = None
    logit_bias: Annotated[dict[str, Bias], Field(max_length=MAX_IDS), BeforeValidator(_not_too_many)] | None = None
    allowed_token_ids: Annotated[TokenIds, Field(min_length=1, max_length=MAX_IDS)] | None = None
    include_stop_str_in_output: bool | None = None
    skip_special_tokens: bool | None = None
    response_format: ResponseFormat | None = None
    structured_outputs: StructuredOutputs | None = None

    @model_validator(mode="before")
    @classmethod
    def _drop_neutral(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        unserved = NEUTRAL.keys() & value.keys() - cls.model_fields.keys()
        for field in sorted(unserved):
            if not asks_for_nothing(field, value[field]):
                raise invalid(f"{field} is not served here, and the answer would be another without it", field)
        return {key: item for key, item in value.items() if key not in unserved}

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
    max_completion_tokens: Annotated[Integer, Field(ge=1, lt=2**31)] | None = None
    add_generation_prompt: bool | None = None
    continue_final_message: bool | None = None
    add_special_tokens: bool | None = None
    chat_template_kwargs: dict[str, JsonValue] | None = None
    documents: Few[dict[str, str]] | None = None
    tools: Annotated[Few[Tool], Field(max_length=MAX_TOOLS)] | None = None
    tool_choice: Annotated[
        Literal["none", "auto", "required"] | NamedTool | None,
        one_of("none, auto, required, or a function by its name"),
        BeforeValidator(only_functions),
    ] = None
    parallel_tool_calls: bool | None = None
    functions: Annotated[JsonValue, AfterValidator(partial(_instead, "tools", ([],)))] = None
    function_call: Annotated[JsonValue, AfterValidator(partial(_instead, "tool_choice", ("none", "auto")))] = None
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = None
    include_reasoning: bool | None = None
    thinking_token_budget: Annotated[_Budget | None, BeforeValidator(_unlimited)] = None
    logprobs: bool | None = None
    top_logprobs: _Top | None = None

    def wanted_logprobs(self) -> Logprobs | None:
        """The log probabilities that are asked for.

        Raises:
            ApiError: a number of tokens without `logprobs`.
        """
        if self.top_logprobs and not self.logprobs:
            raise invalid("top_logprobs is not served without logprobs", "top_logprobs")
        return Logprobs(top=self.top_logprobs or 0) if self.logprobs else None


class CompletionRequest(Request):
    """The body of /v1/completions."""

    prompt: Annotated[
        str | Few[str] | TokenIds | Few[TokenIds],
        one_of("a text, a list of texts, a list of token ids, or a list of such lists"),
    ]
    add_special_tokens: bool | None = None
    max_tokens: Annotated[Integer, Field(ge=0, lt=2**31)] | None = None
    echo: bool | None = None
    logprobs: Annotated[_Top | None, BeforeValidator(_no_number)] = None

    def wanted_logprobs(self) -> Logprobs | None:
        """The log probabilities that are asked for."""
        return None if self.logprobs is None else Logprobs(top=self.logprobs, prompt=bool(self.echo))

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
        cache_salt: salt of the server's prefix cache for this client, or None.
        adapter: low-rank adapter that answers, or None for the model alone.
        logprobs: log probabilities that are added to every choice, or None.
        echo: whether the prompt's text comes before the answer's.
        draws: whether tokens are drawn. False: only the prompt is wanted.
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
    cache_salt: str | None = None
    adapter: Adapter | None = None
    logprobs: Logprobs | None = None
    echo: bool = False
    draws: bool = True


def parse(kind: type[Strict], body: bytes, ignored: set[str] | None = None) -> Any:
    """The request in a body.

    Args:
        kind: its model.
        body: JSON.
        ignored: receives the names of unknown fields, which then have no effect; None refuses them.

    Raises:
        ApiError: the body is not JSON, or not a valid request; the message names the field.
    """
    try:
        value = read_object(body, _without_effect(kind))
    except (ValueError, RecursionError):
        raise invalid("the body is not JSON") from None
    try:
        return kind.model_validate(value, context=ignored)
    except ValidationError as error:
        field, what = field_and_fault(error)
        if what == "unknown field":
            what = "not known here, and this server refuses requests with unknown fields"
        raise invalid(f"{printable(field)}: {what}" if field else what, field and printable(field)) from None


@cache
def _without_effect(kind: type[Strict]) -> frozenset[str]:
    """The fields that are accepted and ignored."""
    fields = kind.model_fields.items()
    return frozenset(name for name, field in fields if field.json_schema_extra == NO_EFFECT_SCHEMA)
