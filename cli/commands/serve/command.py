"""The command `verify serve`, which follows archives, audits them and raises alarms until it is stopped."""

import signal
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from weightwarden.cli import exit_codes
from weightwarden.cli.commands.serve.models import for_each_model, options_by_model
from weightwarden.cli.commands.serve.options import SERVE_OPTIONS, settings_of, weights_of
from weightwarden.cli.options.config_file import config_option
from weightwarden.cli.options.executor import ExecutorOptions, executor_options, on_demand_executor, open_executor
from weightwarden.cli.options.shared import ReplayOptions, replay_options, with_options
from weightwarden.extras import needs_extra
from weightwarden.logger.serving.event_log import Events
from weightwarden.text import printable
from weightwarden.verifier.policy.file import read_policy
from weightwarden.verifier.verification.on_demand import ResidentExecutors

if TYPE_CHECKING:
    from weightwarden.verifier.server.daemon import DatabaseClock
    from weightwarden.verifier.server.fleet import FleetModel
    from weightwarden.verifier.server.startup import ServerParts

_REPLAY = tuple(ReplayOptions.__dataclass_fields__.keys() - {"own_server", "max_model_len"})


@click.command(context_settings={"auto_envvar_prefix": "WEIGHTWARDEN_SERVE"})
@config_option
@with_options(*SERVE_OPTIONS)
@click.option("--once", is_flag=True, help="Audit the present archives, report incidents, and exit without serving.")
@replay_options
@executor_options
@click.pass_context
def serve(ctx: click.Context, /, models_path: Path | None, resident_models: int | None, **given: Any) -> None:
    """Run the verification server: follow sealed archives, audit a random sample, store verdicts, and raise alarms.

    New archives are checked (signature, continuity). Records are drawn with the audit key and replayed. Each verdict is
    stored in the database once; several servers may share it. Archives that fail a check are quarantined. The dashboard
    and the API at --listen need a key of --api-keys (in a browser: as the password).

    Every option can also be set in the file of --config, or in the environment as WEIGHTWARDEN_SERVE_<OPTION>. The
    command line overrides the environment, which overrides the file. The options of the model are those of `verify
    run`. With --models one server verifies several models, each with options of its own.

    Exit code 0: stopped. 2: error. With --once: 0: clear, 1: an unacknowledged alarm, 2: error, or no result: too
    little was audited (inconclusive), or an incident is in force (watch, stale). With --models: that of the gravest
    model.
    """
    with needs_extra("serve"):
        from weightwarden.verifier.server import process  # noqa: F401
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    if models_path is None:
        if resident_models is not None:
            raise click.UsageError("--resident-models requires --models")
        _serve_one(ctx, given, stopping)
    else:
        _serve_models(ctx, models_path, resident_models, given, stopping)


def _serve_one(ctx: click.Context, given: dict[str, Any], stopping: threading.Event) -> None:
    """Serve one model."""
    from weightwarden.verifier.server.daemon import DatabaseClock, drain
    from weightwarden.verifier.server.process import serve as serve_until
    from weightwarden.verifier.server.startup import open_server

    settings = settings_of(given)
    policy = read_policy(given.pop("policy_path"))
    options, given = ExecutorOptions.taken(given)
    replay = ReplayOptions(**{name: given[name] for name in _REPLAY})
    settings = replace(settings, max_model_len=settings.max_model_len or policy.made_for.max_model_len)
    executor = open_executor(options, replay, policy, settings.max_model_len)
    ctx.call_on_close(executor.close)
    clock = DatabaseClock()
    server = open_server(
        settings if settings.weights_bytes else replace(settings, weights_bytes=weights_of(executor.replayer.identity)),
        executor,
        clock=clock,
        sleep=stopping.wait,
        events=Events(),
    )
    if not given["once"]:
        serve_until(server, stopping, clock)
        return
    drain(server, stopping, clock)
    ctx.exit(_exit_code([_say_state(server)]))


def _serve_models(
    ctx: click.Context, path: Path, resident: int | None, given: dict[str, Any], stopping: threading.Event
) -> None:
    """Serve several models."""
    from weightwarden.verifier.server.daemon import DatabaseClock, drain
    from weightwarden.verifier.server.fleet import open_fleet
    from weightwarden.verifier.server.process import serve_fleet

    options = options_by_model(ctx, path, given)
    residents = ResidentExecutors(resident or len(options))
    clocks = {name: DatabaseClock() for name in options}
    models = for_each_model(path, options, lambda name, own: _model_of(own, residents, clocks[name]))
    for model in models.values():
        ctx.call_on_close(model.executor.close)
    once = given["once"]
    fleet = open_fleet(models, residents, events=Events(), sleep=stopping.wait if once else None)
    if not once:
        serve_fleet(fleet, stopping, clocks)
        return
    states = []
    for name, server in fleet.servers.items():
        drain(server, stopping, clocks[name])
        click.echo(f"Model {name}.")
        states.append(_say_state(server))
    ctx.exit(_exit_code(states))


def _model_of(given: dict[str, Any], residents: ResidentExecutors, clock: "DatabaseClock") -> "FleetModel":
    """One of several models: its policy is read, and its weights are not loaded yet."""
    from weightwarden.verifier.server.fleet import FleetModel

    settings = settings_of(given)
    policy = read_policy(given["policy_path"])
    options, given = ExecutorOptions.taken(given)
    replay = ReplayOptions(**{name: given[name] for name in _REPLAY})
    settings = replace(settings, max_model_len=settings.max_model_len or policy.made_for.max_model_len)
    executor = on_demand_executor(options, replay, policy, settings.max_model_len, residents)
    weights = settings.weights_bytes or weights_of(executor.replayer.identity)
    return FleetModel(replace(settings, weights_bytes=weights), executor, clock)


def _say_state(server: "ServerParts") -> str:
    """Print the state of a series, and return it."""
    from weightwarden.verifier.server.api.status import status_of

    with server.database.reading() as connection:
        status = status_of(server, connection)
    click.echo(f"State: {status.state.upper()}. {status.meaning}")
    if status.bounds.series is not None:
        click.echo(status.bounds.series.statement)
    for tap in status.egress.taps:
        click.echo(f"Tap with reports in {printable(tap.folder)}: {tap.state}.")
    for incident in status.reasons:
        click.echo(f"  {incident.level}, {incident.kind}: {incident.what}")
    return status.state


def _exit_code(states: Sequence[str]) -> int:
    """The exit code for the states of all models."""
    if "alarm" in states:
        return exit_codes.ALARM
    return exit_codes.CLEAR if set(states) == {"clear"} else exit_codes.ERROR
