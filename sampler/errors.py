"""The project's exception base, and what the sampler itself can refuse."""


class WeightwardenError(Exception):
    """Base of every error that weightwarden raises on purpose; the command line prints it and exits with code 2."""


class UnknownScheme(WeightwardenError, ValueError):
    """A record or policy names a sampling scheme that this version cannot replay."""


class UnreplayableRequest(WeightwardenError, ValueError):
    """The request was decoded in a way that a seed does not determine (speculative, structured, unseeded ...)."""
