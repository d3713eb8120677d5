"""The project's exception base, and what the sampler itself can refuse."""

SHOWN_CHARACTERS = 200
"""Most characters of an untrusted name that a message repeats."""


def first_line(error: Exception) -> str:
    """The first line of what an exception says, or its kind where it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def printable(text: str) -> str:
    """Untrusted text as one short line that can neither steer a terminal nor reorder what stands around it."""
    shown = text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + "..."
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in shown)


class WeightwardenError(Exception):
    """Base of every error that weightwarden raises on purpose; the command line prints it and exits with code 2."""


class UnknownScheme(WeightwardenError, ValueError):
    """A record or policy names a sampling scheme that this version cannot replay."""


class UnreplayableRequest(WeightwardenError, ValueError):
    """The request was decoded in a way that a seed does not determine (speculative, structured, unseeded ...)."""
