"""Start-up of a verification server: everything is read and opened before the first search, so errors show early."""

import os
import secrets
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from weightwarden.logger.archive.storage import listed_url
from weightwarden.logger.files.private import KeyFileError, read_private, require_distinct
from weightwarden.logger.serving.api_keys import ApiKeys
from weightwarden.logger.serving.event_log import Events
from weightwarden.logger.tlog.keys import PublicKeys
from weightwarden.text import printable
from weightwarden.verifier.audit_selection import read_audit_key
from weightwarden.verifier.policy.base import BasePolicy
from weightwarden.verifier.server.accounting.bookkeeper import Bookkeeper
from weightwarden.verifier.server.accounting.current import ExposureReader
from weightwarden.verifier.server.accounting.retention import Retention
from weightwarden.verifier.server.alerting.conditions import ConditionChecker
from weightwarden.verifier.server.alerting.notifier import Channel, Command, Notifier, Webhook
from weightwarden.verifier.server.audit.auditor import Auditor
from weightwarden.verifier.server.database.leases import Membership
from weightwarden.verifier.server.database.series import SeriesKey, bind
from weightwarden.verifier.server.database.verdict_database import VerdictDatabase
from weightwarden.verifier.server.errors import ServerSettingsError
from weightwarden.verifier.server.ingest.archive_scanner import ArchiveScanner
from weightwarden.verifier.server.ingest.audit_rate import ComputeBudget, DesignSource, FixedRate
from weightwarden.verifier.server.ingest.egress_follower import EgressFollower
from weightwarden.verifier.server.ingest.follower import Follower
from weightwarden.verifier.server.settings import Settings
from weightwarden.verifier.verification.executor import Executor

MIN_SECRET_BYTES = 24


@dataclass(frozen=True, kw_only=True)
class ServerParts:
    """The parts of a verification server, ready to work."""

    settings: Settings
    policy: BasePolicy
    verifier: Executor
    database: VerdictDatabase
    membership: Membership
    follower: Follower
    egress: EgressFollower
    auditor: Auditor
    bookkeeper: Bookkeeper
    exposure: ExposureReader
    retention: Retention
    watch: ConditionChecker
    notifier: Notifier
    api_keys: ApiKeys
    read_keys: ApiKeys | None
    clock: Callable[[], float]
    events: Events


def open_server(
    settings: Settings,
    executor: Executor,
    *,
    clock: Callable[[], float],
    sleep: Callable[[float], object],
    events: Events,
    monotonic: Callable[[], float] = time.monotonic,
) -> ServerParts:
    """Open a verification server.

    Args:
        clock: the time, seconds since 1970.
        monotonic: seconds by a clock that nobody can set, for leases.

    Raises:
        KeyFileError: a key file is invalid.
        ServerSettingsError: a setting is invalid.
        ArchiveUnreadable: no store has the URL of a folder of reports.
        VerdictsUnusable: the database cannot be opened.
        OtherSeries: the database holds verdicts under another policy.
    """
    _check(settings)
    settings = replace(settings, egress_reports=_tap_folders(settings.egress_reports))
    policy = executor.policy
    selection: DesignSource = (
        ComputeBudget(least=settings.least_rate, by=settings.audit_by)
        if settings.audit_rate is None
        else FixedRate(settings.audit_rate, settings.audit_by)
    )
    keys, audit_key = PublicKeys.read(settings.public_keys), read_audit_key(settings.audit_key)
    channels = _channels(settings)
    api_keys = ApiKeys() if settings.api_keys is None else ApiKeys.read(settings.api_keys)
    read_keys = None if settings.read_keys is None else ApiKeys.read(settings.read_keys)
    database = VerdictDatabase(settings.database)
    if off := database.unsynced():
        events.say("warning", why=f"PostgreSQL runs with {' and '.join(off)} off: a power cut loses verdicts")
    vocabulary = executor.replayer.identity.vocabulary
    length_limit = settings.max_model_len or executor.replayer.identity.context_length or 4096
    bookkeeper = Bookkeeper(
        database=database,
        policy=policy,
        vocabulary=vocabulary,
        longest=settings.max_record_weight,
        design=settings.least_design,
        length_limit=length_limit,
        clock=clock,
    )
    key = SeriesKey(policy_digest=policy.digest(), model_digest=executor.replayer.identity.digest)
    bind(database, key, clock(), bookkeeper.empty())
    if bookkeeper.upgrade():
        events.say("warning", why="the verdicts are of an earlier version: the limit of the series begins anew, now")
    if not bookkeeper.covers_design():
        why = "the limit of the series was made for a higher audit rate, or for shorter answers: it is wide from now on"
        events.say("warning", why=f"{why}; begin a new database")
    name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
    membership = Membership(
        database=database,
        name=name,
        takeover_seconds=settings.lease_timeout,
        channels=tuple(channel.name for channel in channels),
        monotonic=monotonic,
    )
    exposure = ExposureReader(
        settings=settings,
        vocabulary=vocabulary,
        length_limit=length_limit,
        leading=policy.leading_code,
        exact=policy.exact,
    )
    scanner = ArchiveScanner(
        database=database,
        membership=membership,
        folders=settings.archives,
        keys=keys,
        largest=settings.largest,
        clock=clock,
    )
    return ServerParts(
        settings=settings,
        policy=policy,
        verifier=executor,
        database=database,
        membership=membership,
        follower=Follower(
            database=database,
            membership=membership,
            scanner=scanner,
            keys=keys,
            quorum=settings.quorum,
            audit_key=audit_key,
            selection=selection,
            verifier=executor,
            start_index=settings.start_index,
            clock=clock,
            events=events,
        ),
        egress=EgressFollower(
            database=database,
            membership=membership,
            folders=settings.egress_reports,
            origins={key.name for key in keys},
            clock=clock,
            events=events,
        ),
        auditor=Auditor(
            membership=membership,
            verifier=executor,
            batch_records=settings.batch_records,
            batch_cost=settings.batch_cost,
            compute_share=settings.compute_share,
            clock=clock,
            sleep=sleep,
            events=events,
        ),
        bookkeeper=bookkeeper,
        exposure=exposure,
        retention=Retention(database=database, days=settings.retain_days, clock=clock, events=events),
        watch=ConditionChecker(
            database=database,
            membership=membership,
            folders=settings.archives,
            exposure=exposure,
            links_base=settings.links_base,
            model=settings.model,
            alarm_level=settings.alarm_level,
            watch_level=settings.watch_level,
            archive_interval=settings.archive_interval,
            egress_reports=settings.egress_reports,
            egress_stale_after=settings.egress_stale_after,
            max_lag=settings.max_lag,
            clock=clock,
        ),
        notifier=Notifier(database=database, membership=membership, channels=channels, clock=clock, events=events),
        api_keys=api_keys,
        read_keys=read_keys,
        clock=clock,
        events=events,
    )


def secret_files(settings: Settings) -> dict[str, Path | None]:
    """The files of secrets by their options. Each needs a secret of its own."""
    return {
        "--audit-key": settings.audit_key,
        "--api-keys": settings.api_keys,
        "--read-keys": settings.read_keys,
        "--webhook-secret": settings.webhook_secret,
        "--tls-key": settings.tls_key,
    }


def _check(settings: Settings) -> None:
    """Refuse settings that could only fail later."""
    if not settings.archives:
        raise ServerSettingsError("no folder of archives to follow")
    for folder in settings.archives:
        if "://" not in folder and not Path(folder).is_dir():
            raise ServerSettingsError(f"{printable(folder)}: there is no such folder of archives")
    for folder in settings.egress_reports:
        if "://" not in folder and not Path(folder).is_dir():
            raise ServerSettingsError(f"{printable(folder)}: there is no such folder of a tap's reports")
    if not 0 < settings.compute_share <= 1:
        raise ServerSettingsError(f"a share of the machine lies in (0, 1], not {settings.compute_share}")
    if not 0 < settings.alarm_level < settings.watch_level < 1:
        raise ServerSettingsError("the false-alarm probability lies below the one to watch at, both in (0, 1)")
    if (settings.tls_certificate is None) != (settings.tls_key is None):
        raise ServerSettingsError("TLS needs a certificate and its key")
    require_distinct(secret_files(settings))
    if settings.dashboard_url is not None and urlsplit(settings.dashboard_url).scheme not in ("http", "https"):
        raise ServerSettingsError(
            f"{printable(settings.dashboard_url)}: a dashboard's URL is http://... or https://..."
        )
    if (settings.webhook is None) != (settings.webhook_secret is None):
        raise ServerSettingsError("a webhook needs a secret to sign with, and the other way round")


def _tap_folders(given: Sequence[str]) -> tuple[str, ...]:
    """The folders of taps' reports, each in one form however it is written."""
    folders = tuple(listed_url(folder) for folder in given)
    if len(set(folders)) < len(folders):
        raise ServerSettingsError("each tap needs a folder of its own: one is given twice")
    return folders


def _channels(settings: Settings) -> list[Channel]:
    channels: list[Channel] = []
    if settings.webhook is not None and settings.webhook_secret is not None:
        parts = urlsplit(settings.webhook)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ServerSettingsError(
                "a webhook's URL is http://... or https://... (not repeated here: it may hold a token)"
            )
        secret = read_private(settings.webhook_secret).strip()
        if len(secret) < MIN_SECRET_BYTES:
            raise KeyFileError(f"{settings.webhook_secret}: a webhook's secret has at least {MIN_SECRET_BYTES} bytes")
        channels.append(Webhook(settings.webhook, secret))
    if settings.command:
        channels.append(Command(settings.command))
    return channels
