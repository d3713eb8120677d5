"""Messages of a chat in the clients' form: text, calls of tools and their results."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, JsonValue, model_validator
from pydantic_core import PydanticCustomError

from weightwarden.logger.sidecar.prompts.conversation import TEXT_OF_PART
from weightwarden.logger.sidecar.wire.strict_fields import Few, Strict, one_of
from weightwarden.logger.sidecar.wire.tools import MAX_CALLS, ToolCall

_MAY_BE_NULL = ("assistant", "function")
"""Roles whose content may be null."""


class Part(Strict):
    """A part of a message's content. Only text is served."""

    type: Literal["text", "input_text", "output_text", "refusal", "thinking"]
    text: str | None = None
    refusal: str | None = None
    thinking: str | None = None
    closed: bool | None = Field(default=None, description="Accepted, and without effect.")
    cache_control: JsonValue = Field(default=None, description="Passed to templates that take parts.")
    annotations: JsonValue = Field(default=None, description="Accepted, and without effect.")
    logprobs: JsonValue = Field(default=None, description="Accepted, and without effect.")

    @model_validator(mode="after")
    def _has_its_own_text(self) -> Self:
        field = TEXT_OF_PART[self.type]
        if getattr(self, field) is None and self.type not in ("text", "refusal"):
            raise PydanticCustomError("no_text", "{field} is missing", {"field": field})
        return self


class Message(Strict):
    """A message of a chat. Absent content is empty."""

    role: Annotated[str, Field(min_length=1, max_length=64)]
    content: Annotated[str | Few[Part] | None, one_of("a text, or a list of text parts (nothing else is served)")] = (
        None
    )
    name: Annotated[str, Field(max_length=256)] | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    tool_call_id: Annotated[str, Field(max_length=256)] | None = None
    tool_calls: Annotated[Few[ToolCall], Field(max_length=MAX_CALLS)] | None = None
    tools: Annotated[Few[JsonValue], Field(max_length=0)] | None = None
    function_call: None = None
    refusal: str | None = Field(default=None, description="Accepted, and without effect.")
    annotations: JsonValue = Field(default=None, description="Accepted, and without effect.")

    @model_validator(mode="before")
    @classmethod
    def _says_what_is_served(cls, value: Any) -> Any:
        if isinstance(value, dict):
            if value.get("tools"):
                raise PydanticCustomError("tools", "tools of a message are not served: send them as the request's")
            if value.get("function_call") is not None:
                raise PydanticCustomError("calls", "function_call is not served: send it as one of tool_calls")
            if value.get("tool_calls") and value.get("role") != "assistant":
                raise PydanticCustomError("calls", "tool_calls of a message that is not an assistant's")
        return value

    @model_validator(mode="after")
    def _has_content(self) -> Self:
        if self.content is None and "content" in self.model_fields_set and self.role not in _MAY_BE_NULL:
            raise PydanticCustomError(
                "null", "{what}", {"at": "content", "what": "null, which only an assistant's may be"}
            )
        return self

    def given(self) -> Mapping[str, Any]:
        """The fields that the client set, for templates."""
        given = self.model_dump(exclude_unset=True, exclude={"tool_calls", "function_call"})
        return {**given, "tool_calls": [call.given() for call in self.tool_calls]} if self.tool_calls else given
