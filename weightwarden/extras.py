"""Optional dependencies (extras): imported at their use, and reported clearly when missing."""

from collections.abc import Iterator
from contextlib import contextmanager

from weightwarden.errors import WeightwardenError
from weightwarden.installation import present_installation
from weightwarden.text import first_line


class MissingExtra(WeightwardenError, ImportError):
    """An optional dependency is not installed; the message names the installation command."""


@contextmanager
def needs_extra(name: str) -> Iterator[None]:
    """Context of imports that need an extra of the package.

    Raises:
        MissingExtra: a package of the extra is missing, or cannot be imported; the message names it and the
            installation command.
    """
    try:
        yield
    except ImportError as error:
        package = (error.name or "").partition(".")[0]
        if package == "weightwarden":
            raise
        problem = "is missing" if isinstance(error, ModuleNotFoundError) else f"cannot be imported: {first_line(error)}"
        raise MissingExtra(f"{package or 'a package'} {problem}: {how_to_add(name)}") from error


def how_to_add(extra: str) -> str:
    """The command that adds an extra to this installation."""
    return present_installation().command_for_extra(extra)
