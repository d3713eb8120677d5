"""Input of a command's arguments: traffic files, or archives of a log."""

from collections.abc import Sequence
from pathlib import Path

import click

from weightwarden.cli.progress import counter
from weightwarden.errors import WeightwardenError
from weightwarden.logger.archive.seen import read_seen
from weightwarden.logger.archive.storage import archive_urls
from weightwarden.logger.tlog.cosignature import Quorum
from weightwarden.logger.tlog.keys import PublicKeys
from weightwarden.verifier.audit_selection import AuditDraw
from weightwarden.verifier.statistics.sampling_design import AuditBy
from weightwarden.verifier.verification.run_input import RunInput, from_archives, from_traffic


class UnsignedTraffic(WeightwardenError):
    """Traffic files without --unsafe-unsigned: they carry no signature."""


def sample_of(rate: float | None, key_path: Path | None, by: AuditBy) -> AuditDraw | None:
    """The audit for --audit-rate, --audit-key and --audit-by; None for all records.

    Raises:
        UsageError: --audit-rate and --audit-key are not given together, or neither with --audit-by tokens.
        AuditError: the rate or the key is invalid.
    """
    if (rate is None) != (key_path is None):
        raise click.UsageError("--audit-rate and --audit-key require each other")
    if rate is None and by != "records":
        raise click.UsageError(f"--audit-by {by} requires --audit-rate")
    return AuditDraw.of(rate, key_path, by)


def read_input(
    arguments: Sequence[str],
    public_key_path: Path | None,
    seen_path: Path | None,
    audit: AuditDraw | None,
    quorum: Quorum | None,
    *,
    unsigned: bool,
) -> RunInput:
    """The records of checked archives, or, without a public key, of traffic files.

    Args:
        arguments: archives or traffic files.
        public_key_path: file with the log's public keys, or None.
        seen_path: file with the checkpoint that was seen before, or None.
        audit: the audit, or None for all records.
        quorum: the witnesses that must have cosigned the log, or None.
        unsigned: True: traffic files are accepted.

    Raises:
        UsageError: options exclude each other.
        UnsignedTraffic: traffic files are not accepted.
        LogDoesNotHold: the archives failed their check.
        TrafficError: a traffic file is invalid.
        AuditError: the audit draws no record.
    """
    if public_key_path is not None:
        keys = PublicKeys.read(public_key_path)
        seen = None if seen_path is None else read_seen(seen_path, keys)
        with counter("Records of the log checked") as progress:
            return from_archives(archive_urls(arguments), keys, seen, audit, progress, quorum)
    if seen_path is not None:
        raise click.UsageError("--seen requires --public-key")
    if quorum is not None:
        raise click.UsageError("--witness-key requires --public-key")
    if not unsigned:
        raise UnsignedTraffic(
            "no --public-key: traffic files are unsigned and can be forged;"
            " pass --unsafe-unsigned if you trust their source, or archives of a log and --public-key"
        )
    return from_traffic([Path(argument) for argument in arguments], audit)
