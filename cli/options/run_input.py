"""The input that a command's arguments name: traffic files, or archives of a log."""

from collections.abc import Sequence
from pathlib import Path

import click

from weightwarden.cli.progress import counter
from weightwarden.errors import WeightwardenError
from weightwarden.logger.archive.storage import archive_urls
from weightwarden.logger.archive.witness import read_witness
from weightwarden.logger.tlog.keys import PublicKeys
from weightwarden.verifier.verification.run_input import AuditDraw, RunInput, from_archives, from_traffic


class UnsignedTraffic(WeightwardenError):
    """Traffic files, which carry no signature, were given without --unsafe-unsigned."""


def sample_of(rate: float | None, key_path: Path | None) -> AuditDraw | None:
    """The audit that --audit-rate and --audit-key ask for; None for all records.

    Raises:
        UsageError: one of the two without the other. AuditError: an impossible rate, or a key that is none.
    """
    if (rate is None) != (key_path is None):
        raise click.UsageError("--audit-rate and --audit-key go together")
    return AuditDraw.of(rate, key_path)


def read_input(
    arguments: Sequence[str],
    public_key_path: Path | None,
    witness_path: Path | None,
    audit: AuditDraw | None,
    *,
    unsigned: bool,
) -> RunInput:
    """The records of archives of a log, which are checked, or where there is no key to check them, of traffic files.

    Args:
        unsigned: whether traffic files are accepted.

    Raises:
        UsageError: options that do not go together. UnsignedTraffic: traffic files that are not accepted.
        LogDoesNotHold, TrafficError, AuditError.
    """
    if public_key_path is not None:
        keys = PublicKeys.read(public_key_path)
        witness = None if witness_path is None else read_witness(witness_path, keys)
        with counter("Records of the log checked") as progress:
            return from_archives(archive_urls(arguments), keys, witness, audit, progress)
    if witness_path is not None:
        raise click.UsageError("--witness needs --public-key")
    if not unsigned:
        raise UnsignedTraffic(
            "no --public-key: traffic files are unsigned, whoever wrote them could have written anything;"
            " pass --unsafe-unsigned if you trust how they came here, or archives of a log and --public-key"
        )
    return from_traffic([Path(argument) for argument in arguments], audit)
