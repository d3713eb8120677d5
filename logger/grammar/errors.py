"""Errors of grammars."""

from weightwarden.errors import WeightwardenError


class GrammarRefused(WeightwardenError, ValueError):
    """A grammar that cannot be used: invalid, too large, or too costly. The message is for its author."""


class GrammarTooSlow(GrammarRefused):
    """A grammar that takes too long.

    Attributes:
        by_clock: whether the clock said so, and not the processor time: the machine may have been busy.
    """

    def __init__(self, message: str, *, by_clock: bool) -> None:
        super().__init__(message)
        self.by_clock = by_clock


class GrammarsWaiting(WeightwardenError):
    """Too many costly grammars wait for their check."""


class GrammarsClosed(WeightwardenError):
    """The process that compiles grammars was closed."""
