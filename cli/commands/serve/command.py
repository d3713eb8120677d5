"""The command `verify serve`, which follows archives, audits them and raises alarms until it is stopped."""

import signal
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from weightwarden.cli import exit_codes
from weightwarden.cli.commands.serve.options import SERVE_OPTIONS, settings_of, weights_of
from weightwarden.cli.options.config_file import config_option
from weightwarden.cli.options.executor import ExecutorOptions, executor_options, open_executor
from weightwarden.cli.options.shared import ReplayOptions, replay_options, with_options
from weightwarden.extras import needs_extra
from weightwarden.logger.serving.event_log import Events
from weightwarden.text import printable
from weightwarden.verifier.policy.file import read_policy

_REPLAY = tuple(ReplayOptions.__dataclass_fields__.keys() - {"own_server", "max_model_len"})


@click.command(context_settings={"auto_envvar_prefix": "WEIGHTWARDEN_SERVE"})
@config_option
@with_options(*SERVE_OPTIONS)
@click.option("--once", is_flag=True, help="Audit the present archives, report incidents, and exit without serving.")
@replay_options
@executor_options
@click.pass_context
def serve(ctx: click.Context, /, policy_path: Path, *, once: bool, **given: Any) -> None:
    """Run the verification server: follow sealed archives, audit a random sample, store verdicts, and raise alarms.

    New archives are checked (signature, continuity). Records are drawn with the audit key and replayed. Each verdict is
    stored in the database once; several servers may share it. Archives that fail a check are quarantined. The dashboard
    and the API at --listen need a key of --api-keys (in a browser: as the password).

    Every option can also be set in the file of --config, or in the environment as WEIGHTWARDEN_SERVE_<OPTION>. The
    command line overrides the environment, which overrides the file. The options of the model are those of `verify
    run`.

    Exit code 0: stopped. 2: error. With --once: 0: clear, 1: an unacknowledged alarm, 2: error, or no result: too
    little was audited (inconclusive), or an incident is in force (watch, stale).
    """
    with needs_extra("serve"):
        from weightwarden.verifier.server.api.status import status_of
        from weightwarden.verifier.server.daemon import DatabaseClock, drain
        from weightwarden.verifier.server.daemon import serve as serve_until
        from weightwarden.verifier.server.startup import open_server
    options, given = ExecutorOptions.taken(given)
    replay = ReplayOptions(**{name: given.pop(name) for name in _REPLAY})
    settings = settings_of(given | {"once": once})
    policy = read_policy(policy_path)
    settings = replace(settings, max_model_len=settings.max_model_len or policy.made_for.max_model_len)
    executor = open_executor(options, replay, policy, settings.max_model_len)
    ctx.call_on_close(executor.close)
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    clock = DatabaseClock()
    server = open_server(
        settings if settings.weights_bytes else replace(settings, weights_bytes=weights_of(executor.replayer.identity)),
        executor,
        clock=clock,
        sleep=stopping.wait,
        events=Events(),
    )
    if not once:
        serve_until(server, stopping, clock)
        return
    drain(server, stopping, clock)
    with server.database.reading() as connection:
        status = status_of(server, connection)
    click.echo(f"State: {status.state.upper()}. {status.meaning}")
    if status.bounds.series is not None:
        click.echo(status.bounds.series.statement)
    for tap in status.egress.taps:
        click.echo(f"Tap with reports in {printable(tap.folder)}: {tap.state}.")
    for incident in status.reasons:
        click.echo(f"  {incident.level}, {incident.kind}: {incident.what}")
    ctx.exit({"clear": exit_codes.CLEAR, "alarm": exit_codes.ALARM}.get(status.state, exit_codes.ERROR))
