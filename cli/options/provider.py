"""The provider that a command's options describe."""

from typing import TYPE_CHECKING

import click

from weightwarden.cli.options.shared import ProviderOptions
from weightwarden.verifier.extras import needs_extra

if TYPE_CHECKING:
    from weightwarden.verifier.provider.client import ProviderClient


def provider_client(options: ProviderOptions, connections: int = 4) -> "ProviderClient":
    """A client of the provider that the options name.

    Raises:
        MissingExtra: the HTTP client or what it needs is not installed. KeyFileError.
    """
    if options.url is None:
        raise click.UsageError("--url says where the server is; it is missing")
    with needs_extra("vllm"):
        from weightwarden.verifier.provider.client import ProviderClient
    return ProviderClient(
        options.url,
        api_key=options.api_key(),
        timeout=options.timeout,
        connections=connections,
        model=options.served_model or "",
    )
