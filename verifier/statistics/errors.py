"""Errors of the statistics."""

from weightwarden.errors import WeightwardenError


class StatisticsError(WeightwardenError, ValueError):
    """A requested figure does not exist: the rate is impossible, nothing was observed, or the goal is out of reach."""
