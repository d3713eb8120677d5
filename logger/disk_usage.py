"""Disk usage of a database."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import URL, Connection, text


@dataclass(frozen=True, kw_only=True)
class DiskUsage:
    """Bytes of a database on disk.

    Attributes:
        parts: bytes by part: of SQLite `file` and `write-ahead log`; of PostgreSQL each table, with its indices.
        held: bytes of what the database holds: of SQLite all pages but the free ones; of PostgreSQL all.
        free: bytes of free pages of the file, which SQLite uses again or gives back. PostgreSQL: 0, not measured.
    """

    parts: dict[str, int]
    held: int
    free: int

    @property
    def total(self) -> int:
        """Bytes on disk now."""
        return sum(self.parts.values())


def disk_usage(connection: Connection, url: URL, tables: Iterable[str]) -> DiskUsage:
    """The disk usage of a connected database.

    Args:
        connection: a connection that may be read-only.
        url: the database.
        tables: names of its tables, for PostgreSQL.
    """
    if url.drivername == "sqlite":
        page, pages, free = (
            int(connection.exec_driver_sql(f"PRAGMA {name}").scalar_one())
            for name in ("page_size", "page_count", "freelist_count")
        )
        path = str(url.database)
        parts = {"file": _size(Path(path)), "write-ahead log": _size(Path(f"{path}-wal"))}
        return DiskUsage(parts=parts, held=page * (pages - free), free=page * free)
    of_table = text("SELECT pg_total_relation_size(to_regclass(quote_ident(:name)))")
    sizes = {name: connection.execute(of_table, {"name": name}).scalar_one() for name in sorted(tables)}
    parts = {name: int(size) for name, size in sizes.items() if size is not None}
    return DiskUsage(parts=parts, held=sum(parts.values()), free=0)


def _size(path: Path) -> int:
    """Bytes of a file, 0 if there is none."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
