"""Errors of a chat in the words of the wire whose request became the chat."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from weightwarden.logger.sidecar.errors import ApiError, invalid
from weightwarden.logger.sidecar.wire.requests import ChatRequest
from weightwarden.sampler.validation_message import field_and_fault
from weightwarden.text import printable


@dataclass(frozen=True)
class RenamedFields:
    """Names of a wire's fields.

    Attributes:
        by_chat: name of the wire's field, by the name of the chat's field. What lies below such a field has no
            counterpart in the wire. A field that is missing here is the same in both.
    """

    by_chat: Mapping[str, str]

    def chat_request(self, given: dict[str, Any]) -> ChatRequest:
        """The chat request with these fields.

        Raises:
            ApiError: a field is invalid; the error names the wire's field.
        """
        try:
            return ChatRequest.model_validate(given)
        except ValidationError as error:
            field, what = field_and_fault(error)
            wires = field and printable(self._renamed(field))
            raise invalid(f"{wires}: {what}" if wires else what, wires) from None
        except ApiError as error:
            raise self.error(error) from None

    def error(self, error: ApiError) -> ApiError:
        """An error about a chat, with the wire's field in place of the chat's, in its message too."""
        if error.param is None or (name := self._renamed(error.param)) == error.param:
            return error
        message = error.message.replace(error.param, name) if error.param.isidentifier() else error.message
        return ApiError(error.status, error.kind, message, name, error.reason, error.code)

    def _renamed(self, field: str) -> str:
        return self.by_chat.get(field.partition(".")[0], field)
