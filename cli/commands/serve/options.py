"""The options of `verify serve`, and the settings that they make."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from weightwarden.cli.options.quantities import FiniteRange, Positive, Size
from weightwarden.cli.options.shared import public_key_option
from weightwarden.verifier.model.identity import ModelIdentity

if TYPE_CHECKING:
    from weightwarden.verifier.server.settings import Settings

_FILE = click.Path(path_type=Path)
_SECONDS = FiniteRange(0, min_open=True)


def _with_default(flag: str, kind: "click.ParamType[Any]", default: object, metavar: str, text: str) -> Any:
    return click.option(flag, type=kind, default=default, show_default=True, metavar=metavar, help=text)


SERVE_OPTIONS = (
    click.option(
        "--archives",
        required=True,
        multiple=True,
        metavar="URL",
        help="Folder of archives (path or fsspec URL) to follow.",
    ),
    public_key_option(required=True),
    click.option(
        "--policy",
        "policy_path",
        type=_FILE,
        required=True,
        metavar="P",
        help="Policy file that `verify calibrate` wrote.",
    ),
    click.option(
        "--database",
        required=True,
        metavar="URL",
        help="Verdicts: a path (SQLite), or postgresql://...; made when new. Servers that share one share the work.",
    ),
    click.option(
        "--audit-key",
        type=_FILE,
        required=True,
        metavar="F",
        help="File with the auditor's secret key (16 bytes or more).",
    ),
    click.option(
        "--audit-rate",
        type=FiniteRange(0, 1, min_open=True),
        metavar="R",
        help="Audit this share of the records; or --compute-share.",
    ),
    click.option(
        "--compute-share",
        type=FiniteRange(0, 1, min_open=True),
        metavar="C",
        help="Audit as much as fits into this share of the machine's time, and never less than --min-audit-rate.",
    ),
    _with_default(
        "--min-audit-rate",
        FiniteRange(0, 1, min_open=True),
        0.001,
        "R",
        "Least share of the records, with --compute-share.",
    ),
    _with_default(
        "--start-index", click.IntRange(0), 0, "N", "Index in each log from which on its records are followed."
    ),
    _with_default("--poll-interval", _SECONDS, 30.0, "S", "Seconds between two looks for new archives."),
    _with_default(
        "--archive-interval",
        _SECONDS,
        7200.0,
        "S",
        "Seconds within which a new archive is expected: silence is a signal too.",
    ),
    _with_default("--max-lag", _SECONDS, 3600.0, "S", "Seconds that auditing an archive may take before it is said."),
    _with_default(
        "--lease-timeout",
        _SECONDS,
        30.0,
        "S",
        "Seconds without a sign of life after which others take over a server's work.",
    ),
    _with_default(
        "--stuck-after", _SECONDS, 1800.0, "S", "Seconds of work without progress after which the server ends itself."
    ),
    _with_default("--max-archive-size", Size(), "64GiB", "SIZE", "Larger files are no archives."),
    _with_default("--batch-records", click.IntRange(1, 4096), 32, "N", "Records that are replayed at once."),
    _with_default("--batch-tokens", click.IntRange(1), 4096, "N", "Their tokens, prompts included."),
    _with_default(
        "--alarm-level",
        FiniteRange(0, 1, min_open=True, max_open=True),
        1e-4,
        "P",
        "Probability that an honest series ever alarms, however long it is watched.",
    ),
    _with_default(
        "--watch-level",
        FiniteRange(0, 1, min_open=True, max_open=True),
        0.05,
        "P",
        "p-value at which the series enters the state watch (see --alarm-level).",
    ),
    _with_default(
        "--max-record-weight", click.IntRange(1, 2**31), 1024, "N", "Tokens of a record that weighs most in rates."
    ),
    click.option(
        "--max-model-len", type=click.IntRange(1), metavar="N", help="The server's context, if it was told one."
    ),
    click.option("--webhook", metavar="URL", help="Where incidents are posted to, signed (Standard Webhooks)."),
    click.option(
        "--webhook-secret", type=_FILE, metavar="F", help="File with the secret that signs them (24 bytes or more)."
    ),
    click.option(
        "--alarm-command",
        metavar="COMMAND",
        help="Program that is run for each incident, with its JSON on standard input.",
    ),
    click.option(
        "--listen",
        default="127.0.0.1:8090",
        show_default=True,
        metavar="HOST:PORT",
        help="Where the dashboard and the API are served.",
    ),
    click.option(
        "--api-keys",
        type=_FILE,
        metavar="F",
        help="File with the keys that users of dashboard and API come with, one a line; needed to serve.",
    ),
    click.option(
        "--read-keys",
        type=_FILE,
        metavar="F",
        help="File with keys that may look and acknowledge nothing (Prometheus).",
    ),
    click.option("--tls-certificate", type=_FILE, metavar="F", help="PEM file; with --tls-key."),
    click.option("--tls-key", type=_FILE, metavar="F", help="PEM file."),
    click.option("--show-text", is_flag=True, help="Show the tokens of flagged records in dashboard and API."),
    click.option(
        "--weights", type=Size(), metavar="SIZE", help="What is to be stolen. Default: the model's weight files."
    ),
    _with_default(
        "--compression", FiniteRange(1), 1.0, "X", "By what factor the attacker makes the weights smaller first."
    ),
    click.option(
        "--output-tokens-per-day",
        type=Positive(),
        metavar="N",
        help="Traffic of the bounds. Default: what the archives show.",
    ),
    click.option(
        "--tokens-per-tick",
        type=Positive(),
        metavar="N",
        help="Mean tokens that a stream releases on a tick of the sidecar.",
    ),
)


def weights_of(identity: ModelIdentity) -> float:
    """Size of a model's weight files, bytes."""
    return float(sum(path.stat().st_size for path in identity.path.glob("*.safetensors")))


def settings_of(given: dict[str, Any]) -> "Settings":
    """The settings that the options say; weights of no size where no option says one.

    Raises:
        MissingExtra: what the server needs is not installed. AddressError: an address that is none.
        click.UsageError: no budget, or two; or no API keys.
    """
    from weightwarden.logger.serving.address import Address
    from weightwarden.verifier.extras import needs_extra

    with needs_extra("serve"):
        from weightwarden.verifier.server.settings import Settings
    if (given["audit_rate"] is None) == (given["compute_share"] is None):
        raise click.UsageError("how much is to be audited? --audit-rate R or --compute-share C")
    if given["api_keys"] is None and not given["once"]:
        raise click.UsageError("--api-keys: without keys nobody may look; `openssl rand -hex 32` makes one")
    return Settings(
        archives=given["archives"],
        public_keys=given["public_key_path"],
        database=given["database"],
        audit_key=given["audit_key"],
        audit_rate=given["audit_rate"],
        compute_share=given["compute_share"] or 1.0,
        least_rate=given["min_audit_rate"],
        start_index=given["start_index"],
        poll_interval=given["poll_interval"],
        archive_interval=given["archive_interval"],
        max_lag=given["max_lag"],
        lease_timeout=given["lease_timeout"],
        stuck_after=given["stuck_after"],
        largest=int(given["max_archive_size"]),
        batch_records=given["batch_records"],
        batch_cost=given["batch_tokens"],
        alarm_level=given["alarm_level"],
        watch_level=given["watch_level"],
        max_record_weight=given["max_record_weight"],
        max_model_len=given["max_model_len"],
        webhook=given["webhook"],
        webhook_secret=given["webhook_secret"],
        command=tuple(shlex.split(given["alarm_command"] or "")),
        listen=Address.parse(given["listen"]),
        api_keys=given["api_keys"],
        read_keys=given["read_keys"],
        show_text=given["show_text"],
        tls_certificate=given["tls_certificate"],
        tls_key=given["tls_key"],
        weights_bytes=given["weights"] or 0.0,
        compression=given["compression"],
        tokens_per_day=given["output_tokens_per_day"],
        tokens_per_tick=given["tokens_per_tick"],
    )
