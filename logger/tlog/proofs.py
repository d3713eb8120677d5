"""Proofs that a record is in a tree and that a tree extends an earlier one (RFC 9162 sections 2.1.3 and 2.1.4).

Both are the path of one node up to the root: the leaf, or the smallest complete subtree that ends where the old tree
ended. They are made from a frontier and the leaf hashes after it, in O(log n) memory.
"""

from collections.abc import Iterable, Iterator, Sequence

from weightwarden.errors import WeightwardenError
from weightwarden.logger.tlog.merkle import EMPTY_ROOT, HASH_BYTES, Frontier, node_hash


class ProofError(WeightwardenError, ValueError):
    """A proof that is invalid, or one that cannot be made."""


class _Path:
    """Builder of the path of one node: appends leaves, and collects the node's sibling at every merge."""

    def __init__(self, start: Frontier) -> None:
        self.size = start.size
        self._hashes = list(start.hashes)
        self._target: int | None = None
        """Index of the hash that is the root of the node's subtree."""
        self.siblings: list[bytes] = []

    def follow_last(self) -> bytes:
        """Follow the smallest complete subtree at the end, and return its root."""
        self._target = len(self._hashes) - 1
        return self._hashes[-1]

    def append(self, leaf: bytes, *, follow: bool = False) -> None:
        """Add a leaf. With `follow`, its path is collected."""
        self._hashes.append(leaf)
        if follow:
            self._target = len(self._hashes) - 1
        merges = self.size
        while merges & 1:
            self._merge_last_two()
            merges >>= 1
        self.size += 1

    def finish(self) -> list[bytes]:
        """The siblings, bottom up, after the remaining subtrees are merged, smallest first."""
        while len(self._hashes) > 1:
            self._merge_last_two()
        return self.siblings

    def _merge_last_two(self) -> None:
        right, left = self._hashes.pop(), self._hashes.pop()
        at = len(self._hashes)
        if self._target == at:
            self.siblings.append(right)
        elif self._target == at + 1:
            self.siblings.append(left)
            self._target = at
        self._hashes.append(node_hash(left, right))


def inclusion_proof(index: int, leaf_hashes: Iterable[bytes], start: Frontier | None = None) -> list[bytes]:
    """The path of a leaf in the tree of `start` and the leaves after it.

    Args:
        index: the leaf, not before `start.size`.
        leaf_hashes: leaf hashes of records start.size, start.size + 1, ... to the tree's end.
        start: the tree before them; None: the empty tree.

    Raises:
        ProofError: the leaf is not among them.
    """
    path = _Path(start or Frontier())
    if index < path.size:
        raise ProofError(f"leaf {index} is not among those from {path.size} on")
    for leaf in leaf_hashes:
        path.append(leaf, follow=path.size == index)
    if index >= path.size:
        raise ProofError(f"leaf {index} is not in a tree of {path.size}")
    return path.finish()


def consistency_proof(old_size: int, leaf_hashes: Iterable[bytes], start: Frontier | None = None) -> list[bytes]:
    """The proof that the tree of `start` and the leaves after it extends the tree of its first `old_size` leaves.

    Raises:
        ProofError: the old size is before `start` or beyond the tree, or 0, which every tree extends.
    """
    path = _Path(start or Frontier())
    if not max(path.size, 1) <= old_size:
        raise ProofError(
            f"no proof from a tree of {old_size} leaves: the leaves before {max(path.size, 1)} are not known"
        )
    first: list[bytes] = []
    for leaf in leaf_hashes:
        if path.size == old_size and not first:
            first = [path.follow_last()]
        path.append(leaf)
    if path.size < old_size:
        raise ProofError(f"a tree of {path.size} leaves does not extend one of {old_size}")
    if not first:
        return []  # nothing was appended: the two trees are equal
    return [*([] if old_size.bit_count() == 1 else first), *path.finish()]


def verify_inclusion(*, leaf_hash: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Check that a leaf is in a tree (RFC 9162 section 2.1.3.2).

    The root does not determine the size: other sizes in which the leaf has a path of the same shape pass too. Root and
    size must come from one signed checkpoint.

    Raises:
        ProofError: the proof is invalid.
    """
    _check_hashes(leaf_hash, root, *proof)
    if not 0 <= index < size:
        raise ProofError(f"leaf {index} is not in a tree of {size}")
    reached = leaf_hash
    for sibling, to_the_left in _climb(index, size - 1, proof):
        reached = node_hash(sibling, reached) if to_the_left else node_hash(reached, sibling)
    if reached != root:
        raise ProofError(f"the proof does not lead from leaf {index} to the root of the tree of {size}")


def verify_consistency(
    *, old_size: int, old_root: bytes, new_size: int, new_root: bytes, proof: Sequence[bytes]
) -> None:
    """Check that a tree extends an earlier one (RFC 9162 section 2.1.4.2).

    The roots do not determine the sizes: other sizes whose proof has the same shape pass too. Each root and its size
    must come from one signed checkpoint.

    Raises:
        ProofError: the proof is invalid.
    """
    _check_hashes(old_root, new_root, *proof)
    if not 0 <= old_size <= new_size:
        raise ProofError(f"a tree of {new_size} leaves does not extend one of {old_size}")
    if old_size in (0, new_size):
        if proof:
            raise ProofError("the proof is too long")
        if old_root != (EMPTY_ROOT if old_size == 0 else new_root) or (new_size == 0 and new_root != EMPTY_ROOT):
            raise ProofError(f"two trees of {new_size} leaves with two roots, or an empty one with another root")
        return
    path = [old_root, *proof] if old_size.bit_count() == 1 else list(proof)
    if not path:
        raise ProofError("the proof is too short")
    node, last = old_size - 1, new_size - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    old, new = path[0], path[0]
    for sibling, to_the_left in _climb(node, last, path[1:]):
        if to_the_left:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
        else:
            new = node_hash(new, sibling)
    if (old, new) != (old_root, new_root):
        raise ProofError(f"the proof does not lead from the tree of {old_size} to that of {new_size}")


def _climb(node: int, last: int, proof: Sequence[bytes]) -> Iterator[tuple[bytes, bool]]:
    """Each sibling on the way up from a node of a level that ends at `last`, and True if it is to the left.

    Raises:
        ProofError: there are more or fewer siblings than levels.
    """
    for sibling in proof:
        if last == 0:
            raise ProofError("the proof is too long")
        to_the_left = bool(node & 1) or node == last
        yield sibling, to_the_left
        while to_the_left and node and not node & 1:  # levels where the node has no sibling
            node, last = node >> 1, last >> 1
        node, last = node >> 1, last >> 1
    if last:
        raise ProofError("the proof is too short")


def _check_hashes(*hashes: bytes) -> None:
    if any(len(one) != HASH_BYTES for one in hashes):
        raise ProofError(f"a hash in it is not of {HASH_BYTES} bytes")
