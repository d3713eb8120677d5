"""Stamps of records in the database, which may have been removed."""

from collections.abc import Iterator

from sqlalchemy import ColumnElement, Connection, select

from weightwarden.logger.request_stamp import RequestStamp, StampQuery
from weightwarden.logger.store.errors import LogCorrupt
from weightwarden.logger.store.schema import REQUEST

PAGE = 4096
"""Rows that are read at a time."""


def stored_stamps(connection: Connection, query: StampQuery, after: int) -> list[tuple[int, RequestStamp]]:
    """Index and stamp of the next records after an index that have one and meet the query, `PAGE` unless it is the end.

    Raises:
        LogCorrupt: a value has another type.
    """
    rows = connection.execute(
        select(REQUEST.c.index, REQUEST.c.request_id, REQUEST.c.time)
        .where(REQUEST.c.index > after, *_conditions(query))
        .order_by(REQUEST.c.index)
        .limit(PAGE)
    )
    return [
        (index, stored_stamp(request_id, time, f"the request of entry {index}")) for index, request_id, time in rows
    ]


def _conditions(query: StampQuery) -> Iterator[ColumnElement[bool]]:
    if query.indices is not None:
        yield REQUEST.c.index >= query.indices.start
        yield REQUEST.c.index < query.indices.stop
    if query.request_ids is not None:
        yield REQUEST.c.request_id.in_(query.request_ids)
    if query.since is not None:
        yield REQUEST.c.time >= query.since
    if query.until is not None:
        yield REQUEST.c.time < query.until


def stored_stamp(request_id: object, time: object, place: str) -> RequestStamp:
    """A stored stamp.

    Raises:
        LogCorrupt: a value has another type.
    """
    if not isinstance(request_id, str) or not isinstance(time, int):
        raise LogCorrupt(f"{place} is not an id and a time")
    return RequestStamp(request_id, time)
