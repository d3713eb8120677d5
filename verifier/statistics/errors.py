"""Errors of the statistics."""

from weightwarden.errors import WeightwardenError


class StatisticsError(WeightwardenError, ValueError):
    """A figure that was asked for does not exist: an impossible rate, nothing observed, a goal out of reach."""
