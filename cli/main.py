"""The `verify` command: exit 0 clear or done, 1 alarm, 2 error."""

import click

from weightwarden.cli.commands.calibrate import calibrate
from weightwarden.cli.commands.demo import demo
from weightwarden.cli.commands.estimate import estimate_command
from weightwarden.cli.commands.log import log
from weightwarden.cli.commands.model import model
from weightwarden.cli.commands.monitor import monitor
from weightwarden.cli.commands.plan import plan_command
from weightwarden.cli.commands.probe import probe
from weightwarden.cli.commands.record import record
from weightwarden.cli.commands.run import run
from weightwarden.cli.commands.serve import serve
from weightwarden.cli.commands.vllm import vllm
from weightwarden.cli.groups import ExitCodeGroup


@click.group(cls=ExitCodeGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="weightwarden", prog_name="verify")
def verify() -> None:
    """Replay recorded LLM answers on a trusted model and name the tokens that no honest server would have said."""


verify.add_command(run)
verify.add_command(serve)
verify.add_command(calibrate)
verify.add_command(model)
verify.add_command(demo)
verify.add_command(vllm)
verify.add_command(record)
verify.add_command(probe)
verify.add_command(log)
verify.add_command(monitor)
verify.add_command(estimate_command)
verify.add_command(plan_command)
