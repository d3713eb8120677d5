"""Input items of a Responses request, strictly parsed."""

from typing import Annotated, Any, Literal

from pydantic import Field, JsonValue, Tag, model_validator
from pydantic_core import PydanticCustomError

from weightwarden.logger.sidecar.wire.effectless_fields import unread
from weightwarden.logger.sidecar.wire.strict_fields import Few, Strict
from weightwarden.logger.sidecar.wire.tagged_unions import TextOrFew, by_type, only

Name = Annotated[str, Field(min_length=1, max_length=256)]
Status = Literal["in_progress", "completed", "incomplete"]


class InputText(Strict):
    """A text of the client's."""

    type: Literal["input_text", "text"]
    text: str
    prompt_cache_breakpoint: JsonValue = unread()


class OutputText(Strict):
    """A text of an earlier answer."""

    type: Literal["output_text"]
    text: str
    annotations: JsonValue = unread()
    logprobs: JsonValue = unread()
    parsed: JsonValue = unread()


class Refusal(Strict):
    """A refusal in an earlier answer."""

    type: Literal["refusal"]
    refusal: str


ContentPart = Annotated[
    Annotated[InputText, Tag("<input_text>")]
    | Annotated[InputText, Tag("<text>")]
    | Annotated[OutputText, Tag("<output_text>")]
    | Annotated[Refusal, Tag("<refusal>")],
    by_type(),
    only(("input_text", "text", "output_text", "refusal")),
]


class InputMessage(Strict):
    """A message."""

    type: Literal["message"] = "message"
    role: Literal["user", "assistant", "system", "developer"]
    content: TextOrFew[ContentPart]
    id: JsonValue = unread()
    status: Status | None = None
    phase: JsonValue = unread()


class FunctionCall(Strict):
    """A tool call of an earlier answer. `arguments` is JSON text."""

    type: Literal["function_call"]
    call_id: Name
    name: Name
    arguments: str
    id: JsonValue = unread()
    status: Status | None = None
    caller: JsonValue = unread()
    parsed_arguments: JsonValue = unread()


class FunctionCallOutput(Strict):
    """The result of a tool call."""

    type: Literal["function_call_output"]
    call_id: Name
    output: TextOrFew[ContentPart]
    id: JsonValue = unread()
    name: JsonValue = unread()
    status: Status | None = None
    caller: JsonValue = unread()


class SummaryText(Strict):
    """A part of a summary of earlier reasoning."""

    type: Literal["summary_text"]
    text: str


class ReasoningText(Strict):
    """A part of earlier reasoning."""

    type: Literal["reasoning_text"]
    text: str


class ReasoningItem(Strict):
    """The reasoning of an earlier answer. Its content is used, and without content its summary."""

    type: Literal["reasoning"]
    summary: Few[SummaryText] = []
    content: Few[ReasoningText] | None = None
    id: JsonValue = unread()
    status: Status | None = None

    @model_validator(mode="before")
    @classmethod
    def _readable(cls, value: Any) -> Any:
        if isinstance(value, dict) and value.get("encrypted_content") is not None and not value.get("content"):
            what = {"at": "encrypted_content", "what": "nothing here can read it; send the reasoning's content"}
            raise PydanticCustomError("encrypted", "{what}", what)
        return _without(value, "encrypted_content")


def _without(value: Any, field: str) -> Any:
    return {key: item for key, item in value.items() if key != field} if isinstance(value, dict) else value


InputItem = Annotated[
    Annotated[InputMessage, Tag("<message>")]
    | Annotated[FunctionCall, Tag("<function_call>")]
    | Annotated[FunctionCallOutput, Tag("<function_call_output>")]
    | Annotated[ReasoningItem, Tag("<reasoning>")],
    by_type("message"),
    only(("message", "function_call", "function_call_output", "reasoning"), "message"),
]
