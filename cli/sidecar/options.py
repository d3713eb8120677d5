"""The options of `sidecar run`, and the settings that they make."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from weightwarden.sampler.schemes import SCHEMES

if TYPE_CHECKING:
    from weightwarden.logger.sidecar.settings import Settings

Command = TypeVar("Command", bound=Callable[..., Any])

_FILE = click.Path(path_type=Path)
_SECONDS = click.FloatRange(min=0, min_open=True)


def _limit(flag: str, kind: "click.ParamType[Any]", default: object, metavar: str, text: str) -> Any:
    return click.option(flag, type=kind, default=default, show_default=default is not None, metavar=metavar, help=text)


_OPTIONS = (
    click.option(
        "--upstream", required=True, metavar="URL", help="The inference server, such as http://10.0.0.2:8000."
    ),
    click.option(
        "--model-dir",
        type=_FILE,
        required=True,
        metavar="DIR",
        help="Trusted copy of the model's tokenizer and config.",
    ),
    click.option("--log", required=True, metavar="URL", help="The log: a path, or postgresql://...; made when new."),
    click.option("--seed-key", type=_FILE, required=True, metavar="F", help="File with the seed key (`sidecar key`)."),
    click.option(
        "--signing-key",
        type=_FILE,
        required=True,
        multiple=True,
        metavar="F",
        help="File with the log's signing key (`verify log key new`); the old and the new one while keys rotate.",
    ),
    click.option(
        "--mark",
        type=_FILE,
        metavar="F",
        help="File with the log's mark, which tells an old copy of the log. Default: beside the signing key.",
    ),
    click.option("--sampler", type=click.Choice(sorted(SCHEMES)), required=True, help="How the server draws tokens."),
    click.option("--engine-version", required=True, metavar="V", help="The server's version, such as 0.32.0."),
    click.option("--engine", default="vllm", show_default=True, metavar="NAME", help="The server's engine."),
    click.option(
        "--listen", default="127.0.0.1:8080", show_default=True, metavar="HOST:PORT", help="Where clients connect."
    ),
    click.option("--metrics", metavar="HOST:PORT", help="Where Prometheus finds /metrics."),
    click.option("--model-name", metavar="NAME", help="What clients call the model. Default: the folder's name."),
    click.option("--upstream-model", metavar="NAME", help="What the server calls it. Default: the same."),
    click.option("--upstream-key", type=_FILE, metavar="F", help="File with the API key that the server wants."),
    click.option(
        "--max-model-len", type=click.IntRange(2), metavar="N", help="The server's context, if it was told one."
    ),
    click.option("--chat-template", type=_FILE, metavar="F", help="Chat template instead of the model's own."),
    click.option(
        "--sampling-defaults",
        type=click.Choice(["model", "neutral"]),
        default="model",
        show_default=True,
        help="For requests that say nothing: the model's generation_config.json, or temperature 1 without filters.",
    ),
    click.option(
        "--client-seeds",
        type=click.Choice(["replace", "allow"]),
        default="replace",
        show_default=True,
        help="Whether clients may choose seeds: then they and the server together can.",
    ),
    click.option(
        "--api-keys", type=_FILE, metavar="F", help="File with the keys that clients may come with, one a line."
    ),
    click.option("--tls-certificate", type=_FILE, metavar="F", help="PEM file; with --tls-key."),
    click.option("--tls-key", type=_FILE, metavar="F", help="PEM file."),
    click.option(
        "--release-tick",
        type=click.IntRange(1, 60_000),
        metavar="MS",
        help="Tokens leave on ticks of so many milliseconds only.",
    ),
    click.option("--archives", metavar="URL", help="Folder (path or fsspec URL) to seal archives into."),
    _limit("--checkpoint-every", _SECONDS, 60.0, "S", "Seconds between signed checkpoints."),
    _limit("--seal-every", _SECONDS, 3600.0, "S", "Seconds between archives."),
    _limit("--max-concurrent", click.IntRange(1), 256, "N", "Choices under way at once."),
    _limit("--max-connections", click.IntRange(1), 1024, "N", "Connections at once."),
    _limit("--max-waiting", click.IntRange(1), 256, "N", "Connections of one address that wait for their client."),
    _limit("--max-choices", click.IntRange(1, 65_535), 16, "N", "Choices of one request."),
    _limit(
        "--max-body",
        click.IntRange(1),
        None,
        "BYTES",
        "Size of a request's body. Default: 64 KiB, and 32 bytes a token of context.",
    ),
    _limit("--max-prompt", click.IntRange(1), None, "TOKENS", "Length of a prompt. Default: what the context holds."),
    _limit("--header-timeout", _SECONDS, 10.0, "S", "Longest wait for a request's headers, seconds."),
    _limit("--body-timeout", _SECONDS, 60.0, "S", "Longest wait for a request's body, seconds."),
    _limit(
        "--idle-timeout", click.IntRange(1), 30, "S", "Longest pause between two requests of a connection, seconds."
    ),
    _limit("--send-timeout", _SECONDS, 60.0, "S", "Seconds a client may stop reading before it is disconnected."),
    _limit("--first-token-timeout", _SECONDS, 600.0, "S", "Longest wait for the server's first token, seconds."),
    _limit("--stall-timeout", _SECONDS, 120.0, "S", "Longest pause between two tokens of the server, seconds."),
    _limit("--ready-every", _SECONDS, 10.0, "S", "Seconds between two checks of the server's readiness."),
    _limit("--drain-timeout", click.IntRange(1), 30, "S", "Seconds for answers to end after SIGTERM."),
)


def run_options(command: Command) -> Command:
    """Add all options of `sidecar run`."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def settings_of(given: dict[str, Any]) -> "Settings":
    """The settings that the options say.

    Raises:
        SettingsError: an address that is none, or an engine that cannot be.
    """
    from pydantic import ValidationError

    from weightwarden.logger.formats.validation_message import first_complaint
    from weightwarden.logger.record import Engine
    from weightwarden.logger.serving.address import Address
    from weightwarden.logger.sidecar.errors import SettingsError
    from weightwarden.logger.sidecar.limits import Limits
    from weightwarden.logger.sidecar.settings import Settings

    try:
        engine = Engine(name=given["engine"], version=given["engine_version"], sampler=given["sampler"])
    except ValidationError as error:
        field, what = first_complaint(error)
        raise SettingsError(f"engine {field}: {what}") from None
    name = given["model_name"] or given["model_dir"].absolute().name
    return Settings(
        upstream=given["upstream"],
        upstream_model=given["upstream_model"] or name,
        upstream_key=given["upstream_key"],
        model_dir=given["model_dir"],
        model_name=name,
        max_model_len=given["max_model_len"],
        chat_template=given["chat_template"],
        neutral_defaults=given["sampling_defaults"] == "neutral",
        engine=engine,
        log=given["log"],
        signing_keys=given["signing_key"],
        seed_key=given["seed_key"],
        mark=given["mark"],
        client_seeds=given["client_seeds"],
        listen=Address.parse(given["listen"]),
        metrics=None if given["metrics"] is None else Address.parse(given["metrics"]),
        tls_certificate=given["tls_certificate"],
        tls_key=given["tls_key"],
        api_keys=given["api_keys"],
        release_tick=None if given["release_tick"] is None else given["release_tick"] / 1000,
        archives=given["archives"],
        checkpoint_every=given["checkpoint_every"],
        seal_every=given["seal_every"],
        limits=Limits(
            concurrent=given["max_concurrent"],
            connections=given["max_connections"],
            waiting=given["max_waiting"],
            choices=given["max_choices"],
            body=given["max_body"],
            prompt=given["max_prompt"],
            headers=given["header_timeout"],
            receive=given["body_timeout"],
            idle=given["idle_timeout"],
            send=given["send_timeout"],
            first_token=given["first_token_timeout"],
            stall=given["stall_timeout"],
            drain_timeout=given["drain_timeout"],
            ready=given["ready_every"],
        ),
    )
