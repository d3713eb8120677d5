"""The `weightwarden` command: the other two under one name, and `doctor` for a host that runs either or both."""

from pathlib import Path
from typing import Any

import click

from weightwarden.cli import exit_codes
from weightwarden.cli.groups import ExitCodeGroup
from weightwarden.cli.main import verify
from weightwarden.cli.sidecar.main import sidecar

_FILE = click.Path(path_type=Path)


@click.group(cls=ExitCodeGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="weightwarden", prog_name="weightwarden")
def weightwarden() -> None:
    """Detect model-weight exfiltration hidden in LLM output: the sidecar, the verifier, and their doctor."""


@weightwarden.command()
@click.option("--sidecar", "sidecar_config", type=_FILE, metavar="FILE", help="Configuration of `sidecar run`.")
@click.option("--verifier", "verifier_config", type=_FILE, metavar="FILE", help="Configuration of `verify serve`.")
@click.option("--json", "is_json", is_flag=True, help="Print the findings as JSON, one object a configuration.")
@click.pass_context
def doctor(ctx: click.Context, sidecar_config: Path | None, verifier_config: Path | None, *, is_json: bool) -> None:
    """Check everything that a sidecar, a verification server or both need, and show what to do. Changes nothing.

    This is `sidecar doctor --config FILE` and `verify doctor --config FILE`.

    Exit code 0: no fault (there may be warnings). 2: a fault, or an error.
    """
    given = [(sidecar, sidecar_config), (verify, verifier_config)]
    chosen = [(group, path) for group, path in given if path is not None]
    if not chosen:
        raise click.UsageError("give --sidecar FILE, --verifier FILE, or both")
    codes = [_examined(group, path, is_json) for group, path in chosen]
    ctx.exit(max(codes, default=exit_codes.ERROR))


def _examined(group: click.Group, config: Path, is_json: bool) -> int:
    """The exit code of one doctor, after its output."""
    arguments = ["doctor", "--config", str(config), *(["--json"] if is_json else [])]
    try:
        found: Any = group.main(arguments, prog_name=group.name, standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return exit_codes.ERROR
    return int(found or 0)


for _group in (verify, sidecar):
    weightwarden.add_command(_group)
