"""Errors returned to clients (OpenAI format), and reasons why a generation is aborted."""

from weightwarden.errors import WeightwardenError
from weightwarden.text import printable


class ApiError(WeightwardenError):
    """An error that the client is told, in the form of OpenAI's API.

    Attributes:
        status: HTTP status.
        kind: the error's type, one of a fixed few.
        param: the request's field at fault, or None.
        code: OpenAI's code of the error, or None.
        reason: cause for the operator's log, one of a fixed few words.
    """

    def __init__(
        self,
        status: int,
        kind: str,
        message: str,
        param: str | None = None,
        reason: str | None = None,
        code: str | None = None,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.status, self.kind, self.message, self.param, self.code = status, kind, message, param, code

    @property
    def body(self) -> dict[str, object]:
        return {"error": {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}}


_RETRY_SECONDS = {429: 1, 503: 5}
"""Seconds after which a client may try again, by status. They are constants: the server has no part in them."""


def error_headers(status: int) -> list[tuple[bytes, bytes]]:
    """The headers of an error of a status, beside those of its body: when to try again, and how to authenticate."""
    if status in _RETRY_SECONDS:
        return [(b"retry-after", b"%d" % _RETRY_SECONDS[status])]
    return [(b"www-authenticate", b"Bearer")] if status == 401 else []


def invalid(message: str, param: str | None = None) -> ApiError:
    """The error for a request that cannot be served as it is (status 400)."""
    return ApiError(400, "invalid_request_error", message, param)


def no_such_model(asked: str, served: str) -> ApiError:
    """The error for a request of a model that is not served, in OpenAI's words for its code."""
    message = f"there is no model {printable(asked)} here; this server serves {printable(served)}"
    return ApiError(404, "not_found_error", message, "model", code="model_not_found")


def upstream_failed(reason: str) -> ApiError:
    """The error for a failure of the inference server: a fixed message, never text of the server."""
    return ApiError(502, "upstream_error", "the inference server failed", reason=reason)


def logprobs_failed(reason: str) -> ApiError:
    """The error for a failure of the trusted server of log probabilities: a fixed message, never text of the server."""
    message = "the server of log probabilities failed; try again, or without log probabilities"
    return ApiError(503, "logprobs_unavailable", message, reason=f"logprobs: {reason}")


def log_unavailable() -> ApiError:
    """The error while the log cannot be written: an answer that cannot be logged is not served."""
    return ApiError(503, "log_unavailable", "the log cannot be written; nothing is served")


def stopping() -> ApiError:
    """The error while the sidecar stops."""
    return ApiError(503, "unavailable", "the service is stopping")


def busy() -> ApiError:
    """The error when the largest number of choices is under way."""
    return ApiError(429, "rate_limit_error", "too many requests are under way; try again")


class UpstreamError(WeightwardenError):
    """A failure of the inference server. `reason` is one of a few fixed words, never the server's text."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class UpstreamRefusal(UpstreamError):
    """A request that the inference server refused before its first token. `status` is an HTTP status, 400 to 499."""

    def __init__(self, status: int) -> None:
        super().__init__(f"status {status}")
        self.status = status


class SettingsError(WeightwardenError, ValueError):
    """An invalid setting, which the message names."""


class GateLost(WeightwardenError):
    """The end of the gate's process while the sidecar served: no client can be answered any more."""
