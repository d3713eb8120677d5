"""Capture files in the order of time: pcap or pcapng, compressed by gzip or not, rotated, and still being written."""

import gzip
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Protocol, Self, cast

from weightwarden.extras import needs_extra
from weightwarden.text import first_line
from weightwarden.verifier.egress.errors import CaptureError
from weightwarden.verifier.egress.frames import Event, Frame
from weightwarden.verifier.egress.pcap import HEADER_BYTES, MAGICS, PcapReader

PCAPNG_MAGIC = b"\x0a\x0d\x0d\x0a"
GZIP_MAGIC = b"\x1f\x8b"


class Reader(Protocol):
    """A reader of one file format. `whole` is the offset after the last whole frame, bytes."""

    whole: int

    def events(self) -> Iterator[Event]:
        """The events from that offset on."""


class CaptureFile:
    """An open capture file.

    Attributes:
        path: the file.
        unfinished: True if it ended within a frame when it was last read: it is still being written, or was cut off.
    """

    def __init__(self, path: Path) -> None:
        """A file at its beginning.

        Raises:
            CaptureError: the file cannot be opened, or is no capture.
            MissingExtra: the package that reads pcapng is missing.
        """
        self.path, self.unfinished = path, False
        try:
            self._raw = path.open("rb")
        except OSError as error:
            raise CaptureError(path, f"cannot be read: {error.strerror or error}") from None
        try:
            magic = self._raw.read(2)
            self._raw.seek(0)
            self._stream = cast(BinaryIO, gzip.GzipFile(fileobj=self._raw)) if magic == GZIP_MAGIC else self._raw
            self._reader = self._opened()
        except (EOFError, OSError, zlib.error) as error:
            self._raw.close()
            raise CaptureError(path, f"cannot be read: {first_line(error)}") from None
        except BaseException:
            self._raw.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._raw.close()

    def events(self) -> Iterator[Event]:
        """The events after those that were read before, up to the last whole frame.

        Raises:
            CaptureError: the file is malformed.
        """
        try:
            self._stream.seek(self._reader.whole)
            yield from self._reader.events()
            self._stream.seek(self._reader.whole)
            self.unfinished = bool(self._stream.read(1))
        except EOFError:
            self.unfinished = True
        except (OSError, zlib.error) as error:
            raise CaptureError(self.path, f"cannot be read: {first_line(error)}") from None

    def _opened(self) -> "Reader":
        header = self._stream.read(HEADER_BYTES)
        self._stream.seek(0)
        if header[:4] in MAGICS and len(header) == HEADER_BYTES:
            return PcapReader(self._stream, str(self.path))
        if header[:4] != PCAPNG_MAGIC:
            raise CaptureError(self.path, "neither a pcap nor a pcapng file")
        with needs_extra("egress"):
            from weightwarden.verifier.egress.pcapng import PcapngReader
        return PcapngReader(self._stream, str(self.path))


def in_order_of_time(paths: Sequence[Path]) -> list[Path]:
    """Capture files by the time of their first frame. A file without a frame comes last.

    Raises:
        CaptureError: a file is no capture.
    """
    return sorted(paths, key=_first_time)


def _first_time(path: Path) -> float:
    with CaptureFile(path) as capture:
        frames = (event.time for event in capture.events() if isinstance(event, Frame))
        return next(frames, float("inf"))
