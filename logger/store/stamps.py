"""Stamps of records in the database, which may have been removed."""

from collections.abc import Iterator

from sqlalchemy import ColumnElement, Connection, select

from weightwarden.logger.request_stamp import RequestStamp
from weightwarden.logger.store.errors import LogCorrupt
from weightwarden.logger.store.schema import REQUEST

PAGE = 4096
"""Rows that are read at a time."""


def stored_stamps(connection: Connection, *conditions: ColumnElement[bool]) -> Iterator[tuple[int, RequestStamp]]:
    """Index and stamp of the records that have one, in log order.

    Args:
        connection: connection for reading.
        conditions: conditions that all rows meet.

    Raises:
        LogCorrupt: a value has another type.
    """
    rows = connection.execution_options(yield_per=PAGE).execute(
        select(REQUEST.c.index, REQUEST.c.request_id, REQUEST.c.time).where(*conditions).order_by(REQUEST.c.index)
    )
    for index, request_id, time in rows:
        yield index, stored_stamp(request_id, time, f"the request of entry {index}")


def stored_stamp(request_id: object, time: object, place: str) -> RequestStamp:
    """A stored stamp.

    Raises:
        LogCorrupt: a value has another type.
    """
    if not isinstance(request_id, str) or not isinstance(time, int):
        raise LogCorrupt(f"{place} is not an id and a time")
    return RequestStamp(request_id, time)
