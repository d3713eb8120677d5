"""Errors of the verification server."""

from weightwarden.errors import WeightwardenError
from weightwarden.logger.database import DatabaseUnusable


class VerdictsUnusable(DatabaseUnusable):
    """The verdict database cannot be opened: it is missing, its server does not exist, or it has another format."""


class OtherSeries(WeightwardenError, ValueError):
    """The verdict database holds verdicts under another policy, or of another model."""


class ServerSettingsError(WeightwardenError, ValueError):
    """A setting is invalid; the message names it."""


class LeaseLost(WeightwardenError, RuntimeError):
    """Another server took over this one's work, since its sign of life was late; nothing of the work was stored."""


class ReplayTrouble(WeightwardenError, RuntimeError):
    """Nothing can be replayed now, and no record is the cause."""


class Unfinished(WeightwardenError, RuntimeError):
    """Not everything could be audited."""
