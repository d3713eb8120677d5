"""Errors of the store."""

from weightwarden.errors import WeightwardenError
from weightwarden.logger.database import DatabaseUnusable


class LogUnreadable(DatabaseUnusable):
    """A log's database that cannot be opened: missing, no such server, another format, another log."""


class LogLocked(WeightwardenError, RuntimeError):
    """A log that another process has open for the same purpose."""


class LogWriteError(WeightwardenError, OSError):
    """An append that was not confirmed: its records may or may not be in the log."""


class LogBusy(WeightwardenError, RuntimeError):
    """More waiting appends than the writer keeps in memory."""


class LogClosed(WeightwardenError, RuntimeError):
    """A writer that was closed."""


class LogCorrupt(WeightwardenError, ValueError):
    """A database that is no valid log: rows were changed or removed by other means than the store."""


class LogForked(LogCorrupt):
    """A database that no longer holds what this writer confirmed."""
