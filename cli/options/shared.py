"""Options that several commands share. Click passes them by name, and a command gathers them in one object."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from weightwarden.cli.options.adapters import ADAPTER_OPTIONS
from weightwarden.logger.files.private import read_secret

Command = TypeVar("Command", bound=Callable[..., Any])


@dataclass(frozen=True, kw_only=True)
class ServerOptions:
    """Replay servers (several for several workers), with keys and limits of their requests."""

    replay_urls: tuple[str, ...] = ()
    replay_model: str | None = None
    replay_key_path: Path | None = None
    replay_timeout: float = 600.0
    replay_concurrency: int = 16

    def api_key(self) -> str | None:
        """The key in the key file.

        Raises:
            KeyFileError: the file is unreadable, readable by others than its owner, or holds no single key.
        """
        return None if self.replay_key_path is None else read_secret(self.replay_key_path)


@dataclass(frozen=True, kw_only=True)
class ProviderOptions:
    """A server whose answers are to be verified, with key and limits of its requests."""

    url: str | None = None
    served_model: str | None = None
    key_path: Path | None = None
    timeout: float = 600.0

    def api_key(self) -> str | None:
        """The key in the key file.

        Raises:
            KeyFileError: the file is unreadable, readable by others than its owner, or holds no single key.
        """
        return None if self.key_path is None else read_secret(self.key_path)


@dataclass(frozen=True, kw_only=True)
class ServerToStart:
    """A replay server to start.

    Attributes:
        python: interpreter of vLLM's environment.
        arguments: further arguments of the server.
        max_model_len: context length of the serving side, tokens, where it is not the model's.
    """

    python: Path
    arguments: tuple[str, ...] = ()
    max_model_len: int | None = None


@dataclass(frozen=True, kw_only=True)
class ReplayOptions(ServerOptions):
    """Options of the replayer and its copy of the model.

    Attributes:
        model_name: folder or hub name of the model; None: the embedded model.
        implementation: "transformers", "vllm" or "vllm-local".
        dtype: data type, or None for the default.
        device: device as torch names it, "auto" for all GPUs together, or None for the default.
        token_budget: tokens of a forward pass, or None for the default.
        max_model_len: context length of the inference server, tokens; None: its default.
        own_server: a replay server to start, instead of a running one.
        adapter: names and folders of low-rank adapters on the model.
        adapters: folders that hold one folder for each adapter.
    """

    model_name: str | None = None
    implementation: str = "transformers"
    dtype: str | None = None
    device: str | None = None
    token_budget: int | None = None
    max_model_len: int | None = None
    own_server: ServerToStart | None = None
    adapter: tuple[tuple[str, Path], ...] = ()
    adapters: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        if self.implementation == "vllm" and not (self.device is None and self.token_budget is None):
            raise click.UsageError(
                "--device and --token-budget do not apply to --replayer vllm: the server decides them"
            )
        if self.implementation == "vllm-local" and self.device is not None:
            raise click.UsageError(
                "--device does not apply to --replayer vllm-local: vLLM takes the first GPU, or the CPU"
            )
        if self.implementation == "vllm-local" and (self.adapter or self.adapters):
            raise click.UsageError("--replayer vllm-local replays no adapters; use transformers or vllm")
        if self.implementation != "vllm" and self.replay_urls:
            raise click.UsageError("--replay-url requires --replayer vllm")

    @property
    def has_adapters(self) -> bool:
        """True if the options name adapters."""
        return bool(self.adapter or self.adapters)


SERVER_OPTIONS = (
    click.option(
        "--replay-url",
        "replay_urls",
        multiple=True,
        metavar="URL",
        help="URL of the trusted vLLM server, e.g. http://127.0.0.1:8000. With --executor ray:"
        " several, one per worker.",
    ),
    click.option(
        "--replay-model", metavar="NAME", help="Name of the model on that server. Default: the model that it serves."
    ),
    click.option(
        "--replay-api-key",
        "replay_key_path",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="File with the API key of that server.",
    ),
    click.option(
        "--replay-timeout",
        type=click.FloatRange(1),
        default=600.0,
        show_default=True,
        metavar="SECONDS",
        help="Seconds to wait for one response of that server.",
    ),
    click.option(
        "--replay-concurrency",
        type=click.IntRange(1, 1024),
        default=16,
        show_default=True,
        metavar="COUNT",
        help="Largest number of requests under way at that server.",
    ),
)
CONTEXT_OPTION = click.option(
    "--max-model-len",
    type=click.IntRange(1),
    metavar="TOKENS",
    help="Context length of the inference server, in tokens, if set. Default: vLLM's for the model.",
)
MODEL_OPTION = click.option(
    "--model",
    "model_name",
    metavar="FOLDER_OR_HUB_NAME",
    help="Trusted copy of the model. Default: the embedded SmolLM2-135M-Instruct.",
)
REPLAY_OPTIONS = (
    MODEL_OPTION,
    *ADAPTER_OPTIONS,
    click.option(
        "--replayer",
        "implementation",
        type=click.Choice(["transformers", "vllm", "vllm-local"]),
        default="transformers",
        show_default=True,
        help="Replay with transformers in this process, on the vLLM server at --replay-url, or with vLLM's engine in"
        " this process (independent, as transformers).",
    ),
    click.option(
        "--dtype",
        type=click.Choice(["float32", "bfloat16", "float16"]),
        help="Data type of the replay. Default: float32 for transformers; for vLLM the policy's, else the model's own.",
    ),
    click.option(
        "--device",
        metavar="DEVICE",
        help="PyTorch device of the replay, e.g. cuda:0, or auto: the model's layers over all GPUs. Default: cuda if"
        " available, else cpu.",
    ),
    click.option(
        "--token-budget",
        type=click.IntRange(1),
        metavar="TOKENS",
        help="Tokens of one forward pass, padding included. Default: 2048 on a CPU, 16384 on CUDA.",
    ),
    *SERVER_OPTIONS,
)


def with_options(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """A decorator that adds options, in the order of help."""

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def server_options(command: Command) -> Command:
    """Add --replay-url and its further options (`ServerOptions`)."""
    return with_options(*SERVER_OPTIONS)(command)


def replay_options(command: Command) -> Command:
    """Add --replayer, --model, --dtype, the server's options and the rest (`ReplayOptions`)."""
    return with_options(*REPLAY_OPTIONS)(command)


def provider_options(*, required: bool) -> Callable[[Command], Command]:
    """A decorator that adds --url and its further options (`ProviderOptions`)."""
    return with_options(
        click.option(
            "--url",
            required=required,
            metavar="URL",
            help="URL of the OpenAI-compatible server, e.g. http://127.0.0.1:8000.",
        ),
        click.option(
            "--served-model", metavar="NAME", help="Name of the model on that server. Default: its first model."
        ),
        click.option(
            "--api-key",
            "key_path",
            type=click.Path(path_type=Path),
            metavar="FILE",
            help="File with the API key of that server.",
        ),
        click.option(
            "--timeout",
            type=click.FloatRange(1),
            default=600.0,
            show_default=True,
            metavar="SECONDS",
            help="Seconds to wait for one response.",
        ),
    )


AUDIT_BY_OPTION = click.option(
    "--audit-by",
    type=click.Choice(["records", "tokens"]),
    default="records",
    show_default=True,
    help="Draw records with one probability, or in proportion to their tokens: --audit-rate is then that of an answer"
    " of 1,016 output tokens.",
)


def sample_options(command: Command) -> Command:
    """Add --audit-rate, --audit-by and --audit-key: the share, of what, and the key that draws the records."""
    for option in reversed(
        (
            click.option(
                "--audit-rate",
                "rate",
                type=float,
                metavar="RATE",
                help="Share of the records to audit, in (0, 1], drawn with --audit-key. Default: all records.",
            ),
            AUDIT_BY_OPTION,
            click.option(
                "--audit-key",
                "key_path",
                type=click.Path(path_type=Path),
                metavar="FILE",
                help="File with the audit key, a secret of at least 16 bytes.",
            ),
        )
    ):
        command = option(command)
    return command


SEEN_OPTION = click.option(
    "--seen",
    "seen_path",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="File with the last checkpoint of this log that you saw.",
)

SIGNING_KEY_OPTION = click.option(
    "--signing-key",
    "signing_key_paths",
    type=click.Path(path_type=Path),
    required=True,
    multiple=True,
    metavar="FILE",
    help="File with the log's signing key (`verify log key new`). Repeat for old and new key while keys rotate.",
)


def public_key_option(*, required: bool) -> Callable[[Command], Command]:
    """A decorator that adds --public-key, which some commands require."""
    return click.option(
        "--public-key",
        "public_key_path",
        type=click.Path(path_type=Path),
        required=required,
        metavar="FILE",
        help="File with the log's public keys, one a line.",
    )


def traffic_argument(command: Command) -> Command:
    """Add TRAFFIC..., one or more traffic files."""
    return click.argument("traffic", nargs=-1, required=True, metavar="TRAFFIC...", type=click.Path(path_type=Path))(
        command
    )
