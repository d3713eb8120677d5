"""Errors of the sampler."""

from weightwarden.errors import WeightwardenError


class UnknownScheme(WeightwardenError, ValueError):
    """A sampling scheme of a record or policy that this version cannot replay."""


class UnreplayableRequest(WeightwardenError, ValueError):
    """A request whose decoding a seed does not determine (speculative, structured, unseeded ...)."""
