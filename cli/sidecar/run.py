"""`sidecar run`: serve, until told to stop."""

import asyncio
from typing import Any

import click

from weightwarden.cli.options.config_file import config_option
from weightwarden.cli.sidecar.options import run_options, settings_of
from weightwarden.verifier.extras import needs_extra


@click.command(context_settings={"auto_envvar_prefix": "WEIGHTWARDEN_SIDECAR"})
@config_option
@run_options
def run(**given: Any) -> None:
    """Serve the OpenAI API in front of an inference server, and log every answer before its client sees it.

    Clients connect here instead of to the server, which the sidecar asks by token ids with explicit parameters and a
    seed of its own. Every option may also stand in the file of --config, or in the environment as
    WEIGHTWARDEN_SIDECAR_<OPTION>; the command line wins over the environment, and that over the file.

    SIGTERM lets answers end for --drain-timeout seconds, then cuts them off; either way they are on record. A second
    signal cuts them off at once.
    """
    with needs_extra("server"):
        import uvloop

        from weightwarden.logger.serving.event_log import Events
        from weightwarden.logger.sidecar.daemon import serve
        from weightwarden.logger.sidecar.startup import opened
    settings = settings_of(given)
    with opened(settings) as sidecar, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(sidecar, Events()))
