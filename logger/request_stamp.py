"""Stamp of a record: its request and its time of day, beside the log."""

import re
from typing import NamedTuple

MAX_REQUEST_ID = 128
"""Largest number of characters of a request id."""
_REQUEST_ID = re.compile(rf"[A-Za-z0-9._-]{{1,{MAX_REQUEST_ID}}}")


class RequestStamp(NamedTuple):
    """The request id and the time of a record. They are not in the record: removing them breaks no proof.

    Attributes:
        request_id: the client's id of the request, or the logger's (`is_request_id`).
        time: Unix time, milliseconds, of the answer's end. In a draft: of the answer's begin.
    """

    request_id: str
    time: int


def is_request_id(text: str) -> bool:
    """True for 1 to `MAX_REQUEST_ID` letters, digits, dots, underscores and hyphens of ASCII."""
    return _REQUEST_ID.fullmatch(text) is not None
