"""The `verify` command: exit 0 clear or done, 1 alarm, 2 error."""

import traceback
from typing import Any

import click

from cli import exit_codes
from cli.calibrate import calibrate
from cli.demo import demo
from cli.log import log
from cli.model import model
from cli.run import run
from cli.vllm import vllm
from sampler.errors import WeightwardenError


class ExitCodeGroup(click.Group):
    """A group whose exit code 1 means an alarm and nothing else: whatever fails, expected or not, exits with 2."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the subcommand; turn its failures into messages and exit codes."""
        try:
            return super().invoke(ctx)
        except (click.exceptions.Exit, click.ClickException):
            raise
        except (KeyboardInterrupt, click.Abort):
            click.echo("Interrupted: nothing was verified or written.", err=True)
            ctx.exit(exit_codes.INTERRUPTED)
        except WeightwardenError as error:
            click.echo(f"Error: {error}", err=True)
            ctx.exit(exit_codes.ERROR)
        except BrokenPipeError:
            ctx.exit(exit_codes.ERROR)
        except Exception:  # a defect must never look like an alarm (1) or a pass (0)
            click.echo(traceback.format_exc(), err=True)
            click.echo("Error: internal error (above); nothing was verified. Please report it.", err=True)
            ctx.exit(exit_codes.ERROR)


@click.group(cls=ExitCodeGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="weightwarden", prog_name="verify")
def verify() -> None:
    """Replay recorded LLM answers on a trusted model and name the tokens that no honest server would have said."""


verify.add_command(run)
verify.add_command(calibrate)
verify.add_command(model)
verify.add_command(demo)
verify.add_command(vllm)
verify.add_command(log)
verify.add_command(log)
