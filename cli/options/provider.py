"""The client of a provider for a command's options."""

from typing import TYPE_CHECKING

import click

from weightwarden.cli.options.shared import ProviderOptions
from weightwarden.extras import needs_extra

if TYPE_CHECKING:
    from weightwarden.verifier.provider.client import ProviderClient


def provider_client(options: ProviderOptions, connections: int = 4) -> "ProviderClient":
    """A client of the provider that the options name.

    Raises:
        MissingExtra: the HTTP client or one of its requirements is not installed.
        KeyFileError: the key file cannot be used.
    """
    if options.url is None:
        raise click.UsageError("missing option --url: the URL of the server")
    with needs_extra("vllm"):
        from weightwarden.verifier.provider.client import ProviderClient
    return ProviderClient(
        options.url,
        api_key=options.api_key(),
        timeout=options.timeout,
        connections=connections,
        model=options.served_model or "",
    )
