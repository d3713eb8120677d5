"""The command `sidecar run`, which serves until it is stopped."""

import asyncio
from typing import Any

import click

from weightwarden.cli.options.config_file import config_option
from weightwarden.cli.sidecar.options import run_options, settings_of
from weightwarden.extras import needs_extra


@click.command(context_settings={"auto_envvar_prefix": "WEIGHTWARDEN_SIDECAR"})
@config_option
@run_options
def run(**given: Any) -> None:
    """Serve the OpenAI API in front of an inference server, and log every answer before the client gets it.

    Clients connect to the sidecar instead of the server. The sidecar sends the server token ids, explicit parameters
    and the sidecar's seed. Every option can also be set in the file of --config, or in the environment as
    WEIGHTWARDEN_SIDECAR_<OPTION>. The command line overrides the environment, which overrides the file.

    After SIGTERM, answers may continue for --drain-timeout seconds; then they are cut off. Both are on record. A second
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
