"""Optional dependencies (extras): imported where they are used, and missed with a clear message."""

from collections.abc import Iterator
from contextlib import contextmanager

from weightwarden.verifier.errors import MissingExtra


@contextmanager
def needs_extra(name: str) -> Iterator[None]:
    """A block of imports that an extra of the package brings.

    Raises:
        MissingExtra: one is not installed; the message names it and says what to install.
    """
    try:
        yield
    except ImportError as error:
        raise MissingExtra(f"{error.name} is missing: pip install 'weightwarden[{name}]'") from error
