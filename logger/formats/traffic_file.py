"""The traffic file: records as JSON lines, unsigned, which any recorder can write."""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from weightwarden.logger.errors import TrafficError
from weightwarden.logger.formats.file_kind import NOT_TRAFFIC, kind_of
from weightwarden.logger.formats.location import PlacedRecord
from weightwarden.logger.formats.strict_json import strict_object
from weightwarden.logger.record import Record
from weightwarden.sampler.validation_message import field_and_fault

MAX_LINE_BYTES = 16 * 2**20
"""Largest line. A record of a million tokens fits; a longer line is refused unread."""
RETOKENISED = "retokenised"
"""Field of a line beside the record's: true if its output token ids were made from text. Records of a log lack it."""
RETOKENISED_MEANS = (
    "special tokens and how the answer ended are not seen, and a mismatch may be another tokenisation of the same text"
)


@dataclass(frozen=True)
class TrafficFile:
    """A traffic file that was read.

    Attributes:
        sha256: SHA-256 of the bytes that were read.
        records: all records, in order.
    """

    sha256: bytes
    records: list[PlacedRecord]


def read_traffic(path: Path | str) -> list[PlacedRecord]:
    """All records of a traffic file, in order (`read_traffic_file`)."""
    return read_traffic_file(path).records


def read_traffic_file(path: Path | str) -> TrafficFile:
    """All records of a traffic file, in order, and the digest of its bytes. The file is read once (`stream_traffic`).

    Raises:
        TrafficError: the file is unreadable or empty, or a line is not exactly one strict record. The message names
            file, line and field.
    """
    digest = hashlib.sha256()
    records = list(stream_traffic(path, digest.update))
    return TrafficFile(digest.digest(), records)


def stream_traffic(path: Path | str, read: Callable[[bytes], object] = lambda _: None) -> Iterator[PlacedRecord]:
    """The records of a traffic file, in order, one line in memory at a time.

    Args:
        path: the file.
        read: receives the bytes of each line before its record is yielded, for a digest of what was read.

    Raises:
        TrafficError: the file is unreadable or empty, or a line is not exactly one strict record. The message names
            file, line and field.
    """
    path = Path(path)
    number = 0
    if path.is_dir():
        raise TrafficError("a folder, not a traffic file; a folder of archives is given with --public-key", path=path)
    try:
        with path.open("rb") as stream:
            while line := stream.readline(MAX_LINE_BYTES + 1):
                number += 1
                if number == 1 and (kind := kind_of(line)) in NOT_TRAFFIC:
                    raise TrafficError(NOT_TRAFFIC[kind], path=path)
                if len(line) > MAX_LINE_BYTES:
                    raise TrafficError(f"line is longer than {MAX_LINE_BYTES} bytes", path=path, line=number)
                read(line)
                yield parse_line(line, path=path, line=number)
    except OSError as error:
        raise TrafficError(f"cannot be read: {error.strerror or error}", path=path) from error
    if not number:
        raise TrafficError("holds no records", path=path)


def traffic_line(record: Record, *, retokenised: bool = False) -> str:
    """A record as a line of a traffic file, with the newline."""
    text = record.model_dump_json(exclude_defaults=True)
    return (text[:-1] + f',"{RETOKENISED}":true}}' if retokenised else text) + "\n"


def parse_record(text: bytes, *, path: Path, line: int) -> Record:
    """The record in a line (`parse_line`)."""
    return parse_line(text, path=path, line=line).record


def parse_line(text: bytes, *, path: Path, line: int) -> PlacedRecord:
    """The record in a line, with the line's place and flags.

    Raises:
        TrafficError: the line is not UTF-8, not JSON, cut off, or no strict record.
    """
    if not text.strip():
        raise TrafficError("empty line", path=path, line=line)
    try:
        fields = strict_object(text.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise TrafficError(f"not UTF-8 at byte {error.start}", path=path, line=line) from None
    except json.JSONDecodeError as error:
        if not text.endswith(b"\n"):
            raise TrafficError("truncated last line (no line end, and not whole JSON)", path=path, line=line) from None
        raise TrafficError(f"not JSON: {error.msg} at column {error.colno}", path=path, line=line) from None
    except ValueError as error:
        raise TrafficError(f"not strict JSON: {error}", path=path, line=line) from None
    retokenised = fields.pop(RETOKENISED, False)
    if not isinstance(retokenised, bool):
        raise TrafficError("neither true nor false", path=path, line=line, field=RETOKENISED)
    try:
        return PlacedRecord(Record.model_validate(fields), str(path), line, retokenised=retokenised)
    except ValidationError as error:
        field, what = field_and_fault(error)
        raise TrafficError(what, path=path, line=line, field=field) from None
