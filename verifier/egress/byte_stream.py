"""The bytes of one direction of a TCP connection, put in order, in bounded memory."""

REMEMBERED_BYTES = 1 << 18
"""Delivered bytes that are kept for comparison with retransmissions."""
AHEAD_BYTES = 1 << 21
"""Largest number of bytes kept that arrived before those in front of them."""
_WRAP, _HALF = 1 << 32, 1 << 31


class Memory:
    """The bytes that all streams of a link hold, and their limit.

    Attributes:
        held: bytes at present.
        limit: largest number of bytes.
    """

    def __init__(self, limit: int) -> None:
        self.held, self.limit = 0, limit

    def take(self, size: int) -> bool:
        """Count so many more bytes, if there is room for them."""
        if self.held + size > self.limit:
            return False
        self.held += size
        return True


class ByteStream:
    """One direction of a connection.

    Positions count bytes from the beginning of the connection, and never wrap.

    Attributes:
        position: position after the last delivered byte.
        acknowledged: position up to which the receiver has the bytes.
        end: position after the last byte, once the sender has ended the stream.
        edge: position up to which the receiver lets the sender send.
    """

    def __init__(self, sequence: int, memory: Memory) -> None:
        """A stream before its first byte.

        Args:
            sequence: sequence number of the first byte.
            memory: counts the bytes that are held.
        """
        self._first, self._memory = sequence, memory
        self.position = self.acknowledged = self.edge = 0
        self.end: int | None = None
        self._tail, self._tail_start = bytearray(), 0
        self._ahead: dict[int, bytes] = {}
        self._ahead_bytes = 0

    def position_of(self, sequence: int) -> int:
        """The position of a sequence number, the nearest to the present one."""
        return self.position + (sequence - self._first - self.position + _HALF) % _WRAP - _HALF

    def add(self, position: int, payload: bytes) -> tuple[bytes, str | None]:
        """The bytes that a segment completes, and the kind of what is unexplained about it, or None."""
        if position == self.position and not self._ahead:
            return self._delivered(payload), None
        if position > self.position:
            return b"", self._kept_ahead(position, payload)
        fault = self._fault_of_repetition(position, payload)
        found = self._delivered(payload[self.position - position :]) if position + len(payload) > self.position else b""
        while self._ahead and (start := min(self._ahead)) <= self.position:
            kept = self._ahead.pop(start)
            self._ahead_bytes -= len(kept)
            self._memory.held -= len(kept)
            fault = fault or self._fault_of_repetition(start, kept)
            found += self._delivered(kept[self.position - start :])
        return found, fault

    @property
    def lacks(self) -> int:
        """Bytes that the receiver has, and that were not in the capture."""
        return max(0, self.acknowledged - self.position - (self.end is not None))

    def forget(self) -> None:
        """Drop all bytes that are held."""
        self._memory.held -= len(self._tail) + self._ahead_bytes
        self._tail, self._tail_start = bytearray(), self.position
        self._ahead, self._ahead_bytes = {}, 0

    def _delivered(self, payload: bytes) -> bytes:
        self.position += len(payload)
        if not self._memory.take(len(payload)):
            self._memory.held -= len(self._tail)
            self._tail, self._tail_start = bytearray(), self.position
            return payload
        self._tail += payload
        if len(self._tail) > 2 * REMEMBERED_BYTES:
            cut = len(self._tail) - REMEMBERED_BYTES
            del self._tail[:cut]
            self._tail_start += cut
            self._memory.held -= cut
        return payload

    def _kept_ahead(self, position: int, payload: bytes) -> str | None:
        other = self._ahead.get(position)
        if other is not None:
            common = min(len(other), len(payload))
            if other[:common] != payload[:common]:
                return "retransmission with other bytes"
            if len(payload) <= len(other):
                return None
            payload = payload[len(other) :]
            return self._kept_ahead(position + common, payload)
        if self._ahead_bytes + len(payload) > AHEAD_BYTES or not self._memory.take(len(payload)):
            return "more bytes out of order than are kept"
        self._ahead[position] = payload
        self._ahead_bytes += len(payload)
        return None

    def _fault_of_repetition(self, position: int, payload: bytes) -> str | None:
        """The kind of what is unexplained about bytes of which some were delivered before, or None."""
        repeated = payload[: max(0, self.position - position)]
        if position < self._tail_start:
            return "retransmission of bytes too old to compare"
        start = position - self._tail_start
        if self._tail[start : start + len(repeated)] != repeated:
            return "retransmission with other bytes"
        return None
