"""Requests in the bodies of every wire form, as generation requests."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from weightwarden.logger.sidecar.errors import ApiError
from weightwarden.logger.sidecar.ignored_fields import IgnoredFields
from weightwarden.logger.sidecar.interpretation import RequestInterpreter
from weightwarden.logger.sidecar.wire.messages_api.request import (
    MESSAGES_FIELDS,
    CountTokensRequest,
    MessagesRequest,
)
from weightwarden.logger.sidecar.wire.renamed_fields import RenamedFields
from weightwarden.logger.sidecar.wire.requests import ChatRequest, CompletionRequest, GenerationRequest, parse
from weightwarden.logger.sidecar.wire.responses_api.request import RESPONSES_FIELDS, ResponsesRequest

INLINE_BYTES = 65_536
"""Largest body that is parsed on the event loop. Larger ones go to another thread, so that no token of others waits."""


@dataclass(frozen=True)
class Bodies:
    """Reader of bodies. Each method raises an ApiError that names the field of its own wire.

    Attributes:
        interpreter: turns requests into token ids and sampling parameters.
        ignored_fields: report of unknown fields, which have no effect; None: requests with any are refused.
    """

    interpreter: RequestInterpreter
    ignored_fields: IgnoredFields | None

    async def chat(self, body: bytes) -> GenerationRequest:
        """The request of a body of /v1/chat/completions."""
        return await self.interpreter.of_chat(await self._read(partial(parse, ChatRequest), body))

    async def completion(self, body: bytes) -> GenerationRequest:
        """The request of a body of /v1/completions."""
        return await self.interpreter.of_completion(await self._read(partial(parse, CompletionRequest), body))

    async def response(self, body: bytes) -> GenerationRequest:
        """The request of a body of /v1/responses."""
        request, chat = await self._read(partial(_with_chat, ResponsesRequest), body)
        asked: GenerationRequest = request.answered_in_its_form(await self._of_chat(RESPONSES_FIELDS, chat))
        return asked

    async def message(self, body: bytes) -> GenerationRequest:
        """The request of a body of /v1/messages."""
        request, chat = await self._read(partial(_with_chat, MessagesRequest), body)
        asked: GenerationRequest = request.answered_in_its_form(await self._of_chat(MESSAGES_FIELDS, chat))
        return asked

    async def message_tokens(self, body: bytes) -> int:
        """The number of prompt tokens of a body of /v1/messages/count_tokens."""
        _, chat = await self._read(partial(_with_chat, CountTokensRequest), body)
        asked = await self._of_chat(MESSAGES_FIELDS, chat)
        return sum(map(len, asked.prompts))

    async def _read(self, read: Callable[[bytes, set[str] | None], Any], body: bytes) -> Any:
        ignored: set[str] | None = None if self.ignored_fields is None else set()
        work = partial(read, body, ignored)
        request = work() if len(body) <= INLINE_BYTES else await self.interpreter.workers.run(work)
        if self.ignored_fields is not None and ignored:
            self.ignored_fields.report(ignored)
        return request

    async def _of_chat(self, fields: RenamedFields, request: ChatRequest) -> GenerationRequest:
        """The interpretation of a chat, whose errors name the fields of another wire."""
        try:
            return await self.interpreter.of_chat(request)
        except ApiError as error:
            raise fields.error(error) from None


def _with_chat(
    kind: type[ResponsesRequest | CountTokensRequest], body: bytes, ignored: set[str] | None
) -> tuple[Any, ChatRequest]:
    """The request in a body of another wire, and the chat that it asks for."""
    request = parse(kind, body, ignored)
    return request, request.chat()
