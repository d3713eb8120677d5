"""The file format pcapng (draft-ietf-opsawg-pcapng), by the library python-pcapng: frames and drop counters."""

import struct
import warnings
from collections.abc import Iterator
from typing import Any, BinaryIO

from pcapng import FileScanner
from pcapng.blocks import BasePacketBlock, EnhancedPacket, InterfaceDescription, InterfaceStatistics, SectionHeader
from pcapng.exceptions import PcapngException

from weightwarden.text import first_line, printable
from weightwarden.verifier.egress.errors import CaptureError
from weightwarden.verifier.egress.frames import Event, Frame, Loss
from weightwarden.verifier.egress.pcap import ETHERNET, MAX_FRAME_BYTES, link_type_fault

MAX_INTERFACES = 256
_DROPS = {"isb_ifdrop": "dropped by the interface", "isb_osdrop": "dropped by the operating system"}
_REFUSED = (
    PcapngException,
    ArithmeticError,
    AttributeError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
)
"""Exceptions that a file's content can cause in the library."""


class _BoundedStream:
    """A stream that refuses to read more at once than a block can hold.

    Attributes:
        ended: True if it ended within what was last read.
    """

    def __init__(self, stream: BinaryIO, name: str) -> None:
        self._stream, self._name = stream, name
        self.ended = False

    def read(self, size: int) -> bytes:
        """So many bytes, or fewer at the end.

        Raises:
            CaptureError: no block is so large.
        """
        if not 0 <= size <= MAX_FRAME_BYTES:
            raise CaptureError(self._name, f"a block of {size} bytes, not a capture")
        data = self._stream.read(size)
        self.ended = len(data) < size
        return data

    def tell(self) -> int:
        """The offset."""
        return self._stream.tell()


class PcapngReader:
    """Reader of a pcapng file, which continues where it ended when the file has grown.

    Attributes:
        whole: offset after the last whole block, bytes.
    """

    def __init__(self, stream: BinaryIO, name: str) -> None:
        """A reader at the beginning of a file."""
        self._stream, self._name, self._number = stream, name, 0
        self._bounded = _BoundedStream(stream, name)
        self._scanner = FileScanner(self._bounded)
        self._dropped: dict[tuple[int, str], int] = {}
        self._time = 0.0
        self.whole = 0

    def events(self) -> Iterator[Event]:
        """The frames, and the losses that the counters tell of, up to the last whole block.

        Raises:
            CaptureError: the file is malformed, or a frame is not an Ethernet frame.
        """
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            blocks = iter(self._scanner)
            while (found := self._read(blocks)) is not None:
                yield from found

    def _read(self, blocks: Iterator[Any]) -> list[Event] | None:
        """The events of the next block; None if it is not there as a whole."""
        try:
            block = next(blocks)
            found = self._events_of(block)
        except StopIteration:
            return None
        except _REFUSED as error:
            if isinstance(error, CaptureError):
                raise
            if self._bounded.ended:
                return None
            what = f"after frame {self._number}: malformed: {printable(first_line(error))}"
            raise CaptureError(self._name, what) from None
        self.whole = self._stream.tell()
        return found

    def _events_of(self, block: Any) -> list[Event]:
        if isinstance(block, BasePacketBlock):
            if block.interface.link_type != ETHERNET:
                raise CaptureError(self._name, link_type_fault(block.interface.link_type))
            self._number += 1
            self._time = float(getattr(block, "timestamp", self._time))
            frame = Frame(self._time, block.packet_data, block.packet_len, self._name, self._number)
            lost = int(block.options.get("epb_dropcount", 0)) if isinstance(block, EnhancedPacket) else 0
            return [Loss(lost, "dropped before a frame", self._name), frame] if lost else [frame]
        if isinstance(block, InterfaceDescription) and len(self._scanner.current_section.interfaces) > MAX_INTERFACES:
            raise CaptureError(self._name, f"more than {MAX_INTERFACES} interfaces")
        if isinstance(block, SectionHeader):
            self._dropped.clear()
        if isinstance(block, InterfaceStatistics):
            return self._losses(block)
        return []

    def _losses(self, block: Any) -> list[Event]:
        """The growth of an interface's drop counters since its last statistics."""
        found: list[Event] = []
        for option, what in _DROPS.items():
            if option not in block.options:
                continue
            key = (block.interface_id, option)
            count, before = int(block.options[option]), self._dropped.get(key, 0)
            if count > before:
                self._dropped[key] = count
                found.append(Loss(count - before, what, self._name))
        return found
