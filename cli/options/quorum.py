"""Options for the witnesses that an auditor lists, the quorum made from them, and the text of a cosignature."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import click

from weightwarden.logger.tlog.cosignature import Cosignature, Quorum, WitnessKeys

Command = TypeVar("Command", bound=Callable[..., Any])

QUORUM_OPTIONS = (
    click.option(
        "--witness-key",
        "witness_key_path",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="File with the public keys of the witnesses that you trust, one a line. Requires --min-witnesses.",
    ),
    click.option(
        "--min-witnesses",
        type=click.IntRange(1),
        metavar="COUNT",
        help="Number of listed witnesses, more than half, that must have cosigned the log.",
    ),
)


def quorum_options(command: Command) -> Command:
    """Add --witness-key and --min-witnesses."""
    for option in reversed(QUORUM_OPTIONS):
        command = option(command)
    return command


def quorum_of(witness_key_path: Path | None, min_witnesses: int | None) -> Quorum | None:
    """The quorum for --witness-key and --min-witnesses; None without both.

    Raises:
        UsageError: one of the two is given without the other.
        KeyFileError: the file of keys cannot be used.
        QuorumError: the witnesses are fewer than required, or half of them suffice.
    """
    if witness_key_path is None and min_witnesses is None:
        return None
    if witness_key_path is None or min_witnesses is None:
        raise click.UsageError("--witness-key and --min-witnesses require each other")
    return Quorum(WitnessKeys.read(witness_key_path), min_witnesses)


def described(cosignature: Cosignature) -> str:
    """The witness's name, and the time that it stated, in UTC."""
    try:
        time = datetime.fromtimestamp(cosignature.time, tz=UTC).isoformat()
    except (OverflowError, ValueError, OSError):
        time = f"second {cosignature.time}"
    return f"{cosignature.witness.name} at {time}"
