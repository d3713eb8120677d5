"""The file format pcap (draft-ietf-opsawg-pcap): a header, then records of frames."""

import struct
from collections.abc import Iterator
from typing import BinaryIO

from weightwarden.verifier.egress.errors import CaptureError
from weightwarden.verifier.egress.frames import Frame

MAGICS = {
    b"\xd4\xc3\xb2\xa1": ("<", 1e-6),
    b"\xa1\xb2\xc3\xd4": (">", 1e-6),
    b"\x4d\x3c\xb2\xa1": ("<", 1e-9),
    b"\xa1\xb2\x3c\x4d": (">", 1e-9),
}
"""Byte order, and seconds of the fraction's unit, by the first bytes of a file."""
HEADER_BYTES = 24
RECORD_BYTES = 16
ETHERNET = 1
"""Link type of Ethernet frames, the only one that is read."""
MAX_FRAME_BYTES = 1 << 20


def link_type_fault(link_type: int) -> str:
    """The message about a capture of another link type."""
    return (
        f"link type {link_type}, not Ethernet: capture on the interface of the link itself, not on all interfaces (any)"
    )


class PcapReader:
    """Reader of a pcap file, which continues where it ended when the file has grown.

    Attributes:
        whole: offset after the last whole record, bytes.
    """

    def __init__(self, stream: BinaryIO, name: str) -> None:
        """A reader at the beginning of a file that has its whole header.

        Raises:
            CaptureError: the file is not a pcap file of Ethernet frames.
        """
        self._stream, self._name, self._number = stream, name, 0
        header = stream.read(HEADER_BYTES)
        order, self._unit = MAGICS[header[:4]]
        major, link = struct.unpack(f"{order}4xH14xI", header)
        if major != 2:
            raise CaptureError(name, f"pcap version {major}, not 2")
        if link & 0x03FFFFFF != ETHERNET:
            raise CaptureError(name, link_type_fault(link & 0x03FFFFFF))
        self._record = struct.Struct(f"{order}IIII")
        self.whole = HEADER_BYTES

    def events(self) -> Iterator[Frame]:
        """The frames up to the last whole record.

        Raises:
            CaptureError: a record has an impossible length.
        """
        read, unpack, unit, name = self._stream.read, self._record.unpack, self._unit, self._name
        while len(header := read(RECORD_BYTES)) == RECORD_BYTES:
            seconds, fraction, captured, length = unpack(header)
            if captured > MAX_FRAME_BYTES:
                raise CaptureError(name, f"frame {self._number + 1}: {captured} bytes, not a capture")
            data = read(captured)
            if len(data) < captured:
                break
            self._number += 1
            self.whole += RECORD_BYTES + captured
            yield Frame(seconds + fraction * unit, data, length, name, self._number)
