"""Errors of the statistics."""

from sampler.errors import WeightwardenError


class StatisticsError(WeightwardenError, ValueError):
    """A figure that was asked for does not exist: an impossible rate, nothing observed, a goal out of reach."""
