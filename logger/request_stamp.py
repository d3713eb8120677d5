"""Stamp of a record: its request and its time of day, beside the log."""

import re
from dataclasses import dataclass
from typing import NamedTuple

REQUEST_ID_PATTERN = "[A-Za-z0-9._-]{1,128}"


class RequestStamp(NamedTuple):
    """The request id and the time of a record. They are not in the record: removing them breaks no proof.

    Attributes:
        request_id: the client's id of the request, or the logger's (`is_request_id`).
        time: Unix time, milliseconds, of the answer's end. In a draft: of the answer's begin.
    """

    request_id: str
    time: int


@dataclass(frozen=True, kw_only=True)
class StampQuery:
    """Conditions on records and their stamps. All that are given must hold.

    Attributes:
        indices: indices of the records, or None for all.
        request_ids: ids of their requests, or None for all.
        since: first time, Unix time in milliseconds, or None.
        until: time after the last one, Unix time in milliseconds, or None.
    """

    indices: range | None = None
    request_ids: tuple[str, ...] | None = None
    since: int | None = None
    until: int | None = None


ALL_STAMPS = StampQuery()


def is_request_id(text: str) -> bool:
    """True for 1 to 128 ASCII letters, digits, dots, underscores and hyphens."""
    return re.fullmatch(REQUEST_ID_PATTERN, text) is not None
