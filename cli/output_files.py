"""Output files that appear whole or not at all, and traffic checked against the model before any replay."""

import os
from collections.abc import Sequence
from pathlib import Path

from weightwarden.errors import WeightwardenError
from weightwarden.logger.files.atomic import PRIVATE, PUBLIC, write_whole
from weightwarden.logger.formats.location import PlacedRecord
from weightwarden.logger.formats.traffic_file import read_traffic
from weightwarden.verifier.errors import PolicyError
from weightwarden.verifier.model.compatibility import UnfitRecord, check_fits
from weightwarden.verifier.model.identity import ModelIdentity
from weightwarden.verifier.policy.base import BasePolicy


class OutputError(WeightwardenError, OSError):
    """An output file cannot be written."""


def check_writable(*paths: Path | None) -> None:
    """Refuse early what could not be written after the work.

    Raises:
        OutputError: a path's folder does not exist or is not writable, or the path is a folder.
    """
    for path in paths:
        if path is None:
            continue
        if path.is_dir():
            raise OutputError(f"{path}: is a folder")
        if not path.absolute().parent.is_dir() or not os.access(path.absolute().parent, os.W_OK):
            raise OutputError(f"{path}: its folder does not exist or is not writable")


def write_text(path: Path, text: str, *, public: bool = False) -> None:
    """Write a text file whole or not at all; its owner alone can read it unless it is public.

    Raises:
        OutputError: it cannot be written.
    """
    try:
        write_whole(path, lambda stream: stream.write(text.encode("utf-8")), PUBLIC if public else PRIVATE)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror or error}") from error


def read_all_traffic(paths: Sequence[Path]) -> list[PlacedRecord]:
    """The records of several traffic files, in order."""
    return [placed for path in paths for placed in read_traffic(path)]


def check_against_model(traffic: Sequence[PlacedRecord], identity: ModelIdentity) -> None:
    """Check every record against the model's vocabulary and context length.

    Raises:
        UnfitRecord: naming file, line (or index in the log) and field.
    """
    for placed in traffic:
        try:
            check_fits(placed.record, identity)
        except UnfitRecord as error:
            raise UnfitRecord(f"{placed.place}: {error}") from None


def check_against_policy(traffic: Sequence[PlacedRecord], policy: BasePolicy) -> None:
    """Check that the policy holds for every record.

    Raises:
        PolicyError: naming file and line of the first for which it does not.
    """
    for placed in traffic:
        try:
            policy.check_scheme(placed.record)
        except PolicyError as error:
            raise PolicyError(f"{placed.place}: engine.sampler: {error}") from None
