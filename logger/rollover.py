"""Rollover: records that are sealed, and whose archives were checked, leave the live database.

The log goes on as a new segment, which begins where an archive ends. The checkpoint of that size certifies the tree
before the segment, so the new segment is consistent with the one before.

After an interruption at any moment, the next rollover continues: a segment is recorded once the archives before it were
read and checked, and before anything is removed; records are removed a few at a time, from before the segment alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from weightwarden.errors import WeightwardenError
from weightwarden.logger.archive.check import check_archive
from weightwarden.logger.archive.errors import ArchiveRefused
from weightwarden.logger.archive.names import archive_name
from weightwarden.logger.archive.reader import read_archive
from weightwarden.logger.archive.storage import exists, joined
from weightwarden.logger.store.reader import LogReader
from weightwarden.logger.store.seals import SealBook
from weightwarden.logger.tlog.checkpoint import Checkpoint
from weightwarden.logger.tlog.keys import PublicKeys
from weightwarden.text import printable


class RolloverRefused(WeightwardenError, RuntimeError):
    """An archive that does not hold what the database would remove."""


@dataclass(frozen=True)
class Rollover:
    """Result of a rollover.

    Attributes:
        start: first record of the present segment.
        removed: number of records that were removed from the database.
    """

    start: int
    removed: int


def roll_over(
    log: str, folders: Sequence[str], keys: PublicKeys, *, keep: int, seen: Checkpoint | None = None
) -> Rollover:
    """Remove records from the live database that are in checked archives. The log's writer may be running.

    1. Find where the next segment begins: the end of the newest archive but `keep`, at most what an auditor has seen.
    2. Read every archive before it, and check that its records lead to the root that the database has there.
    3. Record the segment.
    4. Remove the records from before it, a few at a time, and give their space back.

    Args:
        log: the database.
        folders: folders that hold the archives (paths or fsspec URLs).
        keys: keys of the log.
        keep: number of newest archives whose records stay in the database too.
        seen: a checkpoint that an auditor checked; records after it stay. None: no such limit.

    Raises:
        LogUnreadable: the database cannot be opened.
        LogLocked: another process seals this log.
        LogCorrupt: the database is no valid log.
        RolloverRefused: an archive is missing, is invalid, or holds other records. Nothing was removed.
        ArchiveUnreadable: a folder or an archive cannot be read. Nothing was removed.
    """
    reader = LogReader(log)
    with SealBook(log) as book:
        # 1
        archives = reader.archives()
        present = reader.segment_start().size
        leaving = [
            (start, end)
            for start, end, _ in archives[: max(0, len(archives) - keep)]
            if end > present and (seen is None or end <= seen.size)
        ]
        if leaving:
            # 2
            _require_seen(reader, seen)
            for start, end in leaving:
                _check(reader, folders, keys, start, end)
            # 3
            book.begin_segment(reader.frontier(leaving[-1][1]))
        # 4
        removed = 0
        while some := book.remove_archived():
            removed += some
        while book.reclaim():
            pass
        return Rollover(reader.segment_start().size, removed)


def _require_seen(reader: LogReader, seen: Checkpoint | None) -> None:
    """Check that the log extends the checkpoint that an auditor saw."""
    if seen is None:
        return
    if seen.origin != reader.origin:
        raise RolloverRefused(f"the checkpoint seen is one of {printable(seen.origin)}, not of {reader.origin}")
    if reader.size() < seen.size or reader.frontier(seen.size).root() != seen.root:
        raise RolloverRefused(f"the checkpoint seen, of {seen.size} records, is not one of this log")


def _check(reader: LogReader, folders: Sequence[str], keys: PublicKeys, start: int, end: int) -> None:
    """Check that an archive holds records start to end - 1 of the database."""
    candidates = [joined(folder, archive_name(start, end)) for folder in folders]
    url = next((one for one in candidates if exists(one)), None)
    if url is None:
        raise RolloverRefused(
            f"{archive_name(start, end)}: not in {', '.join(map(printable, folders))}; the database keeps its records"
        )
    try:
        archive = read_archive(url, keys)
        roots = {size: reader.frontier(size).root() for size in (start, end)}
        if (archive.checkpoint.origin, archive.start, archive.end) != (reader.origin, start, end):
            raise RolloverRefused(f"{printable(url)}: holds other records than its name says")
        if findings := check_archive(archive, roots):
            raise RolloverRefused(f"{printable(url)}: {findings[0].what}; the database keeps its records")
    except ArchiveRefused as refused:
        raise RolloverRefused(f"{printable(url)}: {refused.what}; the database keeps its records") from None
