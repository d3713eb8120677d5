"""Options that several commands share: click passes them by name, and a command gathers them in one object."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from weightwarden.logger.files.private import read_secret

Command = TypeVar("Command", bound=Callable[..., Any])


@dataclass(frozen=True, kw_only=True)
class ServerOptions:
    """Where a replay server is, or several for several workers, and how they are spoken to."""

    replay_urls: tuple[str, ...] = ()
    replay_model: str | None = None
    replay_key_path: Path | None = None
    replay_timeout: float = 600.0
    replay_concurrency: int = 16

    def api_key(self) -> str | None:
        """The key in the key file.

        Raises:
            KeyFileError: unreadable, readable by others than its owner, or not one key.
        """
        return None if self.replay_key_path is None else read_secret(self.replay_key_path)


@dataclass(frozen=True, kw_only=True)
class ProviderOptions:
    """A server whose answers are to be verified, and how it is spoken to."""

    url: str | None = None
    served_model: str | None = None
    key_path: Path | None = None
    timeout: float = 600.0

    def api_key(self) -> str | None:
        """The key in the key file.

        Raises:
            KeyFileError: unreadable, readable by others than its owner, or not one key.
        """
        return None if self.key_path is None else read_secret(self.key_path)


@dataclass(frozen=True, kw_only=True)
class ServerToStart:
    """A replay server to start: the interpreter of vLLM's environment, more arguments of the server, and the context
    length, tokens, of the serving side where that is not the model's."""

    python: Path
    arguments: tuple[str, ...] = ()
    max_model_len: int | None = None


@dataclass(frozen=True, kw_only=True)
class ReplayOptions(ServerOptions):
    """What to replay with, and on which copy of the model.

    Attributes:
        max_model_len: the context length of the server that answered, tokens; None: what it takes by default.
        own_server: a replay server to start, instead of one that runs already.
    """

    model_name: str | None = None
    implementation: str = "transformers"
    dtype: str | None = None
    device: str | None = None
    token_budget: int | None = None
    max_model_len: int | None = None
    own_server: ServerToStart | None = None

    def __post_init__(self) -> None:
        if self.implementation == "vllm" and not (self.device is None and self.token_budget is None):
            raise click.UsageError("--device and --token-budget are the server's own affair with --replayer vllm")
        if self.implementation != "vllm" and self.replay_urls:
            raise click.UsageError("--replay-url goes with --replayer vllm")


SERVER_OPTIONS = (
    click.option(
        "--replay-url",
        "replay_urls",
        multiple=True,
        metavar="URL",
        help="The trusted vLLM server, such as http://127.0.0.1:8000; several with --executor ray, one a worker.",
    ),
    click.option("--replay-model", metavar="NAME", help="The model's name there. Default: the one it serves."),
    click.option(
        "--replay-api-key",
        "replay_key_path",
        type=click.Path(path_type=Path),
        metavar="F",
        help="File with the server's API key.",
    ),
    click.option(
        "--replay-timeout",
        type=click.FloatRange(1),
        default=600.0,
        show_default=True,
        metavar="S",
        help="Seconds to wait for one answer.",
    ),
    click.option(
        "--replay-concurrency",
        type=click.IntRange(1, 1024),
        default=16,
        show_default=True,
        metavar="N",
        help="Requests under way at once.",
    ),
)
CONTEXT_OPTION = click.option(
    "--max-model-len",
    type=click.IntRange(1),
    metavar="N",
    help="The server's context length, where it was started with one. Default: what vLLM takes for the model.",
)
MODEL_OPTION = click.option(
    "--model",
    "model_name",
    metavar="DIR_OR_HUB_NAME",
    help="Trusted copy of the model. Default: the embedded SmolLM2-135M-Instruct.",
)
REPLAY_OPTIONS = (
    MODEL_OPTION,
    click.option(
        "--replayer",
        "implementation",
        type=click.Choice(["transformers", "vllm"]),
        default="transformers",
        show_default=True,
        help="What replays: an independent implementation here, or a trusted vLLM server at --replay-url.",
    ),
    click.option(
        "--dtype",
        type=click.Choice(["float32", "bfloat16", "float16"]),
        help="Arithmetic of the replay. Default: float32 here; for a vLLM server, the model's own.",
    ),
    click.option("--device", metavar="D", help="Device as torch names it. Default: cuda when there is one, else cpu."),
    click.option(
        "--token-budget",
        type=click.IntRange(1),
        metavar="N",
        help="Tokens a forward pass, padding included. Default: 2048 on a CPU, 16384 on CUDA.",
    ),
    *SERVER_OPTIONS,
)


def with_options(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Add options in the order in which help shows them."""

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def server_options(command: Command) -> Command:
    """Add --replay-url and what goes with it (`ServerOptions`)."""
    return with_options(*SERVER_OPTIONS)(command)


def replay_options(command: Command) -> Command:
    """Add --replayer, --model, --dtype, the server's options and the rest (`ReplayOptions`)."""
    return with_options(*REPLAY_OPTIONS)(command)


def provider_options(*, required: bool) -> Callable[[Command], Command]:
    """Add --url and what goes with it (`ProviderOptions`)."""
    return with_options(
        click.option(
            "--url",
            required=required,
            metavar="URL",
            help="The OpenAI-compatible server, such as http://127.0.0.1:8000.",
        ),
        click.option("--served-model", metavar="NAME", help="The model's name there. Default: the server's first."),
        click.option(
            "--api-key",
            "key_path",
            type=click.Path(path_type=Path),
            metavar="F",
            help="File with the server's API key.",
        ),
        click.option(
            "--timeout",
            type=click.FloatRange(1),
            default=600.0,
            show_default=True,
            metavar="S",
            help="Seconds to wait for one answer.",
        ),
    )


def sample_options(command: Command) -> Command:
    """--audit-rate and --audit-key: which share of the records is taken, and the key that chooses them."""
    for option in reversed(
        (
            click.option(
                "--audit-rate",
                "rate",
                type=float,
                metavar="RATE",
                help="Take this share of the records only, chosen with --audit-key.",
            ),
            click.option(
                "--audit-key",
                "key_path",
                type=click.Path(path_type=Path),
                metavar="F",
                help="File with the auditor's secret key (16 bytes or more).",
            ),
        )
    ):
        command = option(command)
    return command


WITNESS_OPTION = click.option(
    "--witness",
    "witness_path",
    type=click.Path(path_type=Path),
    metavar="F",
    help="File with the last checkpoint that you saw of this log.",
)

SIGNING_KEY_OPTION = click.option(
    "--signing-key",
    "signing_key_paths",
    type=click.Path(path_type=Path),
    required=True,
    multiple=True,
    metavar="F",
    help="File with the log's signing key (`verify log key new`); give the old and the new one while keys rotate.",
)


def public_key_option(*, required: bool) -> Callable[[Command], Command]:
    """Add --public-key, which some commands cannot do without."""
    return click.option(
        "--public-key",
        "public_key_path",
        type=click.Path(path_type=Path),
        required=required,
        metavar="F",
        help="File with the log's public keys, one a line.",
    )


def traffic_argument(command: Command) -> Command:
    """Add TRAFFIC..., one or more traffic files."""
    return click.argument("traffic", nargs=-1, required=True, metavar="TRAFFIC...", type=click.Path(path_type=Path))(
        command
    )
