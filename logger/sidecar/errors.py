"""Errors returned to clients (OpenAI format), and reasons why a generation is aborted."""

from weightwarden.errors import WeightwardenError


class ApiError(WeightwardenError):
    """A request that is refused or failed, as the client is told (the form of OpenAI's API).

    Attributes:
        status: HTTP status. kind: the error's type, one of a fixed few.
        param: the request's field, where one is to blame. reason: for the operator alone, one of a fixed few words.
    """

    def __init__(
        self, status: int, kind: str, message: str, param: str | None = None, reason: str | None = None
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.status, self.kind, self.message, self.param = status, kind, message, param

    @property
    def body(self) -> dict[str, object]:
        return {"error": {"message": self.message, "type": self.kind, "param": self.param, "code": None}}


def invalid(message: str, param: str | None = None) -> ApiError:
    """A request that cannot be served as it is."""
    return ApiError(400, "invalid_request_error", message, param)


def upstream_failed(reason: str) -> ApiError:
    """The inference server refused, failed or misbehaved: always the same words to the client, whatever it said."""
    return ApiError(502, "upstream_error", "the inference server failed", reason=reason)


def log_unavailable() -> ApiError:
    """Nothing is served that is not logged."""
    return ApiError(503, "log_unavailable", "the log cannot be written; nothing is served")


def stopping() -> ApiError:
    """The sidecar was told to stop."""
    return ApiError(503, "unavailable", "the service is stopping")


def busy() -> ApiError:
    """As many requests as may be are under way."""
    return ApiError(429, "rate_limit_error", "too many requests are under way; try again")


class UpstreamError(WeightwardenError):
    """The inference server failed or misbehaved; `reason` is one of a fixed few words, never the server's own."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class UpstreamRefusal(UpstreamError):
    """The inference server refused the request before its first token; `status` is an HTTP status, 400 to 499."""

    def __init__(self, status: int) -> None:
        super().__init__(f"status {status}")
        self.status = status


class SettingsError(WeightwardenError, ValueError):
    """A setting that cannot be; the message names it."""
