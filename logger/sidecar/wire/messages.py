"""Messages of a chat in the clients' form: text only, and no tool calls."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, JsonValue, model_validator
from pydantic_core import PydanticCustomError

from weightwarden.logger.sidecar.prompts.conversation import TEXT_OF_PART
from weightwarden.logger.sidecar.wire.strict_fields import Few, Strict, one_of

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
    tool_calls: Annotated[Few[JsonValue], Field(max_length=0)] | None = None
    tools: Annotated[Few[JsonValue], Field(max_length=0)] | None = None
    refusal: str | None = Field(default=None, description="Accepted, and without effect.")
    annotations: JsonValue = Field(default=None, description="Accepted, and without effect.")

    @model_validator(mode="before")
    @classmethod
    def _calls_no_tools(cls, value: Any) -> Any:
        for field in ("tool_calls", "tools"):
            if isinstance(value, dict) and value.get(field):
                raise PydanticCustomError("tools", "{field} is not served", {"field": field})
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
        return self.model_dump(exclude_unset=True)
