import hashlib
from collections.abc import Iterator
from functools import cache

import pytest

from weightwarden.logger.tlog.merkle import EMPTY_ROOT, Frontier, FrontierError, leaf_hash, node_hash

REFERENCE_LEAVES = [
    bytes.fromhex(text)
    for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
"""The eight leaves that Certificate Transparency implementations share."""
REFERENCE_ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
SIZES = 300
LEAVES = tuple(leaf_hash(i.to_bytes(2, "big")) for i in range(SIZES))


@cache
def tree_hash(leaves: tuple[bytes, ...]) -> bytes:
    """RFC 9162 section 2.1.1, word by word, over leaf hashes."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while 2 * k < len(leaves):
        k *= 2
    return hashlib.sha256(b"\x01" + tree_hash(leaves[:k]) + tree_hash(leaves[k:])).digest()


def test_roots_of_the_reference_tree() -> None:
    tree = Frontier()
    assert tree.root().hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    for entry, root in zip(REFERENCE_LEAVES, REFERENCE_ROOTS, strict=True):
        tree.append(leaf_hash(entry))
        assert tree.root().hex() == root


def test_leaf_and_node_hashes_are_domain_separated() -> None:
    left, right = leaf_hash(b"a"), leaf_hash(b"b")
    assert node_hash(left, right) != leaf_hash(left + right)
    assert node_hash(left, right) == hashlib.sha256(b"\x01" + left + right).digest()


def test_incremental_root_is_the_definition_at_all_sizes() -> None:
    tree = Frontier()
    assert tree.root() == EMPTY_ROOT
    for size, leaf in enumerate(LEAVES, 1):
        tree.append(leaf)
        assert (tree.size, tree.root()) == (size, tree_hash(LEAVES[:size]))
        assert len(tree.hashes) == size.bit_count()


def test_a_restored_frontier_goes_on_to_the_same_roots() -> None:
    for size in range(SIZES):
        whole = Frontier()
        whole.extend(LEAVES[:size])
        restored = Frontier.of(whole.size, whole.hashes)
        assert restored == whole
        restored.extend(LEAVES[size:])
        assert restored.root() == tree_hash(LEAVES)


def test_a_copy_is_another_tree() -> None:
    tree = Frontier()
    tree.extend(LEAVES[:5])
    other = tree.copy()
    other.append(LEAVES[5])
    assert (tree.size, other.size) == (5, 6)
    assert tree.root() == tree_hash(LEAVES[:5])
    assert tree != other


def test_a_failing_source_of_leaves_leaves_the_tree_as_far_as_it_came() -> None:
    def leaves() -> Iterator[bytes]:
        yield from LEAVES[:3]
        raise ZeroDivisionError

    tree = Frontier()
    with pytest.raises(ZeroDivisionError):
        tree.extend(leaves())
    assert (tree.size, tree.root()) == (3, tree_hash(LEAVES[:3]))


def test_trees_are_equal_by_size_and_hashes() -> None:
    one = Frontier.of(1, LEAVES[:1])
    assert one == Frontier.of(1, LEAVES[:1])
    assert one != Frontier.of(1, LEAVES[1:2])
    assert one != Frontier.of(2, LEAVES[:1])
    assert one != object()


@pytest.mark.parametrize("size", range(-8, 40))
def test_only_one_hash_for_each_bit_of_the_size_is_a_frontier(size: int) -> None:
    for count in range(8):
        if size >= 0 and count == bin(size).count("1"):
            assert Frontier.of(size, LEAVES[:count]).hashes == LEAVES[:count]
        else:
            with pytest.raises(FrontierError):
                Frontier.of(size, LEAVES[:count])


@pytest.mark.parametrize("wrong", [b"", LEAVES[0][:-1], LEAVES[0] + b"\0"])
@pytest.mark.parametrize("at", range(3))
def test_a_hash_of_another_length_is_in_no_frontier(wrong: bytes, at: int) -> None:
    with pytest.raises(FrontierError):
        Frontier.of(7, [*LEAVES[:at], wrong, *LEAVES[at + 1 : 3]])
