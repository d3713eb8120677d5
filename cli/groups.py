"""A click group whose exit codes can be relied on."""

import traceback
from typing import Any

import click

from weightwarden.cli import exit_codes
from weightwarden.errors import WeightwardenError


class ExitCodeGroup(click.Group):
    """A group whose exit code 1 means an alarm and nothing else: whatever fails, expected or not, exits with 2."""

    interrupted = "Interrupted: nothing was verified or written."

    def invoke(self, ctx: click.Context) -> Any:
        """Run the subcommand; turn its failures into messages and exit codes."""
        try:
            return super().invoke(ctx)
        except (click.exceptions.Exit, click.ClickException):
            raise
        except (KeyboardInterrupt, click.Abort):
            click.echo(self.interrupted, err=True)
            ctx.exit(exit_codes.INTERRUPTED)
        except WeightwardenError as error:
            click.echo(f"Error: {error}", err=True)
            ctx.exit(exit_codes.ERROR)
        except BrokenPipeError:
            ctx.exit(exit_codes.ERROR)
        except Exception:  # a defect must never look like an alarm (1) or a pass (0)
            click.echo(traceback.format_exc(), err=True)
            click.echo("Error: internal error (above). Please report it.", err=True)
            ctx.exit(exit_codes.ERROR)
