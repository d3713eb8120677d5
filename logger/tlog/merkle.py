"""The Merkle tree over a log's records (RFC 9162 section 2.1)."""

import hashlib
from collections.abc import Iterable, Sequence

from weightwarden.errors import WeightwardenError

HASH_BYTES = 32
EMPTY_ROOT = hashlib.sha256().digest()


class FrontierError(WeightwardenError, ValueError):
    """A size and hashes that form no tree's frontier."""


def leaf_hash(entry: bytes) -> bytes:
    """SHA-256(0x00 || entry), 32 bytes."""
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256(0x01 || left || right), 32 bytes."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class Frontier:
    """The roots of the maximal complete subtrees of the first `size` leaves, largest first.

    It suffices to append leaves and to compute the root. It has at most one hash for each bit of the size.
    """

    __slots__ = ("_hashes", "_size")

    def __init__(self) -> None:
        """The empty tree."""
        self._size = 0
        self._hashes: list[bytes] = []

    @classmethod
    def of(cls, size: int, hashes: Sequence[bytes]) -> "Frontier":
        """The frontier with this size and these hashes.

        Raises:
            FrontierError: the size is invalid, or there is not one hash of 32 bytes for each bit set in it.
        """
        if size < 0:
            raise FrontierError(f"a tree of {size} leaves")
        if len(hashes) != size.bit_count() or any(len(one) != HASH_BYTES for one in hashes):
            raise FrontierError(f"the frontier of {size} leaves is {size.bit_count()} hashes of {HASH_BYTES} bytes")
        frontier = cls()
        frontier._size, frontier._hashes = size, list(hashes)
        return frontier

    @property
    def size(self) -> int:
        return self._size

    @property
    def hashes(self) -> tuple[bytes, ...]:
        return tuple(self._hashes)

    def append(self, leaf: bytes) -> None:
        """Add one leaf by its hash."""
        self.extend((leaf,))

    def extend(self, leaves: Iterable[bytes]) -> None:
        """Add leaves by their hashes, in order."""
        sha256, hashes, size = hashlib.sha256, self._hashes, self._size
        for node in leaves:
            merges = size
            while merges & 1:  # a subtree of the same size is to the left
                node = sha256(b"\x01" + hashes.pop() + node).digest()
                merges >>= 1
            hashes.append(node)
            size += 1
            self._size = size

    def root(self) -> bytes:
        """The Merkle tree hash of all leaves, 32 bytes."""
        if not self._hashes:
            return EMPTY_ROOT
        root = self._hashes[-1]
        for left in reversed(self._hashes[:-1]):
            root = node_hash(left, root)
        return root

    def copy(self) -> "Frontier":
        """A separate frontier of the same leaves."""
        return Frontier.of(self._size, self._hashes)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Frontier):
            return NotImplemented
        return (self._size, self._hashes) == (other._size, other._hashes)

    __hash__ = None  # type: ignore[assignment]  # it is mutable

    def __repr__(self) -> str:
        return f"<Frontier of {self._size} leaves, root {self.root().hex()}>"
