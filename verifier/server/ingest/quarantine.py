"""Quarantine: archives, or missing ranges, that are kept out of the audit, with the reason."""

from sqlalchemy import Connection, insert, select, update

from weightwarden.verifier.server.database.schema import ARCHIVE, QUARANTINE

GRAVE = ("seal", "root", "fork")
"""Kinds that only an attack or a broken store explains."""


def quarantine_archive(connection: Connection, archive: int, kind: str, what: str, now: float) -> None:
    """Keep an archive out of the audit."""
    connection.execute(update(ARCHIVE).where(ARCHIVE.c.id == archive).values(state="quarantined"))
    note_archive(connection, archive, kind, what, now)


def note_archive(connection: Connection, archive: int, kind: str, what: str, now: float) -> None:
    """Record a fault of an archive. The same reason again is the same entry; another reason replaces it."""
    url = connection.execute(select(ARCHIVE.c.url).where(ARCHIVE.c.id == archive)).scalar_one()
    kept = connection.execute(
        select(QUARANTINE.c.kind, QUARANTINE.c.what).where(
            QUARANTINE.c.archive == archive, QUARANTINE.c.resolved.is_(None)
        )
    ).all()
    if [(row.kind, row.what) for row in kept] == [(kind, what)]:
        return
    release_archive(connection, archive, now)
    connection.execute(
        insert(QUARANTINE).values(kind=kind, place=url, what=what, archive=archive, since=now),
    )


def release_archive(connection: Connection, archive: int, now: float) -> None:
    """Remove an archive from quarantine after its fault has ended."""
    connection.execute(
        update(QUARANTINE).where(QUARANTINE.c.archive == archive, QUARANTINE.c.resolved.is_(None)).values(resolved=now)
    )


def set_gaps(connection: Connection, gaps: dict[tuple[str, int, int], str], now: float) -> None:
    """Set the missing ranges of logs.

    Args:
        gaps: (origin, start, end) of each, and the archive behind it.
    """
    known = {
        (row.origin, row.start, row.end): row
        for row in connection.execute(
            select(QUARANTINE).where(QUARANTINE.c.kind == "gap", QUARANTINE.c.resolved.is_(None))
        )
    }
    for key in known.keys() - gaps.keys():
        connection.execute(update(QUARANTINE).where(QUARANTINE.c.id == known[key].id).values(resolved=now))
    for key in sorted(gaps.keys() - known.keys()):
        origin, start, end = key
        before = [row.since for row in known.values() if row.origin == origin and row.start < end and row.end > start]
        connection.execute(
            insert(QUARANTINE).values(
                kind="gap",
                place=gaps[key],
                what=f"records {start} to {end - 1} of {origin} are in no archive that holds",
                origin=origin,
                start=start,
                end=end,
                since=min([now, *before]),  # a gap that shrinks or moves is not a new one
            )
        )
