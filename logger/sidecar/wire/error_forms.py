"""Errors in the form of each wire: OpenAI's, and Anthropic's below /v1/messages."""

import json
from typing import Any

from weightwarden.logger.sidecar.errors import ApiError
from weightwarden.logger.sidecar.wire.messages_api import form as messages_api

_MESSAGES = "/v1/messages"


def error_body(path: str, error: ApiError) -> dict[str, Any]:
    """The JSON of an error on a path, in the form that clients of the path expect."""
    below_messages = path == _MESSAGES or path.startswith(f"{_MESSAGES}/")
    return messages_api.error_body(error) if below_messages else error.body


def refusal_body(path: str, status: int, words: str) -> bytes:
    """The body for a request that the HTTP parser refuses."""
    return json.dumps(error_body(path, ApiError(status, "invalid_request_error", words))).encode()
