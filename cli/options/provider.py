"""The provider that a command's options describe."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from weightwarden.cli.options.shared import ProviderOptions
from weightwarden.verifier.errors import MissingExtra

if TYPE_CHECKING:
    from weightwarden.verifier.provider.client import ProviderClient


@contextmanager
def vllm_extra() -> Iterator[None]:
    """Imports of what speaks HTTP to a model server.

    Raises:
        MissingExtra: one is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise MissingExtra(f"{error.name} is missing: pip install 'weightwarden[vllm]'") from error


def provider_client(options: ProviderOptions, connections: int = 4) -> "ProviderClient":
    """A client of the provider that the options name.

    Raises:
        MissingExtra: the HTTP client or what it needs is not installed. KeyFileError.
    """
    if options.url is None:
        raise click.UsageError("--url says where the server is; it is missing")
    with vllm_extra():
        from weightwarden.verifier.provider.client import ProviderClient
    return ProviderClient(
        options.url,
        api_key=options.api_key(),
        timeout=options.timeout,
        connections=connections,
        model=options.served_model or "",
    )
