"""Selected records of checked archives, read from the archives on demand."""

from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import Any

from weightwarden.logger.archive.check import certified_entries
from weightwarden.logger.archive.reader import Archive
from weightwarden.logger.formats.canonical import decode_record
from weightwarden.logger.formats.location import Place
from weightwarden.logger.record import Record


class SelectedRecords:
    """Records of archives in log order. Only their indices in the log are held."""

    def __init__(self, archives: Sequence[Archive], indices: "array[int]") -> None:
        self._archives, self.indices = archives, indices
        self._starts = [archive.start for archive in archives]
        starts = [*self._starts, archives[-1].end]
        self._bounds = [bisect_right(indices, start - 1) for start in starts]

    def records(self) -> Iterator[Record]:
        """All selected records, in order.

        Raises:
            ArchiveUnreadable: an archive can no longer be read.
            ArchiveRefused: an archive has changed since its check.
        """
        for archive, first, last in zip(self._archives, self._bounds[:-1], self._bounds[1:], strict=True):
            if first == last:
                continue
            wanted = iter(self.indices[first:last])
            ahead = next(wanted)
            for index, entry in certified_entries(archive):
                if index == ahead:
                    yield decode_record(entry)
                    ahead = next(wanted, -1)

    def place(self, place: int) -> Place:
        """The location of the record at a place among the selected records."""
        index = self.indices[place]
        return Place(self._archives[bisect_right(self._starts, index) - 1].url, index, "index")

    def ranges(self) -> list[dict[str, Any]]:
        """The range of each archive and its selected records, for a report."""
        return [
            {
                "archive": archive.url,
                "root": archive.checkpoint.root.hex(),
                "start": archive.start,
                "end": archive.end,
                "selected": self.indices[first:last].tolist(),
            }
            for archive, first, last in zip(self._archives, self._bounds[:-1], self._bounds[1:], strict=True)
        ]
