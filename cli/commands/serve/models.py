"""The models of `verify serve --models FILE`: a table of options for each, over those of the command line."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from weightwarden.cli.options.config_file import option_values, read_toml
from weightwarden.text import printable

Made = TypeVar("Made")
OF_THE_SERVER = frozenset(
    {
        *("config", "models_path", "resident_models", "once", "is_json", "database", "listen", "api_keys", "read_keys"),
        *("tls_certificate", "tls_key", "webhook", "webhook_secret", "alarm_command", "dashboard_url", "show_text"),
        *("lease_timeout", "stuck_after", "executor", "ray_address", "workers", "gpus_per_worker"),
    }
)
"""Parameters of the server, whatever its models."""
OF_ONE_MODEL = frozenset(
    {"--archives", "--public-key", "--policy", "--model", "--adapter", "--adapters", "--egress-reports"}
)
"""Options that models cannot share."""
_TABLE, _NAME = "model", "name"


def options_by_model(ctx: click.Context, path: Path, given: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The options of each model, by the models' names.

    A table's options replace those of the command line (environment, --config), which are the models' defaults. A
    --compute-share of the command line is divided among the models without an audit rate or a share of their own.

    Args:
        path: the file.
        given: the command's options by the names of their parameters.

    Raises:
        UsageError: the file cannot be read, a table has no name, one of another table, or an option that there is not,
            or an option that models cannot share is given for all.
    """
    for parameter in ctx.command.params:
        for option in OF_ONE_MODEL.intersection(parameter.opts):
            if ctx.get_parameter_source(str(parameter.name)) is not ParameterSource.DEFAULT:
                raise click.UsageError(f"{option} excludes --models: give it in the table of each model")
    if given["executor"] != "local":
        raise click.UsageError("--executor ray excludes --models: start a server for each model")
    content = read_toml(path)
    tables = content.pop(_TABLE, None)
    if content:
        key = printable(next(iter(content)))
        raise click.UsageError(f"{path}: {key}: there is nothing but a table [[{_TABLE}]] for each model")
    if not isinstance(tables, list) or not tables or not all(isinstance(table, dict) for table in tables):
        raise click.UsageError(f"{path}: no table [[{_TABLE}]]")
    found: dict[str, dict[str, Any]] = {}
    for number, table in enumerate(tables, 1):
        name = table.pop(_NAME, None)
        if not isinstance(name, str):
            raise click.UsageError(f"{path}: table {number}: no {_NAME}, a text")
        if name in found:
            raise click.UsageError(f"{path}: model {printable(name)}: the name is given twice")
        found[name] = _options_of(ctx, table, f"{path}: model {printable(name)}")
    sharing = [name for name, own in found.items() if "audit_rate" not in own and "compute_share" not in own]
    share = given["compute_share"]
    divided = given | {"compute_share": None if share is None else share / max(len(sharing), 1)}
    return {name: divided | own for name, own in found.items()}


def _options_of(ctx: click.Context, table: dict[str, Any], where: str) -> dict[str, Any]:
    """The options that a table gives. An audit rate and a share of the machine exclude each other."""
    texts = option_values(ctx, table, where, leave_out=OF_THE_SERVER)
    parameters = {parameter.name: parameter for parameter in ctx.command.params}
    own = {name: parameters[name].type_cast_value(ctx, value) for name, value in texts.items()}
    if "audit_rate" in own and "compute_share" not in own:
        own["compute_share"] = None
    elif "compute_share" in own and "audit_rate" not in own:
        own["audit_rate"] = None
    return own


def for_each_model(
    path: Path, options: dict[str, dict[str, Any]], make: Callable[[str, dict[str, Any]], Made]
) -> dict[str, Made]:
    """The results of `make` for the options of each model, by the models' names.

    Raises:
        UsageError: a model's options do not go together; the message names the file and the model.
    """
    made: dict[str, Made] = {}
    for name, own in options.items():
        try:
            made[name] = make(name, own)
        except click.UsageError as error:
            raise click.UsageError(f"{path}: model {printable(name)}: {error.message}") from None
    return made
