"""Errors of the store."""

from weightwarden.errors import WeightwardenError
from weightwarden.logger.database import DatabaseUnusable


class LogUnreadable(DatabaseUnusable):
    """The log's database cannot be opened: missing, no such server, another format, another log."""


class LogLocked(WeightwardenError, RuntimeError):
    """Another process has the log open for the same purpose."""


class LogWriteError(WeightwardenError, OSError):
    """An append was not confirmed: its entries may or may not be in the log."""


class LogBusy(WeightwardenError, RuntimeError):
    """More appends are waiting than the writer keeps in memory."""


class LogClosed(WeightwardenError, RuntimeError):
    """The writer was closed."""


class LogCorrupt(WeightwardenError, ValueError):
    """What the database holds is not a log: something was changed or removed past the store."""


class LogForked(LogCorrupt):
    """The database no longer holds what this writer confirmed."""
