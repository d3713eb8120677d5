"""Options that several commands share, and the replayer that they describe."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from cli.progress import progress_bar
from verifier.errors import MissingExtra

if TYPE_CHECKING:
    from verifier.transformers_replay import TransformersReplayer

Command = TypeVar("Command", bound=Callable[..., Any])


def model_options(command: Command) -> Command:
    """Add --model, --dtype, --device and --token-budget."""
    for option in (
        click.option(
            "--token-budget",
            type=click.IntRange(1),
            metavar="N",
            help="Tokens a forward pass, padding included. Default: 2048 on a CPU, 16384 on CUDA.",
        ),
        click.option(
            "--device", metavar="D", help="Device as torch names it. Default: cuda when there is one, else cpu."
        ),
        click.option(
            "--dtype",
            default="float32",
            show_default=True,
            type=click.Choice(["float32", "bfloat16", "float16"]),
            help="Arithmetic of the replay.",
        ),
        click.option(
            "--model",
            "model_name",
            metavar="DIR_OR_HUB_NAME",
            help="Trusted copy of the model. Default: the embedded SmolLM2-135M-Instruct.",
        ),
    ):
        command = option(command)
    return command


def traffic_argument(command: Command) -> Command:
    """Add TRAFFIC..., one or more traffic files."""
    return click.argument("traffic", nargs=-1, required=True, metavar="TRAFFIC...", type=click.Path(path_type=Path))(
        command
    )


def load_replayer(
    model_name: str | None, dtype: str, device: str | None, token_budget: int | None
) -> "TransformersReplayer":
    """The replayer that the options describe.

    Raises:
        MissingExtra: torch or transformers is not installed. ModelError: the model cannot be used.
    """
    try:
        from verifier.transformers_replay import TransformersReplayer, resolve_model
    except ImportError as error:
        raise MissingExtra(f"{error.name} is missing: pip install 'weightwarden[replay]'") from error
    from verifier.embedded_model import default_model_folder, ensure_embedded_model
    from verifier.model_identity import identify_model

    if model_name is None:
        if not default_model_folder().exists():
            click.echo(f"Writing the embedded model to {default_model_folder()} (once) ...", err=True)
        folder = ensure_embedded_model()
    else:
        folder = resolve_model(model_name)
    with progress_bar(100, "Hashing model") as step:
        done = 0

        def hashed(read: int, total: int) -> None:
            nonlocal done
            percent = 100 * read // total
            step(percent - done)
            done = percent

        identity = identify_model(folder, hashed)
    return TransformersReplayer.load(identity, dtype=dtype, device=device, token_budget=token_budget)
