"""Optional dependencies (extras): imported at their use, and reported clearly when missing."""

from collections.abc import Iterator
from contextlib import contextmanager

from weightwarden.verifier.errors import MissingExtra


@contextmanager
def needs_extra(name: str) -> Iterator[None]:
    """Context of imports that need an extra of the package.

    Raises:
        MissingExtra: the extra is not installed; the message names it and the installation command.
    """
    try:
        yield
    except ImportError as error:
        raise MissingExtra(f"{error.name} is missing: pip install 'weightwarden[{name}]'") from error
