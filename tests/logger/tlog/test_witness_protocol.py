import pytest

from tests.logger.archive.examples import ENTRIES, checkpoint_at, tree_of
from tests.logger.witness import roots_of_proof
from weightwarden.logger.tlog.merkle import leaf_hash
from weightwarden.logger.tlog.proofs import ProofError, consistency_proof
from weightwarden.logger.tlog.signed_note import NoteError
from weightwarden.logger.tlog.witness_protocol import MAX_PROOF, add_checkpoint, stated_size

# Proof, sizes and form of the request in the example of c2sp.org/tlog-witness.
EXAMPLE_HASHES = [
    "PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=",
    "jrJZDmY8Y7SyJE0MWLpLozkIVMSMZcD5kvuKxPC3swk=",
]


def test_a_request_has_the_form_of_the_specifications_example() -> None:
    from base64 import b64decode

    note = b"example.com/behind-the-sofa\n20852163\n"
    body = add_checkpoint(20852014, [b64decode(one) for one in EXAMPLE_HASHES], note)
    assert body.decode().split("\n")[:4] == ["old 20852014", *EXAMPLE_HASHES, ""]
    assert body.endswith(b"\n\n" + note)
    assert add_checkpoint(0, [], note) == b"old 0\n\n" + note


def test_a_request_has_at_most_the_allowed_hashes() -> None:
    add_checkpoint(1, [bytes(32)] * MAX_PROOF, b"")
    with pytest.raises(ProofError):
        add_checkpoint(1, [bytes(32)] * (MAX_PROOF + 1), b"")


@pytest.mark.parametrize(
    "body", [b"", b"5", b"05\n", b"-1\n", b"5\n\n", b"5 \n", b"\xd9\xa5\n", b"9223372036854775808\n"]
)
def test_a_size_in_another_form_is_refused(body: bytes) -> None:
    with pytest.raises(NoteError):
        stated_size(body)
    assert (stated_size(b"0\n"), stated_size(b"9223372036854775807\n")) == (0, 2**63 - 1)


def test_an_independent_reading_of_rfc_6962_accepts_every_proof_of_growth() -> None:
    leaves = list(map(leaf_hash, ENTRIES))
    for new in range(1, len(ENTRIES) + 1):
        for old in range(1, new):
            proof = consistency_proof(old, leaves[old:new], tree_of(ENTRIES[:old]))
            roots = (checkpoint_at(old).root, checkpoint_at(new).root)
            assert roots_of_proof(old, new, roots[0], proof) == roots
            assert roots_of_proof(old, new, roots[0], [bytes(32), *proof[1:]]) != roots
            assert roots_of_proof(old, new, roots[0], proof[1:]) is None
