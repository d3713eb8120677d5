"""The checks of `verify doctor`: the needs of a verification server with these settings, without starting it."""

import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

from weightwarden.errors import WeightwardenError
from weightwarden.logger.archive.errors import ArchiveUnreadable
from weightwarden.logger.archive.storage import list_archives, list_files
from weightwarden.logger.doctor.databases import database, local_file
from weightwarden.logger.doctor.files import (
    archive_folder,
    free_space,
    present_user,
    secret_file,
    shared_secrets,
    tls_files,
)
from weightwarden.logger.doctor.finding import Finding, fault, ok, warning
from weightwarden.logger.doctor.network import clock_after, exposure, free_address, without_secrets
from weightwarden.logger.files.private import KeyFileError, read_private
from weightwarden.logger.serving.address import exposures
from weightwarden.logger.serving.api_keys import ApiKeys
from weightwarden.logger.tlog.keys import PublicKeys
from weightwarden.verifier.audit_selection import read_audit_key
from weightwarden.verifier.model.identity import ModelIdentity
from weightwarden.verifier.policy.base import BasePolicy
from weightwarden.verifier.policy.file import read_policy
from weightwarden.verifier.server.database.verdict_database import VERDICT_DATABASE
from weightwarden.verifier.server.settings import Settings
from weightwarden.verifier.server.startup import MIN_SECRET_BYTES, secret_files

_MAKE_KEY = "(umask 077; openssl rand -hex 32 > {path})"


def examine(
    settings: Settings,
    policy_path: Path,
    identify: Callable[[], ModelIdentity],
    check_replayer: Callable[[], None],
    now: Callable[[], datetime],
) -> list[Finding]:
    """The findings for a verification server with these settings, in the order of the start.

    Args:
        settings: the settings.
        policy_path: file with the policy.
        identify: reads the model, with its weights.
        check_replayer: raises an error that names the fault if the replayer's packages or its server cannot be used.
        now: this machine's clock, with a zone.
    """
    findings: list[Finding] = [present_user()]
    policy = _policy(policy_path, findings)
    _model(policy, identify, findings)
    _replayer(check_replayer, findings)
    findings.append(_public_keys(settings.public_keys))
    findings += _secrets(settings)
    if settings.tls_certificate is not None and settings.tls_key is not None:
        findings.append(tls_files("TLS", settings.tls_certificate, settings.tls_key, now()))
    elif settings.tls_certificate is not None or settings.tls_key is not None:
        findings.append(fault("TLS", "needs a certificate and its key", "give --tls-certificate and --tls-key"))
    findings += [archive_folder("archives", folder, writes=False) for folder in settings.archives]
    findings += [_reports(folder) for folder in settings.egress_reports]
    findings += database("verdicts", VERDICT_DATABASE, settings.database, option="--database")
    file = local_file(VERDICT_DATABASE, settings.database)
    findings += free_space("disk", [] if file is None else [file])
    findings += _clock(settings, now())
    findings += _delivery(settings)
    findings.append(free_address("address", settings.listen, option="--listen"))
    return [*findings, *exposure(exposures(settings.listen, keys=True, tls=settings.tls_key is not None))]


def _policy(path: Path, findings: list[Finding]) -> BasePolicy | None:
    """The policy, if it can be used."""
    try:
        policy = read_policy(path)
    except WeightwardenError as error:
        findings.append(fault("policy", str(error), "make one with verify calibrate, or correct --policy"))
        return None
    made = policy.made_for
    findings.append(ok("policy", f"{path}: for {made.scheme} of {made.engine} {made.engine_version}, {made.replay}"))
    return policy


def _model(policy: BasePolicy | None, identify: Callable[[], ModelIdentity], findings: list[Finding]) -> None:
    """Add the check that the model can be read, and is the policy's."""
    try:
        model = identify()
    except WeightwardenError as error:
        advice = "copy the model's safetensors, tokenizer and configuration there, or correct --model"
        findings.append(fault("model", str(error), advice))
        return
    if policy is not None and model.digest != policy.made_for.model_digest:
        found = f"{model.path}: {model.digest}, and the policy is for {policy.made_for.model_digest}"
        findings.append(fault("model", found, "give the model of the policy, or calibrate on this one"))
        return
    findings.append(
        ok("model", f"{model.path}: {model.vocabulary} tokens{', as the policy names it' if policy else ''}")
    )


def _replayer(check_replayer: Callable[[], None], findings: list[Finding]) -> None:
    """Add the check of the replayer's packages or server."""
    try:
        check_replayer()
    except WeightwardenError as error:
        findings.append(fault("replayer", str(error), "see the message; for a server: verify vllm check"))
    else:
        findings.append(ok("replayer", "can be loaded"))


def _public_keys(path: Path) -> Finding:
    try:
        PublicKeys.read(path)
    except KeyFileError as error:
        return fault("public keys", str(error), "copy the log's *.key.pub there, on a way its operator cannot reach")
    return ok("public keys", f"{path}: readable")


def _secrets(settings: Settings) -> list[Finding]:
    """The checks of the key files."""
    make = _MAKE_KEY.format(path=settings.audit_key)
    findings = [secret_file("audit key", settings.audit_key, read_audit_key, make=make)[0]]
    for check, path in (("API keys", settings.api_keys), ("read keys", settings.read_keys)):
        if path is not None:
            findings.append(secret_file(check, path, ApiKeys.read, make=_MAKE_KEY.format(path=path))[0])
    if settings.webhook_secret is not None:
        make = f"(umask 077; openssl rand -base64 32 > {settings.webhook_secret})"
        findings.append(secret_file("webhook secret", settings.webhook_secret, _read_webhook_secret, make=make)[0])
    return findings + shared_secrets(secret_files(settings))


def _read_webhook_secret(path: Path) -> bytes:
    secret = read_private(path).strip()
    if len(secret) < MIN_SECRET_BYTES:
        raise KeyFileError(f"{path}: a webhook's secret has at least {MIN_SECRET_BYTES} bytes")
    return secret


def _reports(folder: str) -> Finding:
    """The check of the folder of a tap's reports."""
    check, place = "egress reports", without_secrets(folder)
    try:
        count = len(list_files(folder, ".json").files)
    except ArchiveUnreadable as error:
        advice = "correct --egress-reports, or give this user access to it"
        return fault(check, str(error).replace(folder, place), advice)
    if not count:
        return warning(check, f"{place}: holds no report yet", "run verify egress --json, or look at the copy job")
    return ok(check, f"{place}: {count} reports")


def _clock(settings: Settings, now: datetime) -> list[Finding]:
    """The check that this machine's clock is not behind the newest local archive."""
    newest: list[datetime] = []
    for folder in settings.archives:
        try:
            files = [] if "://" in folder else list_archives(folder).files
            newest += [datetime.fromtimestamp(Path(file.url).stat().st_mtime, tz=UTC) for file in files]
        except (ArchiveUnreadable, OSError):
            continue  # `archive_folder` reports it
    return [clock_after("clock", now, max(newest), "the newest archive")] if newest else []


def _delivery(settings: Settings) -> list[Finding]:
    """The checks of the ways by which incidents are delivered."""
    findings: list[Finding] = []
    if settings.webhook is not None:
        parts = urlsplit(settings.webhook)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            findings.append(fault("webhook", "its URL is not http://... or https://...", "correct --webhook"))
        elif settings.webhook_secret is None:
            findings.append(fault("webhook", "has no secret to sign with", "give --webhook-secret"))
        else:
            findings.append(ok("webhook", f"{parts.scheme}://{parts.hostname}: not called by this check"))
    if settings.command:
        program = settings.command[0]
        if shutil.which(program) is None:
            advice = "correct --alarm-command, or make the program executable"
            findings.append(fault("alarm command", f"{program}: no such program", advice))
        else:
            findings.append(ok("alarm command", f"{program}: not run by this check"))
    if settings.webhook is None and not settings.command:
        found = "none: incidents are shown in the dashboard and in /metrics only"
        findings.append(warning("delivery", found, "give --webhook or --alarm-command, or alert by Prometheus"))
    return findings
