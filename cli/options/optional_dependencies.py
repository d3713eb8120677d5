"""Optional dependencies: imported where they are used, and missed with a clear message."""

from collections.abc import Iterator
from contextlib import contextmanager

from weightwarden.verifier.errors import MissingExtra


@contextmanager
def server_extra() -> Iterator[None]:
    """Imports of what the sidecar needs.

    Raises:
        MissingExtra: one is not installed.
    """
    with _extra("server"):
        yield


@contextmanager
def serve_extra() -> Iterator[None]:
    """Imports of what the verification server needs.

    Raises:
        MissingExtra: one is not installed.
    """
    with _extra("serve"):
        yield


@contextmanager
def _extra(name: str) -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        raise MissingExtra(f"{error.name} is missing: pip install 'weightwarden[{name}]'") from error
