"""Errors of the sampler."""

from weightwarden.errors import WeightwardenError


class UnknownScheme(WeightwardenError, ValueError):
    """A record or policy names a sampling scheme that this version cannot replay."""


class UnreplayableRequest(WeightwardenError, ValueError):
    """The request was decoded in a way that a seed does not determine (speculative, structured, unseeded ...)."""
