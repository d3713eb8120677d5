"""The command `sidecar doctor`, which checks a sidecar's settings and machine before its start."""

from typing import Any

import click

from weightwarden.cli import exit_codes
from weightwarden.cli.options.config_file import config_option
from weightwarden.cli.reports.doctor import as_json, screen
from weightwarden.cli.sidecar.options import run_options, settings_of
from weightwarden.extras import needs_extra


@click.command(context_settings={"auto_envvar_prefix": "WEIGHTWARDEN_SIDECAR"})
@config_option
@run_options
@click.option("--json", "is_json", is_flag=True, help="Print the findings as JSON.")
@click.pass_context
def doctor(ctx: click.Context, /, *, is_json: bool, **given: Any) -> None:
    """Check keys, files, model, upstream server, log, clock, disk and addresses, and show what to do. Changes nothing.

    The options are those of `sidecar run`, with the same --config file and environment.

    Exit code 0: no fault (there may be warnings). 2: a fault, or an error.
    """
    with needs_extra("server"):
        from weightwarden.logger.doctor.files import now_utc
        from weightwarden.logger.doctor.finding import has_faults
        from weightwarden.logger.sidecar.doctor import examine
    findings = examine(settings_of(given), now_utc)
    click.echo(as_json(findings) if is_json else screen("sidecar", findings))
    ctx.exit(exit_codes.ERROR if has_faults(findings) else exit_codes.CLEAR)
