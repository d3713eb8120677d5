"""Options of `verify serve`, and the settings made from them."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from weightwarden.cli.options.quantities import FiniteRange, Positive, Size
from weightwarden.cli.options.quorum import QUORUM_OPTIONS, quorum_of
from weightwarden.cli.options.shared import AUDIT_BY_OPTION, public_key_option
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
        multiple=True,
        metavar="URL",
        help="Folder of archives to follow (path or fsspec URL). May be repeated.",
    ),
    public_key_option(required=False),
    *QUORUM_OPTIONS,
    click.option(
        "--policy",
        "policy_path",
        type=_FILE,
        metavar="FILE",
        help="Policy file, made by `verify calibrate`.",
    ),
    click.option(
        "--models",
        "models_path",
        type=_FILE,
        metavar="FILE",
        help="TOML file of several models, a table [[model]] for each. Replaces --archives, --public-key, --policy and"
        " --model.",
    ),
    click.option(
        "--resident-models",
        type=click.IntRange(1),
        metavar="COUNT",
        help="Number of models in memory at most, with --models; others are loaded when records wait for them."
        " Default: all.",
    ),
    click.option(
        "--database",
        required=True,
        metavar="URL",
        help="Database of verdicts: a path (SQLite), or postgresql://... Missing ones are made."
        " Servers with the same database share the work.",
    ),
    click.option(
        "--audit-key",
        type=_FILE,
        required=True,
        metavar="FILE",
        help="File with the audit key, a secret of at least 16 bytes.",
    ),
    click.option(
        "--audit-rate",
        type=FiniteRange(0, 1, min_open=True),
        metavar="RATE",
        help="Share of the records to audit, in (0, 1]. Alternative: --compute-share.",
    ),
    AUDIT_BY_OPTION,
    click.option(
        "--compute-share",
        type=FiniteRange(0, 1, min_open=True),
        metavar="SHARE",
        help="Share of this machine's time for audits. The audit rate follows from it, and is at least"
        " --min-audit-rate.",
    ),
    _with_default(
        "--min-audit-rate",
        FiniteRange(0, 1, min_open=True),
        0.001,
        "RATE",
        "Smallest audit rate with --compute-share.",
    ),
    _with_default("--start-index", click.IntRange(0), 0, "INDEX", "Index of the first record to follow in each log."),
    _with_default("--poll-interval", _SECONDS, 30.0, "SECONDS", "Seconds between checks for new archives."),
    _with_default(
        "--archive-interval",
        _SECONDS,
        7200.0,
        "SECONDS",
        "Seconds within which a new archive is expected. A later one raises an incident.",
    ),
    click.option(
        "--egress-reports",
        multiple=True,
        metavar="URL",
        help="Folder of a tap's reports to follow, made by `verify egress --json` (path or fsspec URL). May be"
        " repeated, for several taps.",
    ),
    _with_default(
        "--egress-stale-after",
        _SECONDS,
        86_400.0,
        "SECONDS",
        "Seconds after the end of a tap's newest report after which an incident is raised.",
    ),
    _with_default(
        "--max-lag",
        _SECONDS,
        3600.0,
        "SECONDS",
        "Seconds that the audit of an archive may take before an incident is raised.",
    ),
    _with_default(
        "--lease-timeout",
        _SECONDS,
        30.0,
        "SECONDS",
        "Seconds after which another server takes over the work of a silent one.",
    ),
    _with_default(
        "--stuck-after", _SECONDS, 1800.0, "SECONDS", "Seconds of work without progress after which the server exits."
    ),
    click.option(
        "--retain-verdicts",
        type=FiniteRange(0, min_open=True),
        metavar="DAYS",
        help="Days that verdicts and token evidence of records that are not flagged are kept. Default: for ever.",
    ),
    _with_default(
        "--max-archive-size", Size(), "64GiB", "SIZE", "Largest archive file. Larger files are reported and not read."
    ),
    _with_default(
        "--batch-records",
        click.IntRange(1, 4096),
        32,
        "RECORDS",
        "Largest number of records that a worker takes at once.",
    ),
    _with_default(
        "--batch-tokens",
        click.IntRange(1),
        4096,
        "TOKENS",
        "Largest number of tokens that a worker takes at once, prompts included.",
    ),
    _with_default(
        "--alarm-level",
        FiniteRange(0, 1, min_open=True, max_open=True),
        1e-4,
        "PROBABILITY",
        "Probability that an honest series ever raises an alarm, over any length of time.",
    ),
    _with_default(
        "--watch-level",
        FiniteRange(0, 1, min_open=True, max_open=True),
        0.05,
        "PROBABILITY",
        "p-value at which the series enters the state watch.",
    ),
    _with_default(
        "--max-record-weight",
        click.IntRange(1, 2**31),
        1024,
        "TOKENS",
        "Weight limit of a record in rates, in tokens. Longer records weigh as much.",
    ),
    click.option(
        "--max-model-len",
        type=click.IntRange(1),
        metavar="TOKENS",
        help="Context length of the inference server, in tokens, if set. Default: the policy's, or vLLM's.",
    ),
    click.option("--webhook", metavar="URL", help="URL to which incidents are posted, signed (Standard Webhooks)."),
    click.option(
        "--webhook-secret",
        type=_FILE,
        metavar="FILE",
        help="File with the secret that signs webhook posts, at least 24 bytes.",
    ),
    click.option(
        "--alarm-command",
        metavar="COMMAND",
        help="Program to run for each incident, which it gets as JSON on standard input.",
    ),
    click.option(
        "--dashboard-url",
        metavar="URL",
        help="URL of the dashboard as browsers reach it, for the links of notices. Default: relative links.",
    ),
    click.option(
        "--listen",
        default="127.0.0.1:8090",
        show_default=True,
        metavar="HOST:PORT",
        help="Address of the dashboard and the API.",
    ),
    click.option(
        "--api-keys",
        type=_FILE,
        metavar="FILE",
        help="File with the API keys for dashboard and API, one a line. Required to serve.",
    ),
    click.option(
        "--read-keys",
        type=_FILE,
        metavar="FILE",
        help="File with API keys that may read only, e.g. for Prometheus.",
    ),
    click.option(
        "--tls-certificate", type=_FILE, metavar="FILE", help="PEM file with the TLS certificate. Requires --tls-key."
    ),
    click.option("--tls-key", type=_FILE, metavar="FILE", help="PEM file with the TLS key."),
    click.option("--show-text", is_flag=True, help="Show the tokens of flagged records in dashboard and API."),
    click.option(
        "--weights",
        type=Size(),
        metavar="SIZE",
        help="Size of the weights at risk. Default: the size of the model's weight files.",
    ),
    _with_default(
        "--compression", FiniteRange(1), 1.0, "FACTOR", "Factor by which an attacker compresses the weights first."
    ),
    click.option(
        "--output-tokens-per-day",
        type=Positive(),
        metavar="TOKENS",
        help="Output tokens a day, for the bounds. Default: the rate in the archives.",
    ),
    click.option(
        "--tokens-per-tick",
        type=Positive(),
        metavar="TOKENS",
        help="Mean number of tokens that a stream releases on a tick of the sidecar.",
    ),
)


REQUIRED = {"archives": "--archives", "public_key_path": "--public-key", "policy_path": "--policy"}
"""Options that each model needs, by their parameters."""


def weights_of(identity: ModelIdentity) -> float:
    """Size of a model's weight files, bytes."""
    return float(sum(path.stat().st_size for path in identity.path.glob("*.safetensors")))


def settings_of(given: dict[str, Any]) -> "Settings":
    """The settings for the options. Weights without --weights have size 0 here.

    Raises:
        MissingExtra: a package of the server is not installed.
        AddressError: an address is invalid.
        click.UsageError: an option is missing, not exactly one of --audit-rate and --compute-share is given, or only
            one of --witness-key and --min-witnesses.
        KeyFileError: the witnesses' keys cannot be used.
    """
    from weightwarden.extras import needs_extra
    from weightwarden.logger.serving.address import Address

    with needs_extra("serve"):
        from weightwarden.verifier.server.settings import Settings
    for name, option in REQUIRED.items():
        if not given[name]:
            raise click.UsageError(f"missing option {option}")
    if (given["audit_rate"] is None) == (given["compute_share"] is None):
        raise click.UsageError("give exactly one of --audit-rate and --compute-share")
    if given["api_keys"] is None and not given["once"]:
        raise click.UsageError(
            "missing option --api-keys: the dashboard and the API need keys; `openssl rand -hex 32` makes one"
        )
    return Settings(
        archives=given["archives"],
        public_keys=given["public_key_path"],
        quorum=quorum_of(given["witness_key_path"], given["min_witnesses"]),
        database=given["database"],
        audit_key=given["audit_key"],
        audit_rate=given["audit_rate"],
        audit_by=given["audit_by"],
        compute_share=given["compute_share"] or 1.0,
        least_rate=given["min_audit_rate"],
        start_index=given["start_index"],
        poll_interval=given["poll_interval"],
        archive_interval=given["archive_interval"],
        egress_reports=given["egress_reports"],
        egress_stale_after=given["egress_stale_after"],
        max_lag=given["max_lag"],
        lease_timeout=given["lease_timeout"],
        stuck_after=given["stuck_after"],
        retain_days=given["retain_verdicts"],
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
        dashboard_url=given["dashboard_url"],
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
