"""Trouble of one part of the log: reported when it begins, when its cause changes, and when it ends."""

from weightwarden.errors import WeightwardenError
from weightwarden.logger.serving.event_log import Events
from weightwarden.logger.sidecar.log.failure_cause import ADVICE, cause_of


class Trouble:
    """Trouble of one part, which may be used from any thread.

    Attributes:
        cause: why the last attempt failed, in fixed words (`ADVICE`); None if it succeeded.
    """

    def __init__(self, part: str, events: Events) -> None:
        """A part without trouble.

        Args:
            part: name of the part in the events "... failed" and "... recovered".
            events: the operator's log.
        """
        self._part, self._events = part, events
        self.cause: str | None = None

    def begin(self, error: Exception) -> str:
        """Note that an attempt failed, and return the cause."""
        cause = cause_of(error)
        if cause != self.cause:
            self.cause = cause
            why = str(error) if isinstance(error, WeightwardenError) else None  # others may hold a client's text
            self._events.say(f"{self._part} failed", cause=cause, kind=type(error).__name__, why=why, do=ADVICE[cause])
        return cause

    def end(self) -> None:
        """Note that an attempt succeeded."""
        if self.cause is not None:
            self.cause = None
            self._events.say(f"{self._part} recovered")
