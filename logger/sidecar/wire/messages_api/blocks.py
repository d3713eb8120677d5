"""Messages and content blocks of a Messages request, strictly parsed."""

from typing import Annotated, Literal

from pydantic import Field, JsonValue, Tag

from weightwarden.logger.sidecar.wire.effectless_fields import unread
from weightwarden.logger.sidecar.wire.strict_fields import Strict
from weightwarden.logger.sidecar.wire.tagged_unions import TextOrFew, by_type, only

Name = Annotated[str, Field(min_length=1, max_length=256)]


class TextBlock(Strict):
    """A text."""

    type: Literal["text"]
    text: str
    cache_control: JsonValue = unread()
    citations: JsonValue = unread()
    parsed_output: JsonValue = unread()


TextBlocks = Annotated[TextBlock, only(("text",))]


class ThinkingBlock(Strict):
    """The reasoning of an earlier answer."""

    type: Literal["thinking"]
    thinking: str
    signature: JsonValue = unread()
    cache_control: JsonValue = unread()


class RedactedThinkingBlock(Strict):
    """Reasoning of another server, which nothing here can read: it is left out."""

    type: Literal["redacted_thinking"]
    data: JsonValue = unread()
    cache_control: JsonValue = unread()


class ToolUseBlock(Strict):
    """A tool call of an earlier answer."""

    type: Literal["tool_use"]
    id: Name
    name: Name
    input: dict[str, JsonValue]
    cache_control: JsonValue = unread()
    caller: JsonValue = unread()


class ToolResultBlock(Strict):
    """The result of a tool call. `is_error` has no effect: the content says what went wrong."""

    type: Literal["tool_result"]
    tool_use_id: Name
    content: TextOrFew[TextBlocks] | None = None
    is_error: bool | None = unread()
    cache_control: JsonValue = unread()


UserBlock = Annotated[
    Annotated[TextBlock, Tag("<text>")] | Annotated[ToolResultBlock, Tag("<tool_result>")],
    by_type(),
    only(("text", "tool_result")),
]
AssistantBlock = Annotated[
    Annotated[TextBlock, Tag("<text>")]
    | Annotated[ThinkingBlock, Tag("<thinking>")]
    | Annotated[RedactedThinkingBlock, Tag("<redacted_thinking>")]
    | Annotated[ToolUseBlock, Tag("<tool_use>")],
    by_type(),
    only(("text", "thinking", "redacted_thinking", "tool_use")),
]


class UserMessage(Strict):
    """A message of the user, with the results of tools."""

    role: Literal["user"]
    content: TextOrFew[UserBlock]


class AssistantMessage(Strict):
    """An earlier answer, or the beginning of this one."""

    role: Literal["assistant"]
    content: TextOrFew[AssistantBlock]


class SystemMessage(Strict):
    """An instruction."""

    role: Literal["system"]
    content: TextOrFew[TextBlocks]


Message = Annotated[
    Annotated[UserMessage, Tag("<user>")]
    | Annotated[AssistantMessage, Tag("<assistant>")]
    | Annotated[SystemMessage, Tag("<system>")],
    by_type(field="role"),
    only(("user", "assistant", "system"), field="role"),
]
System = TextOrFew[TextBlocks]
