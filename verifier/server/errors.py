"""Errors of the verification server."""

from weightwarden.errors import WeightwardenError
from weightwarden.logger.database import DatabaseUnusable


class VerdictsUnusable(DatabaseUnusable):
    """The verdict database cannot be opened: missing, no such server, another format."""


class OtherSeries(WeightwardenError, ValueError):
    """The verdict database holds verdicts under another policy, or of another model."""


class ServerSettingsError(WeightwardenError, ValueError):
    """A setting that cannot be; the message names it."""


class LeaseLost(WeightwardenError, RuntimeError):
    """Another server took this one's work over, since it gave no sign of life in time; nothing of it was kept."""


class ReplayTrouble(WeightwardenError, RuntimeError):
    """Nothing can be replayed now, and no record is to blame."""


class Unfinished(WeightwardenError, RuntimeError):
    """Not everything that is there could be audited."""
