"""Options of `sidecar run`, and the settings made from them."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from weightwarden.cli.options.adapters import ADAPTER_OPTIONS
from weightwarden.logger.sidecar.reading.families import FAMILIES
from weightwarden.logger.sidecar.reading.reasoning import REASONING
from weightwarden.sampler.schemes import SCHEMES

if TYPE_CHECKING:
    from weightwarden.logger.release import Pace
    from weightwarden.logger.sidecar.settings import Settings

Command = TypeVar("Command", bound=Callable[..., Any])

NONE = "none"
_FILE = click.Path(path_type=Path)
_SECONDS = click.FloatRange(min=0, min_open=True)


def _limit(flag: str, kind: "click.ParamType[Any]", default: object, metavar: str, text: str) -> Any:
    return click.option(flag, type=kind, default=default, show_default=default is not None, metavar=metavar, help=text)


_OPTIONS = (
    click.option(
        "--upstream",
        required=True,
        multiple=True,
        metavar="[NAME=]URL",
        help="URL of the inference server, e.g. http://10.0.0.2:8000. Repeat for several servers of one model: each"
        " request goes to the least loaded, and the record names it. Default of NAME: host and port.",
    ),
    click.option(
        "--model-dir",
        type=_FILE,
        required=True,
        metavar="FOLDER",
        help="Folder with a trusted copy of the model's tokenizer and configuration.",
    ),
    click.option(
        "--log",
        required=True,
        metavar="URL",
        help="Database of the log: a path (SQLite), or postgresql://... A missing log is made.",
    ),
    click.option(
        "--seed-key", type=_FILE, required=True, metavar="FILE", help="File with the seed key (`sidecar key`)."
    ),
    click.option(
        "--signing-key",
        type=_FILE,
        required=True,
        multiple=True,
        metavar="FILE",
        help="File with the log's signing key (`verify log key new`). Repeat for old and new key while keys rotate.",
    ),
    click.option(
        "--mark",
        type=_FILE,
        metavar="FILE",
        help="File with the log's mark, which exposes an old copy of the log. Default: beside the first signing key.",
    ),
    click.option(
        "--sampler",
        type=click.Choice(sorted(SCHEMES)),
        help="Sampling scheme of the server's engine (docs/traffic.md). Required without --engine-profile.",
    ),
    click.option(
        "--engine-version",
        metavar="VERSION",
        help="Version of the server's engine, e.g. 0.32.0. Required without --engine-profile.",
    ),
    click.option(
        "--engine-profile",
        type=_FILE,
        metavar="FILE",
        help="TOML file with the engine profile: engine, version, scheme, grammar backend and speculation of the server"
        " in one. Records then name its digest.",
    ),
    click.option(
        "--unlisted-engine",
        is_flag=True,
        help="Start although the scheme was not compared with this engine and version. Answers may then not replay.",
    ),
    click.option(
        "--grammar-backend",
        metavar="NAME==VERSION",
        help="Grammar backend of the server, e.g. guidance==1.7.6, with the version of llguidance there. Default: none;"
        " structured output is refused.",
    ),
    click.option(
        "--speculative-decoding",
        is_flag=True,
        help="The server decodes speculatively. Requests above temperature 0 are refused: they cannot be replayed.",
    ),
    click.option("--engine", metavar="NAME", help="Name of the server's engine. Default: the profile's, or vllm."),
    click.option(
        "--listen", default="127.0.0.1:8080", show_default=True, metavar="HOST:PORT", help="Address for clients."
    ),
    click.option(
        "--metrics", metavar="HOST:PORT", help="Address for Prometheus metrics (/metrics). Default: no metrics."
    ),
    click.option(
        "--model-name", metavar="NAME", help="Name of the model for clients and in records. Default: the folder's name."
    ),
    *ADAPTER_OPTIONS,
    click.option(
        "--upstream-model", metavar="NAME", help="Name of the model on the server. Default: the same as --model-name."
    ),
    click.option("--upstream-key", type=_FILE, metavar="FILE", help="File with the API key for the server."),
    click.option(
        "--logprobs-url",
        metavar="URL",
        help="URL of a trusted vLLM server with the same weights, which gives clients log probabilities. Default: none;"
        " requests for log probabilities are refused.",
    ),
    click.option(
        "--logprobs-model", metavar="NAME", help="Name of the model there. Default: the same as --upstream-model."
    ),
    click.option("--logprobs-key", type=_FILE, metavar="FILE", help="File with the API key for that server."),
    click.option(
        "--max-model-len",
        type=click.IntRange(2),
        metavar="TOKENS",
        help="Context length of the server, in tokens, if set. Default: the model's.",
    ),
    click.option(
        "--chat-template", type=_FILE, metavar="FILE", help="File with a chat template that replaces the model's."
    ),
    click.option(
        "--tool-parser",
        type=click.Choice([*FAMILIES, NONE]),
        help="Form in which the model calls tools. Default: guessed from the chat template.",
    ),
    click.option(
        "--reasoning-parser",
        type=click.Choice([*REASONING, NONE]),
        help="Form in which the model reasons. Default: guessed from the chat template.",
    ),
    click.option(
        "--reasoning-content",
        is_flag=True,
        help="Give clients the reasoning also by its older name, reasoning_content.",
    ),
    click.option(
        "--stops-in-reasoning",
        is_flag=True,
        help="Let stop strings end an answer within its reasoning, too.",
    ),
    click.option(
        "--sampling-defaults",
        type=click.Choice(["model", "neutral"]),
        default="model",
        show_default=True,
        help="Sampling defaults for requests: generation_config.json (model), or temperature 1 without"
        " filters (neutral).",
    ),
    click.option(
        "--client-seeds",
        type=click.Choice(["replace", "allow"]),
        default="replace",
        show_default=True,
        help="Replace the seeds of clients, or allow them. With allow, client and server together can choose a seed.",
    ),
    click.option(
        "--unknown-fields",
        type=click.Choice(["ignore", "refuse"]),
        default="ignore",
        show_default=True,
        help="Ignore fields of requests that are not known here, or refuse such requests. No field is forwarded.",
    ),
    click.option(
        "--api-keys",
        type=_FILE,
        metavar="FILE",
        help="File with the API keys of clients, one a line. Default: every client is served.",
    ),
    click.option(
        "--cache-salt",
        type=click.Choice(["tenant", "off"]),
        default="tenant",
        show_default=True,
        help="With --api-keys, send vLLM a salt of its prefix cache for each key, so that keys share no cached prompts,"
        " or send none.",
    ),
    click.option(
        "--allowed-origins",
        multiple=True,
        metavar="ORIGIN",
        help="Origin of web pages whose scripts may read answers (CORS), such as https://chat.example.org, or * for"
        " all. Repeat for several. Default: none.",
    ),
    click.option(
        "--tls-certificate", type=_FILE, metavar="FILE", help="PEM file with the TLS certificate. Requires --tls-key."
    ),
    click.option("--tls-key", type=_FILE, metavar="FILE", help="PEM file with the TLS key."),
    click.option(
        "--release-tick",
        type=click.IntRange(1, 60_000),
        metavar="MILLISECONDS",
        help="Milliseconds between the ticks on which tokens are released. Default: tokens are released at once.",
    ),
    click.option(
        "--release-pace",
        metavar="TOKENS/MILLISECONDS",
        help="Pace at which answers leave, such as 8/400: the first token, then groups of so many tokens, so many"
        " milliseconds apart. Records then hold the moments at which answers left. Default: tokens are released at"
        " once.",
    ),
    click.option(
        "--record-index",
        type=click.Choice(["send", "omit"]),
        help="Send clients the indices of their records, or omit them. Default: omit with --release-tick or"
        " --release-pace, else send.",
    ),
    click.option(
        "--archives", metavar="URL", help="Folder for sealed archives (path or fsspec URL). Default: do not seal."
    ),
    click.option(
        "--witness-url",
        multiple=True,
        metavar="URL",
        help="URL (submission prefix) of a witness that cosigns checkpoints (C2SP tlog-witness). Repeat for several.",
    ),
    click.option("--witness-key", type=_FILE, metavar="FILE", help="File with the witnesses' public keys, one a line."),
    _limit(
        "--min-witnesses",
        click.IntRange(0),
        0,
        "COUNT",
        "Fewest cosignatures of an archive's checkpoint. Records without them are not sealed.",
    ),
    _limit("--witness-timeout", _SECONDS, 10.0, "SECONDS", "Seconds that an answer of a witness may take."),
    _limit("--checkpoint-every", _SECONDS, 60.0, "SECONDS", "Seconds between signed checkpoints."),
    _limit("--seal-every", _SECONDS, 3600.0, "SECONDS", "Seconds between archives."),
    click.option(
        "--keep-sealed",
        type=click.IntRange(0),
        metavar="ARCHIVES",
        help="Remove sealed records from the log's database, except those of this many newest archives, once their"
        " archives were checked. Default: all stay.",
    ),
    click.option(
        "--workers",
        type=click.IntRange(1, 64),
        default=1,
        show_default=True,
        metavar="COUNT",
        help="Number of processes that answer requests, on one address and with one log. A worker that ends is"
        " replaced. The limits of choices and connections are those of one worker.",
    ),
    _limit("--max-concurrent", click.IntRange(1), 256, "COUNT", "Largest number of choices under way."),
    _limit("--max-connections", click.IntRange(1), 1024, "COUNT", "Largest number of open connections."),
    _limit(
        "--max-waiting",
        click.IntRange(1),
        256,
        "COUNT",
        "Largest number of connections of one client address that wait for their client.",
    ),
    _limit("--max-choices", click.IntRange(1, 65_535), 16, "COUNT", "Largest number of choices of one request."),
    _limit(
        "--max-body",
        click.IntRange(1),
        None,
        "BYTES",
        "Largest request body, in bytes. Default: 64 KiB plus 32 bytes per token of context.",
    ),
    _limit(
        "--max-prompt",
        click.IntRange(1),
        None,
        "TOKENS",
        "Longest prompt, in tokens. Default: the context length minus 1.",
    ),
    _limit("--header-timeout", _SECONDS, 10.0, "SECONDS", "Seconds in which the headers of a request must arrive."),
    _limit("--body-timeout", _SECONDS, 60.0, "SECONDS", "Seconds in which the body of a request must arrive."),
    _limit(
        "--idle-timeout",
        click.IntRange(1),
        30,
        "SECONDS",
        "Seconds that a connection may be idle between two requests.",
    ),
    _limit("--send-timeout", _SECONDS, 60.0, "SECONDS", "Seconds a client may stop reading before it is disconnected."),
    _limit("--first-token-timeout", _SECONDS, 600.0, "SECONDS", "Seconds to wait for the server's first token."),
    _limit("--stall-timeout", _SECONDS, 120.0, "SECONDS", "Seconds to wait between two tokens of the server."),
    _limit("--ready-every", _SECONDS, 10.0, "SECONDS", "Seconds between checks of the server's readiness."),
    _limit("--drain-timeout", click.IntRange(1), 30, "SECONDS", "Seconds that answers may continue after SIGTERM."),
)


def run_options(command: Command) -> Command:
    """Add all options of `sidecar run`."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def settings_of(given: dict[str, Any]) -> "Settings":
    """The settings for the options.

    Raises:
        SettingsError: an address, an origin or the engine is invalid, or two options do not go together.
        EngineProfileError: the engine profile cannot be read, or is none.
        PaceError: the pace is invalid.
        BackendRefused: grammars of that backend cannot be verified.
    """
    from weightwarden.cli.sidecar.engine import engine_settings
    from weightwarden.logger.serving.address import Address
    from weightwarden.logger.sidecar.cors import checked_origin
    from weightwarden.logger.sidecar.limits import Limits
    from weightwarden.logger.sidecar.settings import Settings
    from weightwarden.logger.sidecar.upstream.replica_url import replica_urls

    served = engine_settings(given)
    name = given["model_name"] or given["model_dir"].absolute().name
    return Settings(
        upstreams=replica_urls(given["upstream"]),
        upstream_model=given["upstream_model"] or name,
        upstream_key=given["upstream_key"],
        adapters=given["adapter"],
        adapter_folders=given["adapters"],
        logprobs_url=given["logprobs_url"],
        logprobs_model=given["logprobs_model"],
        logprobs_key=given["logprobs_key"],
        model_dir=given["model_dir"],
        model_name=name,
        max_model_len=given["max_model_len"],
        chat_template=given["chat_template"],
        neutral_defaults=given["sampling_defaults"] == "neutral",
        tool_parser=given["tool_parser"],
        reasoning_parser=given["reasoning_parser"],
        reasoning_content=given["reasoning_content"],
        stops_in_reasoning=given["stops_in_reasoning"],
        engine=served.engine,
        unlisted_engine=given["unlisted_engine"],
        grammar_backend=served.grammar_backend,
        speculative_decoding=served.speculative_decoding,
        log=given["log"],
        signing_keys=given["signing_key"],
        seed_key=given["seed_key"],
        mark=given["mark"],
        client_seeds=given["client_seeds"],
        unknown_fields=given["unknown_fields"],
        listen=Address.parse(given["listen"]),
        metrics=None if given["metrics"] is None else Address.parse(given["metrics"]),
        tls_certificate=given["tls_certificate"],
        tls_key=given["tls_key"],
        api_keys=given["api_keys"],
        cache_salt=given["cache_salt"],
        allowed_origins=tuple(map(checked_origin, given["allowed_origins"])),
        release_tick=None if given["release_tick"] is None else given["release_tick"] / 1000,
        release_pace=_pace(given),
        record_index=given["record_index"],
        archives=given["archives"],
        witness_urls=given["witness_url"],
        witness_keys=given["witness_key"],
        min_witnesses=given["min_witnesses"],
        witness_timeout=given["witness_timeout"],
        checkpoint_every=given["checkpoint_every"],
        seal_every=given["seal_every"],
        keep_sealed=given["keep_sealed"],
        workers=given["workers"],
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


def _pace(given: dict[str, Any]) -> "Pace | None":
    """The pace of release.

    Raises:
        PaceError: the text is no pace.
        SettingsError: another option does not go with a pace.
    """
    from weightwarden.logger.release import Pace
    from weightwarden.logger.sidecar.errors import SettingsError

    if given["release_pace"] is None:
        return None
    if given["release_tick"] is not None:
        raise SettingsError("--release-pace, --release-tick: give one of them; a pace has ticks of its own")
    if given["record_index"] == "send":
        raise SettingsError("--record-index send: with --release-pace a record is made once its answer has left")
    return Pace.parse(given["release_pace"])
