import random
from collections.abc import Callable
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.logger.tlog.test_merkle import LEAVES, REFERENCE_LEAVES, SIZES, tree_hash
from weightwarden.logger.tlog.merkle import EMPTY_ROOT, Frontier, leaf_hash, node_hash
from weightwarden.logger.tlog.proofs import (
    ProofError,
    consistency_proof,
    inclusion_proof,
    verify_consistency,
    verify_inclusion,
)

REFERENCE = [leaf_hash(entry) for entry in REFERENCE_LEAVES]
ROOTS = [tree_hash(LEAVES[:size]) for size in range(SIZES + 1)]
LEFT, RIGHT, ITSELF = "left", "right", "itself"
seeded = settings(deadline=None, derandomize=True, max_examples=300)


def split(size: int) -> int:
    k = 1
    while 2 * k < size:
        k *= 2
    return k


@cache
def path_by_definition(index: int, leaves: tuple[bytes, ...]) -> list[bytes]:
    """RFC 9162 section 2.1.3.1, word by word."""
    if len(leaves) == 1:
        return []
    k = split(len(leaves))
    if index < k:
        return [*path_by_definition(index, leaves[:k]), tree_hash(leaves[k:])]
    return [*path_by_definition(index - k, leaves[k:]), tree_hash(leaves[:k])]


@cache
def subproof_by_definition(m: int, leaves: tuple[bytes, ...], whole: bool) -> list[bytes]:
    """RFC 9162 section 2.1.4.1, word by word."""
    if m == len(leaves):
        return [] if whole else [tree_hash(leaves)]
    k = split(len(leaves))
    if m <= k:
        return [*subproof_by_definition(m, leaves[:k], whole), tree_hash(leaves[k:])]
    return [*subproof_by_definition(m - k, leaves[k:], False), tree_hash(leaves[:k])]


def path_shape(index: int, size: int) -> list[str]:
    """On which side each hash of an inclusion proof stands."""
    if size == 1:
        return []
    k = split(size)
    return [*path_shape(index, k), RIGHT] if index < k else [*path_shape(index - k, size - k), LEFT]


def subproof_shape(m: int, size: int, whole: bool = True) -> list[str]:
    """On which side each hash of a consistency proof stands; the first may be the old subtree itself."""
    if m == size:
        return [] if whole else [ITSELF]
    k = split(size)
    return [*subproof_shape(m, k, whole), RIGHT] if m <= k else [*subproof_shape(m - k, size - k, False), LEFT]


def frontier(size: int) -> Frontier:
    tree = Frontier()
    tree.extend(LEAVES[:size])
    return tree


def check_inclusion(index: int, size: int, proof: list[bytes]) -> None:
    verify_inclusion(leaf_hash=LEAVES[index], index=index, size=size, proof=proof, root=ROOTS[size])


def check_consistency(old: int, new: int, proof: list[bytes]) -> None:
    verify_consistency(old_size=old, old_root=ROOTS[old], new_size=new, new_root=ROOTS[new], proof=proof)


def test_paths_of_the_reference_tree() -> None:
    # Published with Certificate Transparency's reference tree: leaf 0 of 8, leaf 5 of 8, leaf 2 of 3, leaf 1 of 5.
    published = {
        (0, 8): (
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ),
        (5, 8): (
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ),
        (2, 3): ("fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",),
        (1, 5): (
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        ),
    }
    for (index, size), path in published.items():
        assert [one.hex() for one in inclusion_proof(index, REFERENCE[:size])] == list(path)


def test_consistency_of_the_reference_tree() -> None:
    published = {
        (1, 8): (
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ),
        (6, 8): (
            "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ),
        (2, 5): (
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        ),
    }
    for (old, new), proof in published.items():
        assert [one.hex() for one in consistency_proof(old, REFERENCE[:new])] == list(proof)


def test_proofs_of_the_definition_verify_at_all_sizes() -> None:
    for size in range(1, SIZES + 1):
        for at in range(size):
            check_inclusion(at, size, path_by_definition(at, LEAVES[:size]))
            check_consistency(at + 1, size, subproof_by_definition(at + 1, LEAVES[:size], True))


def test_proofs_made_are_those_of_the_definition_at_all_sizes() -> None:
    drawn = random.Random(4)
    for size in range(1, SIZES + 1):
        leaves = LEAVES[:size]
        for at in range(size) if size <= 40 else {0, size - 2, size - 1, *drawn.sample(range(size), 5)}:
            assert inclusion_proof(at, leaves) == path_by_definition(at, leaves)
            assert consistency_proof(at + 1, leaves) == subproof_by_definition(at + 1, leaves, True)


@seeded
@given(st.data())
def test_proofs_from_a_frontier_are_those_of_the_whole_tree(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, SIZES))
    start = data.draw(st.integers(0, size - 1))
    index = data.draw(st.integers(start, size - 1))
    old = data.draw(st.integers(max(start, 1), size))
    rest = LEAVES[start:size]
    assert inclusion_proof(index, rest, frontier(start)) == path_by_definition(index, LEAVES[:size])
    assert consistency_proof(old, rest, frontier(start)) == subproof_by_definition(old, LEAVES[:size], True)


@seeded
@given(st.data())
def test_a_changed_proof_of_inclusion_is_refused(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, SIZES))
    index = data.draw(st.integers(0, size - 1))
    path = inclusion_proof(index, LEAVES[:size])
    with pytest.raises(ProofError):
        check_inclusion(index, size, changed(path, data))


@seeded
@given(st.data())
def test_a_changed_proof_of_consistency_is_refused(data: st.DataObject) -> None:
    new = data.draw(st.integers(1, SIZES))
    old = data.draw(st.integers(1, new))
    proof = consistency_proof(old, LEAVES[:new])
    with pytest.raises(ProofError):
        check_consistency(old, new, changed(proof, data))


def changed(proof: list[bytes], data: st.DataObject) -> list[bytes]:
    """A proof that is another one: a byte changed, a hash missing, doubled, added, or two swapped."""
    proof = list(proof)
    kind = data.draw(st.sampled_from(["byte", "missing", "added", "swapped", "short hash"] if proof else ["added"]))
    at = data.draw(st.integers(0, len(proof) - 1)) if proof else 0
    if kind == "byte":
        byte = data.draw(st.integers(0, 31))
        proof[at] = proof[at][:byte] + bytes([proof[at][byte] ^ data.draw(st.integers(1, 255))]) + proof[at][byte + 1 :]
    elif kind == "missing":
        del proof[at]
    elif kind == "added":
        proof.insert(at, data.draw(st.sampled_from([EMPTY_ROOT, *proof])))
    elif kind == "short hash":
        proof[at] = proof[at][:-1]
    elif len(proof) > 1:
        other = data.draw(st.integers(0, len(proof) - 1).filter(lambda i: i != at))
        proof[at], proof[other] = proof[other], proof[at]
    else:
        proof.append(EMPTY_ROOT)
    return proof


def test_a_proof_holds_for_its_leaf_index_and_root_only() -> None:
    for size in (1, 2, 3, 7, 8, 77):
        for index in {0, size // 3, size - 1}:
            path = inclusion_proof(index, LEAVES[:size])
            for other in range(-2, size + 2):
                if other != index:
                    with pytest.raises(ProofError):
                        verify_inclusion(leaf_hash=LEAVES[index], index=other, size=size, proof=path, root=ROOTS[size])
                    with pytest.raises(ProofError):
                        verify_inclusion(leaf_hash=LEAVES[other], index=index, size=size, proof=path, root=ROOTS[size])
            for root in (*ROOTS[:size], ROOTS[size + 1], bytes(32)):
                with pytest.raises(ProofError):
                    verify_inclusion(leaf_hash=LEAVES[index], index=index, size=size, proof=path, root=root)


def test_another_index_or_size_is_accepted_only_where_the_path_is_the_same() -> None:
    for size in range(1, 18):
        for index in range(size):
            path = path_by_definition(index, LEAVES[:size])
            for other_size in range(-1, 36):
                for other in range(-2, other_size + 2):
                    same = 0 <= other < other_size and path_shape(other, other_size) == path_shape(index, size)
                    check = {"leaf_hash": LEAVES[index], "root": ROOTS[size]}
                    assert accepted(verify_inclusion, **check, index=other, size=other_size, proof=path) == same


def test_other_sizes_are_accepted_only_where_the_proof_has_the_same_shape() -> None:
    for new in range(1, 13):
        for old in range(1, new + 1):
            proof = subproof_by_definition(old, LEAVES[:new], True)
            for other_new in range(-1, 26):
                for other in range(-3, other_new + 3):
                    same = 0 < other <= other_new and subproof_shape(other, other_new) == subproof_shape(old, new)
                    check = {"old_root": ROOTS[old], "new_root": ROOTS[new]}
                    assert (
                        accepted(verify_consistency, **check, old_size=other, new_size=other_new, proof=proof) == same
                    )


def accepted(verify: Callable[..., None], **claim: object) -> bool:
    try:
        verify(**claim)
    except ProofError:
        return False
    return True


def test_consistency_holds_for_its_roots_only() -> None:
    for new in range(1, 20):
        for old in range(1, new + 1):
            proof = consistency_proof(old, LEAVES[:new])
            for size, root in enumerate(ROOTS[:24]):
                if size != old:
                    with pytest.raises(ProofError):
                        verify_consistency(old_size=old, old_root=root, new_size=new, new_root=ROOTS[new], proof=proof)
                if size != new:
                    with pytest.raises(ProofError):
                        verify_consistency(old_size=old, old_root=ROOTS[old], new_size=new, new_root=root, proof=proof)


def test_an_empty_proof_shows_no_growth() -> None:
    for new in range(2, 40):
        for old in range(1, new):
            with pytest.raises(ProofError, match="too short"):
                check_consistency(old, new, [])


def test_a_boundary_moved_between_two_hashes_is_refused() -> None:
    # The bytes hashed, and so the root, stay the same.
    left, right = LEAVES[0][:-1], LEAVES[0][-1:] + LEAVES[1]
    assert node_hash(left, right) == ROOTS[2]
    with pytest.raises(ProofError, match="32 bytes"):
        verify_inclusion(leaf_hash=left, index=0, size=2, proof=[right], root=ROOTS[2])
    with pytest.raises(ProofError, match="32 bytes"):
        verify_consistency(old_size=1, old_root=left, new_size=2, new_root=ROOTS[2], proof=[right])
    first = inclusion_proof(0, LEAVES[:4])
    with pytest.raises(ProofError, match="32 bytes"):
        check_inclusion(0, 4, [*first[:-1], first[-1] + b"\0"])


@pytest.mark.parametrize("wrong", [b"", LEAVES[0][:-1], LEAVES[0] + b"\0"])
def test_a_hash_of_another_length_is_no_root(wrong: bytes) -> None:
    with pytest.raises(ProofError, match="32 bytes"):
        verify_inclusion(leaf_hash=wrong, index=0, size=1, proof=[], root=wrong)
    with pytest.raises(ProofError, match="32 bytes"):
        verify_inclusion(leaf_hash=LEAVES[0], index=0, size=1, proof=[], root=wrong)
    with pytest.raises(ProofError, match="32 bytes"):
        verify_consistency(old_size=5, old_root=wrong, new_size=5, new_root=wrong, proof=[])
    with pytest.raises(ProofError, match="32 bytes"):
        verify_consistency(old_size=0, old_root=EMPTY_ROOT, new_size=5, new_root=wrong, proof=[])
    with pytest.raises(ProofError, match="32 bytes"):
        check_consistency(1, 2, [wrong])


def test_a_node_is_not_taken_for_a_leaf() -> None:
    node = tree_hash(LEAVES[:2])
    with pytest.raises(ProofError):
        verify_inclusion(leaf_hash=node, index=0, size=4, proof=[tree_hash(LEAVES[2:4])], root=ROOTS[4])


def test_a_history_of_other_leaves_is_no_prefix() -> None:
    forked = (*LEAVES[:9], leaf_hash(b"another"), *LEAVES[10:40])
    for old in range(10, 31):
        with pytest.raises(ProofError):
            verify_consistency(
                old_size=old,
                old_root=ROOTS[old],
                new_size=40,
                new_root=tree_hash(forked),
                proof=consistency_proof(old, forked),
            )


def test_empty_and_equal_trees_need_an_empty_proof() -> None:
    check_consistency(0, 0, [])
    check_consistency(0, 9, [])
    check_consistency(9, 9, [])
    for old, new in ((0, 0), (0, 9), (9, 9)):
        with pytest.raises(ProofError, match="too long"):
            check_consistency(old, new, [ROOTS[1]])
    with pytest.raises(ProofError):
        verify_consistency(old_size=9, old_root=ROOTS[9], new_size=9, new_root=ROOTS[8], proof=[])
    with pytest.raises(ProofError):
        verify_consistency(old_size=0, old_root=ROOTS[1], new_size=9, new_root=ROOTS[9], proof=[])
    with pytest.raises(ProofError):
        verify_consistency(old_size=0, old_root=EMPTY_ROOT, new_size=0, new_root=ROOTS[1], proof=[])
    with pytest.raises(ProofError):
        verify_consistency(old_size=9, old_root=ROOTS[9], new_size=8, new_root=ROOTS[8], proof=[])


@pytest.mark.parametrize(("index", "start", "end"), [(5, 0, 5), (-1, 0, 5), (2, 3, 5)])
def test_a_path_of_a_leaf_that_is_not_there_is_refused(index: int, start: int, end: int) -> None:
    with pytest.raises(ProofError):
        inclusion_proof(index, LEAVES[start:end], frontier(start))


@pytest.mark.parametrize(("old", "start", "end"), [(6, 0, 5), (0, 0, 5), (-1, 0, 5), (2, 3, 5)])
def test_a_proof_from_a_tree_that_is_not_known_is_refused(old: int, start: int, end: int) -> None:
    with pytest.raises(ProofError):
        consistency_proof(old, LEAVES[start:end], frontier(start))
