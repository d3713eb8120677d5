"""Click groups with reliable exit codes, and with commands that are imported on use."""

import traceback
from collections.abc import Mapping
from importlib import import_module
from typing import Any

import click

from weightwarden.cli import exit_codes
from weightwarden.errors import WeightwardenError

_WHOLE = 1000
"""Limit of a summary in help, characters: more than any summary has."""


class ExitCodeGroup(click.Group):
    """A group with exit code 1 for an alarm only. Every failure, expected or not, exits with 2."""

    interrupted = "Interrupted: nothing was verified or written."

    def invoke(self, ctx: click.Context) -> Any:
        """Run the subcommand, and turn its failures into messages and exit codes."""
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


class LazyGroup(ExitCodeGroup):
    """A group that imports its commands on use, and lists them in sections.

    Attributes:
        rooms: package of the commands' modules.
        sections: by title, the commands' names and their places, as `module:attribute`.
    """

    def __init__(self, *arguments: Any, rooms: str, sections: Mapping[str, Mapping[str, str]], **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._rooms, self._sections = rooms, sections

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of the sections."""
        return [name for names in self._sections.values() for name in names]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, imported now, or None if there is none of that name."""
        for names in self._sections.values():
            if cmd_name in names:
                module, attribute = names[cmd_name].split(":")
                found: click.Command = getattr(import_module(f"{self._rooms}.{module}"), attribute)
                return found
        return None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the sections of commands, with whole summaries."""
        for title, names in self._sections.items():
            rows = []
            for name in names:
                command = self.get_command(ctx, name)
                assert command is not None
                rows.append((name, command.get_short_help_str(limit=_WHOLE)))
            with formatter.section(title):
                formatter.write_dl(rows)
