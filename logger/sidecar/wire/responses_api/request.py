"""The body of /v1/responses, strictly parsed, and the chat that it asks for."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import Field, JsonValue, Tag, model_validator

from weightwarden.logger.sidecar.wire.effectless_fields import unread
from weightwarden.logger.sidecar.wire.refused_fields import Refused, without_nulls, without_refused
from weightwarden.logger.sidecar.wire.renamed_fields import RenamedFields
from weightwarden.logger.sidecar.wire.requests import MAX_MESSAGES, ChatRequest, GenerationRequest
from weightwarden.logger.sidecar.wire.responses_api.conversation import chat_messages
from weightwarden.logger.sidecar.wire.responses_api.form import ResponsesForm
from weightwarden.logger.sidecar.wire.responses_api.items import InputItem
from weightwarden.logger.sidecar.wire.responses_api.tools import TextOptions, Tool, ToolChoice
from weightwarden.logger.sidecar.wire.strict_fields import Few, Integer, Strict
from weightwarden.logger.sidecar.wire.tagged_unions import TEXT_OR_LIST
from weightwarden.logger.sidecar.wire.tools import MAX_TOOLS
from weightwarden.logger.sidecar.wire.vllm_fields import VllmFields

_NOTHING_KEPT = "no response is kept"
_REFUSED: Mapping[str, Refused] = {
    "previous_response_id": Refused(f"{_NOTHING_KEPT}; send the earlier items in `input`"),
    "conversation": Refused(f"{_NOTHING_KEPT}; send the earlier items in `input`"),
    "store": Refused(f"{_NOTHING_KEPT}; send false", (False,)),
    "background": Refused(f"{_NOTHING_KEPT}; the answer is in the response", (False,)),
    "background_options": Refused(f"{_NOTHING_KEPT}; the answer is in the response", ({},)),
    "prompt": Refused("no prompt is kept; send its text in `instructions`"),
    "context_management": Refused("an input is used whole, or refused", ([],)),
    "truncation": Refused("an input is used whole, or refused", ("disabled",)),
    "top_logprobs": Refused("log-probabilities are the server's, and could carry anything", (0,)),
    "moderation": Refused("only the model answers"),
    "image": Refused("only text is served", ({},)),
}
_IN_CHAT: Mapping[str, str] = {
    "messages": "input",
    "tools": "tools",
    "tool_choice": "tool_choice",
    "max_tokens": "max_output_tokens",
    "max_completion_tokens": "max_output_tokens",
    "response_format": "text.format",
    "reasoning_effort": "reasoning.effort",
}
RESPONSES_FIELDS = RenamedFields(_IN_CHAT)
"""The fields of a Responses request, by those of the chat that it asks for."""

Include = Literal[
    "code_interpreter_call.outputs",
    "computer_call_output.output.image_url",
    "file_search_call.results",
    "message.input_image.image_url",
    "reasoning.encrypted_content",
    "web_search_call.action.sources",
    "web_search_call.results",
]
"""What a client may ask to be included. All but the reasoning is about tools that are not served, and the reasoning is
in the answer as it is: it needs no encrypted copy."""


Input = Annotated[
    Annotated[str, Tag("<text>")]
    | Annotated[Few[InputItem], Field(min_length=1, max_length=MAX_MESSAGES), Tag("<list>")],
    TEXT_OR_LIST,
]


class ReasoningOptions(Strict):
    """Options of the reasoning."""

    effort: str | None = None
    summary: JsonValue = unread()
    generate_summary: JsonValue = unread()
    context: JsonValue = unread()
    mode: JsonValue = unread()


class ResponsesStreamOptions(Strict):
    """Options of a stream."""

    include_obfuscation: bool | None = unread()


class ResponsesRequest(VllmFields):
    """The body of /v1/responses."""

    model: Annotated[str, Field(min_length=1, max_length=256)]
    input: Input
    instructions: str | None = None
    stream: bool | None = None
    stream_options: ResponsesStreamOptions | None = None
    max_output_tokens: Annotated[Integer, Field(ge=1, lt=2**31)] | None = None
    temperature: float | None = None
    top_p: float | None = None
    tools: Annotated[Few[Tool], Field(max_length=MAX_TOOLS)] | None = None
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    text: TextOptions | None = None
    reasoning: ReasoningOptions | None = None
    metadata: Annotated[dict[str, str], Field(max_length=16)] | None = Field(
        default=None, description="Repeated in the response."
    )
    include: Few[Include] | None = Field(default=None, description="Without effect.")
    max_tool_calls: JsonValue = unread()
    user: JsonValue = unread()
    service_tier: JsonValue = unread()
    safety_identifier: JsonValue = unread()
    prompt_cache_key: JsonValue = unread()
    prompt_cache_options: JsonValue = unread()
    prompt_cache_retention: JsonValue = unread()
    access_programs: JsonValue = unread()

    @model_validator(mode="before")
    @classmethod
    def _drop_refused(cls, value: Any) -> Any:
        return without_refused(value, _REFUSED)

    def chat(self) -> ChatRequest:
        """The chat that this request asks for.

        Raises:
            ApiError: a field's value is invalid; the error names the field of this request.
        """
        given = {
            **self.as_in_a_chat(),
            "model": self.model,
            "messages": chat_messages(self.instructions, self.input),
            "stream": self.stream,
            "max_completion_tokens": self.max_output_tokens,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "tools": None if self.tools is None else [tool.chat() for tool in self.tools],
            "tool_choice": _chat_choice(self.tool_choice),
            "parallel_tool_calls": self.parallel_tool_calls,
            "response_format": None if self.text is None else self.text.chat(),
            "reasoning_effort": None if self.reasoning is None else self.reasoning.effort,
        }
        return RESPONSES_FIELDS.chat_request(without_nulls(given))

    def answered_in_its_form(self, asked: GenerationRequest) -> GenerationRequest:
        """The interpreted chat, whose answer takes the form of a response."""
        settings = self._repeated(asked.sampling.temperature, asked.sampling.top_p)
        return replace(asked, form=partial(ResponsesForm, settings=settings))

    def _repeated(self, temperature: float, top_p: float) -> dict[str, Any]:
        """The fields of the response that repeat this request."""
        text, reasoning = self.text or TextOptions(), self.reasoning or ReasoningOptions()
        choice = self.tool_choice or "auto"
        return {
            "background": False,
            "instructions": self.instructions,
            "max_output_tokens": self.max_output_tokens,
            "max_tool_calls": None,
            "metadata": self.metadata or {},
            "parallel_tool_calls": self.parallel_tool_calls is not False,
            "previous_response_id": None,
            "reasoning": {"effort": reasoning.effort, "summary": None},
            "service_tier": "default",
            "store": False,
            "temperature": temperature,
            "text": {"format": text.repeated(), "verbosity": "medium"},
            "tool_choice": choice if isinstance(choice, str) else choice.model_dump(),
            "tools": [tool.repeated() for tool in self.tools or []],
            "top_logprobs": 0,
            "top_p": top_p,
            "truncation": "disabled",
        }


def _chat_choice(choice: ToolChoice | None) -> Any:
    if choice is None or isinstance(choice, str):
        return choice
    return {"type": "function", "function": {"name": choice.name}}
