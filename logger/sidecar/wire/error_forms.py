"""Errors in the form of each wire: OpenAI's, and Anthropic's below /v1/messages."""

import json

from weightwarden.logger.sidecar.errors import ApiError

MESSAGES = "/v1/messages"
_ANTHROPIC_KINDS = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
}
"""Anthropic's types of errors by status. Others below 500 are `invalid_request_error`, others above `api_error`."""


def error_body(path: str, error: ApiError) -> dict[str, object]:
    """The JSON of an error on a path, in the form that clients of the path expect."""
    if path != MESSAGES and not path.startswith(f"{MESSAGES}/"):
        return error.body
    other = "invalid_request_error" if error.status < 500 else "api_error"
    kind = _ANTHROPIC_KINDS.get(error.status, other)
    return {"type": "error", "error": {"type": kind, "message": error.message}}


def refusal_body(path: str, status: int, words: str) -> bytes:
    """The body for a request that the HTTP parser refuses."""
    return json.dumps(error_body(path, ApiError(status, "invalid_request_error", words))).encode()
