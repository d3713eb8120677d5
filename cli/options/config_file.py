"""Options of a command from a TOML file. The command line overrides the environment, which overrides the file."""

import os
import re
import tomllib
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, TypeVar

import click

from weightwarden.text import printable, suggestion

_OF_KUBERNETES = re.compile(r"(SERVICE_HOST|SERVICE_PORT|PORT)(_|$)")
"""Variables that Kubernetes sets for a service, which may have the prefix of the command as its name."""
Command = TypeVar("Command", bound=Callable[..., Any])


def config_option(command: Command) -> Command:
    """Add --config FILE. The file's values are defaults of the command's other options."""
    return click.option(
        "--config",
        "config",
        type=click.Path(path_type=Path),
        is_eager=True,
        expose_value=False,
        callback=_read,
        metavar="FILE",
        help='TOML file with values for these options, by name without dashes: log = "log.db".',
    )(command)


def _check_environment(ctx: click.Context) -> None:
    """Refuse a variable with the command's prefix that names no option. An option that was misspelled does nothing."""
    prefix = f"{ctx.auto_envvar_prefix}_"
    known = {f"{prefix}{str(parameter.name).upper()}" for parameter in ctx.command.params}
    for name in sorted(os.environ):
        if name.startswith(prefix) and name not in known and not _OF_KUBERNETES.match(name.removeprefix(prefix)):
            raise click.UsageError(f"{printable(name)}: there is no such option{suggestion(name, known)}")


def _read(ctx: click.Context, _: click.Parameter, path: Path | None) -> None:
    _check_environment(ctx)
    if path is not None:
        ctx.default_map = option_values(ctx, read_toml(path), str(path), leave_out=("config",))


def read_toml(path: Path) -> dict[str, Any]:
    """The content of a TOML file.

    Raises:
        UsageError: it cannot be read, or is not TOML.
    """
    try:
        with path.open("rb") as stream:
            return tomllib.load(stream)
    except OSError as error:
        raise click.UsageError(f"{path}: cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise click.UsageError(f"{path}: not UTF-8 at byte {error.start}") from None
    except (ValueError, RecursionError) as error:  # ValueError: also an integer with too many digits
        raise click.UsageError(f"{path}: not TOML: {error}") from None


def option_values(
    ctx: click.Context, table: dict[str, Any], where: str, *, leave_out: Collection[str]
) -> dict[str, Any]:
    """The values of a command's options in a table of TOML, as text, by the names of the parameters.

    Args:
        where: where the table is, for messages.
        leave_out: names of parameters that the table may not have.

    Raises:
        UsageError: there is no such option, or it cannot have such a value.
    """
    names = {option[2:]: parameter for parameter in ctx.command.params for option in parameter.opts}
    found: dict[str, Any] = {}
    for key, value in table.items():
        parameter = names.get(key)
        if parameter is None or parameter.name in leave_out:
            known = sorted(key for key, parameter in names.items() if parameter.name not in leave_out)
            raise click.UsageError(
                f"{where}: {printable(key)}: there is no such option{suggestion(key.replace('_', '-'), known)}"
            )
        if isinstance(value, dict) or (isinstance(value, list) and not parameter.multiple):
            raise click.UsageError(f"{where}: {key}: the option takes a single value")
        assert parameter.name is not None
        values = [str(one) for one in (value if isinstance(value, list) else [value])]  # text, as on the command line
        found[parameter.name] = given = values if parameter.multiple else values[0]
        try:
            parameter.type_cast_value(ctx, given)
        except click.BadParameter as error:
            raise click.UsageError(f"{where}: {key}: {error.message}") from None
    return found
