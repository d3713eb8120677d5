"""Frames on the link between sidecar and gate. Each connection of a client has a link of its own."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from struct import Struct

_HEAD = Struct("!IBHB")


class Kind(IntEnum):
    """The kind of a frame: the meaning of its bytes.

    The gate sends `HELLO` (the client's address, and whether it uses TLS; JSON), then `DATA` (bytes of the client),
    `EOF` (the client sends no more) and `REPORT` (the schedule of a response; JSON).

    The sidecar sends `INTERIM` (bytes that leave on the next slot if no response is there), and responses. A streamed
    one begins with `BEGIN` (the number of its choices). `TEXT` is bytes of a whole response, or those before the first
    and after the last group. `GROUP` is a group of a choice. `END` ends the response. After what is to be released,
    `FINISH` ends the sending side, and `BYE` the connection.
    """

    HELLO = 1
    DATA = 2
    EOF = 3
    REPORT = 4
    INTERIM = 5
    BEGIN = 6
    TEXT = 7
    GROUP = 8
    END = 9
    FINISH = 10
    BYE = 11


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame.

    Attributes:
        kind: what it holds.
        payload: its bytes.
        choice: index of the choice of a `GROUP`, number of choices of a `BEGIN`.
        last: whether a `GROUP` is its choice's last.
    """

    kind: Kind
    payload: bytes = b""
    choice: int = 0
    last: bool = False

    def encode(self) -> bytes:
        """The frame's bytes."""
        return _HEAD.pack(len(self.payload), self.kind, self.choice, self.last) + self.payload


class FrameReader:
    """Reader of frames from bytes that come in any pieces."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that are complete with these bytes.

        Raises:
            ValueError: a kind is unknown.
        """
        self._buffer += data
        at = 0
        while len(self._buffer) - at >= _HEAD.size:
            length, kind, choice, last = _HEAD.unpack_from(self._buffer, at)
            start = at + _HEAD.size
            if len(self._buffer) - start < length:
                break
            at = start + length
            yield Frame(Kind(kind), bytes(self._buffer[start:at]), choice, bool(last))
        del self._buffer[:at]
