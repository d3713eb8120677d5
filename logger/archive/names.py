"""Names of the archives that a log seals."""

import re

ARCHIVE_NAME = re.compile(r"([0-9]{12,})-([0-9]{12,})\.parquet")
"""Name of a sealed archive: its first record, and the one after its last."""


def archive_name(start: int, end: int) -> str:
    """The name of the archive of records start to end - 1, and of its companion."""
    return f"{start:012}-{end:012}.parquet"


def archive_range(url: str) -> range | None:
    """The records that an archive's name states, or None for another name."""
    match = ARCHIVE_NAME.fullmatch(url.rpartition("/")[2])
    return None if match is None else range(int(match[1]), int(match[2]))
