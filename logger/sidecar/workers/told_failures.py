"""Failures of the log as the main process tells them to a worker."""

from typing import Any

from weightwarden.errors import WeightwardenError
from weightwarden.logger.sidecar.log.failure_cause import KnownCause, cause_of
from weightwarden.logger.store.errors import LogBusy, LogClosed, LogForked, LogWriteError

_KINDS: dict[str, type[WeightwardenError]] = {
    kind.__name__: kind for kind in (LogWriteError, LogForked, LogClosed, LogBusy)
}


def told(error: BaseException) -> dict[str, Any]:
    """A failure as JSON: its kind, its message, its cause."""
    known = type(error).__name__ in _KINDS
    return {
        "kind": type(error).__name__ if known else LogWriteError.__name__,
        "message": str(error) if isinstance(error, WeightwardenError) else "the log's process failed",
        "cause": cause_of(error),
    }


def failure(message: dict[str, Any]) -> WeightwardenError:
    """The failure that was told, with its cause (`cause_of`)."""
    error = _KINDS[message["kind"]](message["message"])
    error.__cause__ = KnownCause(message["cause"])
    return error
