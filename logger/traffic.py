"""The traffic file: JSON lines of records, as anybody can produce it (unsigned)."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from pydantic import ValidationError

from logger.errors import TrafficError
from logger.record import Record

MAX_LINE_BYTES = 16 * 2**20
"""A record of a million tokens fits; a line beyond this is refused unread."""


@dataclass(frozen=True)
class PlacedRecord:
    """A record and where it stands."""

    record: Record
    path: Path
    line: int


class _DuplicateKey(ValueError):
    """A JSON object names a field twice, so that two readers could see two records."""


def read_traffic(path: Path | str) -> list[PlacedRecord]:
    """All records of a traffic file, in order.

    Raises:
        TrafficError: unreadable, empty, or a line that is not exactly one strict record (file, line and field named).
    """
    path = Path(path)
    try:
        with path.open("rb") as stream:
            records = list(_records(path, stream))
    except OSError as error:
        raise TrafficError(f"cannot be read: {error.strerror or error}", path=path) from error
    if not records:
        raise TrafficError("holds no records", path=path)
    return records


def _records(path: Path, stream: BinaryIO) -> Iterator[PlacedRecord]:
    number = 0
    while line := stream.readline(MAX_LINE_BYTES + 1):
        number += 1
        if len(line) > MAX_LINE_BYTES:
            raise TrafficError(f"line is longer than {MAX_LINE_BYTES} bytes", path=path, line=number)
        yield PlacedRecord(parse_record(line, path=path, line=number), path, number)


def parse_record(text: bytes, *, path: Path, line: int) -> Record:
    """The record that one line holds.

    Raises:
        TrafficError: not UTF-8, not JSON, cut off, or not a strict record.
    """
    if not text.strip():
        raise TrafficError("empty line", path=path, line=line)
    try:
        fields = json.loads(text.decode("utf-8"), object_pairs_hook=_unique_keys)
    except UnicodeDecodeError as error:
        raise TrafficError(f"not UTF-8 at byte {error.start}", path=path, line=line) from None
    except json.JSONDecodeError as error:
        if not text.endswith(b"\n"):
            raise TrafficError("truncated last line (no line end, and not whole JSON)", path=path, line=line) from None
        raise TrafficError(f"not JSON: {error.msg} at column {error.colno}", path=path, line=line) from None
    except RecursionError:
        raise TrafficError("not JSON: nested too deeply", path=path, line=line) from None
    except ValueError as error:
        raise TrafficError(f"not strict JSON: {error}", path=path, line=line) from None
    if not isinstance(fields, dict):
        raise TrafficError("not a JSON object", path=path, line=line)
    try:
        return Record.model_validate(fields)
    except ValidationError as error:
        raise _as_traffic_error(error, path, line) from None


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        names = [name for name, _ in pairs]
        raise _DuplicateKey(f"field {next(n for n in names if names.count(n) > 1)!r} appears twice")
    return fields


_UNION_TAGS = ("int", "str", "constrained-int", "constrained-str")
"""What pydantic adds to a location to say which member of a union complained."""


def _as_traffic_error(error: ValidationError, path: Path, line: int) -> TrafficError:
    """The first complaint, with its dotted field; a complaint about several fields names its own."""
    first = error.errors(include_url=False)[0]
    parts = [str(part) for part in first["loc"] if part not in _UNION_TAGS]
    at = first.get("ctx", {}).get("at")
    field = ".".join([*parts, at] if at else parts)
    what = first["msg"]
    if first["type"] == "extra_forbidden":
        what = "unknown field"
    elif first["type"] == "missing":
        what = "missing"
    if len(error.errors()) > 1:
        what += f" (and {len(error.errors()) - 1} more)"
    return TrafficError(what, path=path, line=line, field=field or None)
