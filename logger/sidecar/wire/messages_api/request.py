"""The bodies of /v1/messages and /v1/messages/count_tokens, strictly parsed, and the chats that they ask for."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal, Self

from pydantic import Field, JsonValue, Tag, model_validator
from pydantic_core import PydanticCustomError

from weightwarden.logger.sidecar.wire.effectless_fields import unread
from weightwarden.logger.sidecar.wire.messages_api.blocks import AssistantMessage, Message, System, ToolUseBlock
from weightwarden.logger.sidecar.wire.messages_api.conversation import chat_messages
from weightwarden.logger.sidecar.wire.messages_api.form import MessagesForm, call_id
from weightwarden.logger.sidecar.wire.messages_api.tools import Tool, ToolChoice
from weightwarden.logger.sidecar.wire.refused_fields import Refused, without_nulls, without_refused
from weightwarden.logger.sidecar.wire.renamed_fields import RenamedFields
from weightwarden.logger.sidecar.wire.requests import (
    MAX_MESSAGES,
    ChatRequest,
    GenerationRequest,
    StopString,
    openai_call_id,
)
from weightwarden.logger.sidecar.wire.strict_fields import Few, Integer, Strict
from weightwarden.logger.sidecar.wire.tagged_unions import by_type, only
from weightwarden.logger.sidecar.wire.tools import MAX_TOOLS
from weightwarden.logger.sidecar.wire.vllm_fields import VllmFields

MIN_BUDGET = 1024
"""Smallest `budget_tokens`, as in Anthropic's API."""
_REFUSED: Mapping[str, Refused] = {
    "container": Refused("no code is run here"),
    "mcp_servers": Refused("no server is called from here", ([],)),
    "context_management": Refused(
        "messages are used whole, or refused",
        ({}, {"edits": []}, {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]}),
    ),
}
_IN_CHAT: Mapping[str, str] = {
    "messages": "messages",
    "tools": "tools",
    "tool_choice": "tool_choice",
    "max_completion_tokens": "max_tokens",
    "stop": "stop_sequences",
    "response_format": "output_config.format",
    "reasoning_effort": "output_config.effort",
    "thinking_token_budget": "thinking.budget_tokens",
    "parallel_tool_calls": "tool_choice.disable_parallel_tool_use",
}
MESSAGES_FIELDS = RenamedFields(_IN_CHAT)
"""The fields of a Messages request, by those of the chat that it asks for."""


class ThinkingEnabled(Strict):
    """Reasoning of at most so many tokens."""

    type: Literal["enabled"]
    budget_tokens: Annotated[Integer, Field(ge=MIN_BUDGET, lt=2**31)]
    display: JsonValue = unread()


class ThinkingOption(Strict):
    """No reasoning, or as much as the model wants."""

    type: Literal["disabled", "adaptive"]
    display: JsonValue = unread()


Thinking = Annotated[
    Annotated[ThinkingEnabled, Tag("<enabled>")]
    | Annotated[ThinkingOption, Tag("<disabled>")]
    | Annotated[ThinkingOption, Tag("<adaptive>")],
    by_type(),
    only(("enabled", "disabled", "adaptive")),
]


class OutputFormat(Strict):
    """JSON of a schema."""

    type: Literal["json_schema"]
    json_schema: dict[str, JsonValue] = Field(alias="schema")


class OutputConfig(Strict):
    """Options of the answer."""

    effort: str | None = None
    format: Annotated[OutputFormat, only(("json_schema",))] | None = None


class CountTokensRequest(VllmFields):
    """The body of /v1/messages/count_tokens."""

    model: Annotated[str, Field(min_length=1, max_length=256)]
    messages: Annotated[Few[Message], Field(min_length=1, max_length=MAX_MESSAGES)]
    system: System | None = None
    tools: Annotated[Few[Tool], Field(max_length=MAX_TOOLS)] | None = None
    tool_choice: ToolChoice | None = None
    thinking: Thinking | None = None
    output_config: OutputConfig | None = None
    cache_control: JsonValue = unread()
    speed: JsonValue = unread()

    @model_validator(mode="before")
    @classmethod
    def _drop_refused(cls, value: Any) -> Any:
        return without_refused(value, _REFUSED)

    @model_validator(mode="after")
    def _last_calls_no_tools(self) -> Self:
        last = self.messages[-1]
        if isinstance(last, AssistantMessage) and any(isinstance(block, ToolUseBlock) for block in last.content):
            raise PydanticCustomError("calls", "the last one calls tools, whose results are wanted", {"at": "messages"})
        return self

    def chat(self) -> ChatRequest:
        """The chat that this request asks for.

        Raises:
            ApiError: a field's value is invalid; the error names the field of this request.
        """
        return MESSAGES_FIELDS.chat_request(self._chat_fields())

    def _chat_fields(self) -> dict[str, Any]:
        output, choice = self.output_config or OutputConfig(), self.tool_choice
        serial = choice is not None and choice.disable_parallel_tool_use
        given = {
            **self.as_in_a_chat(),
            "model": self.model,
            "messages": chat_messages(self.system, self.messages),
            "tools": None if self.tools is None else [tool.chat() for tool in self.tools],
            "tool_choice": None if choice is None else choice.chat(),
            "parallel_tool_calls": False if serial else None,
            "response_format": None if output.format is None else _chat_format(output.format),
            "reasoning_effort": output.effort,
            **self._chat_thinking(),
        }
        if self.messages[-1].role == "assistant":  # the answer goes on from this text
            given |= {"continue_final_message": True, "add_generation_prompt": False}
        return without_nulls(given)

    def _chat_thinking(self) -> dict[str, Any]:
        match self.thinking:
            case ThinkingEnabled(budget_tokens=budget):
                variables = {} if self.chat_template_kwargs is None else self.chat_template_kwargs
                if isinstance(variables, dict):  # else the chat refuses it
                    variables = {"enable_thinking": True, **variables}
                return {"thinking_token_budget": budget, "chat_template_kwargs": variables}
            case ThinkingOption(type="disabled"):
                return {"reasoning_effort": "none"}
        return {}


class MessagesRequest(CountTokensRequest):
    """The body of /v1/messages."""

    max_tokens: Annotated[Integer, Field(ge=1, lt=2**31)]
    stream: bool | None = None
    stop_sequences: Few[StopString] | None = None
    temperature: Annotated[float, Field(ge=0, le=1)] | None = None
    top_p: float | None = None
    metadata: JsonValue = unread()
    service_tier: JsonValue = unread()
    inference_geo: JsonValue = unread()
    diagnostics: JsonValue = unread()

    @model_validator(mode="after")
    def _budget_leaves_an_answer(self) -> Self:
        if isinstance(self.thinking, ThinkingEnabled) and self.thinking.budget_tokens >= self.max_tokens:
            what = {"at": "thinking.budget_tokens"}
            raise PydanticCustomError("budget", "not below max_tokens, so that no answer would be left", what)
        return self

    def _chat_fields(self) -> dict[str, Any]:
        given = {
            "max_tokens": self.max_tokens,
            "stream": self.stream,
            "stop": self.stop_sequences,
            "temperature": self.temperature,
            "top_p": self.top_p,
        }
        return {**super()._chat_fields(), **without_nulls(given)}

    def answered_in_its_form(self, asked: GenerationRequest) -> GenerationRequest:
        """The interpreted chat, whose answer takes the form of a message. Ids in the model's own form stay."""
        ids = call_id if asked.call_id is openai_call_id else asked.call_id
        return replace(asked, form=MessagesForm, call_id=ids)


def _chat_format(wanted: OutputFormat) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "output", "schema": wanted.json_schema}}
