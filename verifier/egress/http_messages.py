"""HTTP/1.1 messages in the bytes of a connection, framed strictly: the exact byte where each ends is known."""

import re
from dataclasses import dataclass
from typing import Literal, Protocol

MAX_HEAD_BYTES = 1 << 16
MAX_LINE_BYTES = 1 << 12
_REQUEST = re.compile(rb"([A-Z]{1,16}) (/[!-~]{0,1024}) HTTP/1\.1\r\n")
_RESPONSE = re.compile(rb"HTTP/1\.1 ([1-5][0-9]{2})(?: [^\r\n\0]{0,256})?\r\n")
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\r\n\0]*?)[ \t]*\r\n")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,8})(?:[ \t]*;[^\r\n\0]*)?\r\n")
_Framing = Literal["head", "length", "chunk", "size", "after", "trailer", "close", "done"]


class Malformed(ValueError):
    """Bytes that are no HTTP/1.1 message."""


class Body(Protocol):
    """A receiver of a message's body."""

    def add(self, data: bytes) -> None:
        """Receive the next bytes of the body."""


@dataclass(frozen=True, kw_only=True)
class Head:
    """The head of a message.

    Attributes:
        method: method of a request; empty for a response.
        path: path of a request; empty for a response.
        status: status of a response; 0 for a request.
        fields: fields by their name in lower case; the values of several fields of a name are joined by commas.
    """

    method: str
    path: str
    status: int
    fields: dict[bytes, bytes]


class MessageReader:
    """Reader of one message.

    Attributes:
        head: the head, once it is whole.
        done: True once the message has ended.
    """

    def __init__(self, body: Body, *, response: bool) -> None:
        """A reader before the message's first byte.

        Args:
            body: receives the body.
            response: True for a response, False for a request.
        """
        self._body, self._response = body, response
        self._framing: _Framing = "head"
        self._held = bytearray()
        self._left = 0
        self.head: Head | None = None

    @property
    def done(self) -> bool:
        return self._framing == "done"

    def add(self, data: bytes) -> bytes:
        """Read the next bytes; returns those after the end of the message.

        Raises:
            Malformed: they are not of a message.
        """
        while data and self._framing != "done":
            if self._framing == "close":
                self._body.add(data)
                return b""
            if self._framing in ("length", "chunk"):
                part, data = data[: self._left], data[self._left :]
                self._left -= len(part)
                self._body.add(part)
                if not self._left:
                    self._framing = "done" if self._framing == "length" else "after"
            else:
                data = self._line_or_head(data)
        return data

    def _line_or_head(self, data: bytes) -> bytes:
        """Read a head, or a line between chunks; returns the bytes after it."""
        ending, limit = (b"\r\n\r\n", MAX_HEAD_BYTES) if self._framing == "head" else (b"\r\n", MAX_LINE_BYTES)
        if self._held:
            start = max(0, len(self._held) - len(ending))
            self._held += data
            at = self._held.find(ending, start)
            data = bytes(self._held) if at >= 0 else b""
        else:
            at = data.find(ending)
            if at < 0:
                self._held += data
        if at < 0:
            if len(self._held) > limit:
                raise Malformed("a head or line that is too long")
            return b""
        self._held.clear()
        line, rest = data[: at + len(ending)], data[at + len(ending) :]
        if self._framing == "head":
            self._begin(line)
        elif self._framing == "after":
            if line != b"\r\n":
                raise Malformed("bytes after a chunk")
            self._framing = "size"
        elif self._framing == "size":
            self._begin_chunk(line)
        elif line == b"\r\n":
            self._framing = "done"
        elif not _FIELD.fullmatch(line):
            raise Malformed("a trailer that is no field")
        return rest

    def _begin_chunk(self, line: bytes) -> None:
        matched = _CHUNK.fullmatch(line)
        if matched is None:
            raise Malformed("no size of a chunk")
        self._left = int(matched[1], 16)
        self._framing = "chunk" if self._left else "trailer"

    def _begin(self, text: bytes) -> None:
        head = _head(text, self._response)
        length, coding = head.fields.get(b"content-length"), head.fields.get(b"transfer-encoding")
        if head.status // 100 == 1:
            if head.status == 101:
                raise Malformed("a change of protocol")
            return  # an interim response: the final one follows
        self.head = head
        if coding is not None:
            if coding.lower() != b"chunked" or length is not None:
                raise Malformed("an unclear length")
            self._framing = "size"
        elif length is not None:
            if not length.isdigit() or len(length) > 15:
                raise Malformed("an unclear length")
            self._left = int(length)
            self._framing = "length" if self._left else "done"
        else:
            self._framing = "close" if self._response and head.status not in (204, 304) else "done"


def _head(text: bytes, response: bool) -> Head:
    """The head that stands in whole lines.

    Raises:
        Malformed: it is none.
    """
    matched = (_RESPONSE if response else _REQUEST).match(text)
    if matched is None:
        raise Malformed("no line that begins a message")
    fields: dict[bytes, bytes] = {}
    at = matched.end()
    while at < len(text) - 2:
        field = _FIELD.match(text, at)
        if field is None:
            raise Malformed("a line of the head that is no field")
        name = field[1].lower()
        fields[name] = fields[name] + b"," + field[2] if name in fields else field[2]
        at = field.end()
    if response:
        return Head(method="", path="", status=int(matched[1]), fields=fields)
    return Head(method=matched[1].decode("ascii"), path=matched[2].decode("ascii"), status=0, fields=fields)
