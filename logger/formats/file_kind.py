"""Kind of a file by its first bytes: a log's database, an archive, or a traffic file."""

from pathlib import Path
from typing import Literal

FileKind = Literal["database", "archive", "traffic"]
_HEADERS: tuple[tuple[bytes, FileKind], ...] = (
    (b"SQLite format 3\0", "database"),
    (b"PAR1", "archive"),
    (b'{"', "traffic"),
    (b"{ ", "traffic"),
)
HEADER_BYTES = 16
NOT_AN_ARCHIVE: dict[FileKind, str] = {
    "database": "a log's database, not an archive: `verify log seal` makes archives of it",
    "traffic": "a traffic file, not an archive: `verify log import` makes an archive of it, and `verify run` takes it"
    " without --public-key",
}
"""Messages where an archive is expected."""
NOT_TRAFFIC: dict[FileKind, str] = {
    "database": "a log's database, not a traffic file: `verify log seal` makes archives of it, which are given with"
    " --public-key",
    "archive": "an archive of a log, not a traffic file: give --public-key",
}
"""Messages where a traffic file is expected."""


def kind_of(header: bytes) -> FileKind | None:
    """The kind of a file that begins with these bytes; None if it is none of them."""
    return next((kind for start, kind in _HEADERS if header.startswith(start)), None)


def kind_of_file(path: Path) -> FileKind | None:
    """The kind of a regular file; None if it is none of them, or cannot be read.

    Never ask this of a database that this process has open: closing the file would release its locks (POSIX `fcntl`).
    """
    if not path.is_file():
        return None  # reading a pipe would take its content
    try:
        with path.open("rb") as stream:
            return kind_of(stream.read(HEADER_BYTES))
    except OSError:
        return None
