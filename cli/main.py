"""The `verify` command: exit 0 clear or done, 1 alarm, 2 error."""

import click

from cli.calibrate import calibrate
from cli.demo import demo
from cli.estimate import estimate_command
from cli.exit_code_group import ExitCodeGroup
from cli.log import log
from cli.model import model
from cli.monitor import monitor
from cli.plan import plan_command
from cli.probe import probe
from cli.record import record
from cli.run import run
from cli.serve import serve
from cli.vllm import vllm


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
