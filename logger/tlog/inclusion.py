"""Proof of one record to others (c2sp.org/tlog-proof): its path to the root, and the signed checkpoint."""

import re
from base64 import b64encode
from dataclasses import dataclass

from weightwarden.logger.tlog.checkpoint import MAX_SIZE, Checkpoint, open_checkpoint
from weightwarden.logger.tlog.keys import PublicKeys, canonical_base64
from weightwarden.logger.tlog.merkle import HASH_BYTES
from weightwarden.logger.tlog.proofs import ProofError, verify_inclusion
from weightwarden.logger.tlog.signed_note import MAX_NOTE_BYTES
from weightwarden.text import printable

FIRST_LINE = "c2sp.org/tlog-proof@v1"
MAX_HASHES = 63
MAX_PROOF_BYTES = MAX_NOTE_BYTES + 4096
_INDEX = re.compile(r"index (0|[1-9][0-9]{0,18})")


@dataclass(frozen=True, kw_only=True)
class RecordProof:
    """The proof that a record is in a log.

    Attributes:
        index: the record's index.
        hashes: siblings on the path from the record's leaf to the root, bottom up.
        note: the signed checkpoint of the tree.
    """

    index: int
    hashes: tuple[bytes, ...]
    note: bytes

    def encode(self) -> bytes:
        """The proof in its one written form."""
        lines = (FIRST_LINE, f"index {self.index}", *(b64encode(one).decode() for one in self.hashes))
        return "".join(f"{line}\n" for line in lines).encode() + b"\n" + self.note

    @classmethod
    def decode(cls, data: bytes) -> "RecordProof":
        """The proof in these bytes. Nothing of it is verified.

        Raises:
            ProofError: the bytes are not the written form of a proof, or hold an extra line, which is unknown here.
        """
        if len(data) > MAX_PROOF_BYTES:
            raise ProofError(f"no proof: {len(data)} bytes, more than {MAX_PROOF_BYTES}")
        head, blank, note = data.partition(b"\n\n")
        try:
            first, index, *hashes = head.decode("ascii").split("\n")
            numbered = _INDEX.fullmatch(index)
        except ValueError:
            raise ProofError(f"no proof: it does not begin with the lines {FIRST_LINE} and index") from None
        if first != FIRST_LINE or numbered is None or not int(numbered[1]) < MAX_SIZE:
            raise ProofError(f"no proof: it does not begin with the lines {FIRST_LINE} and index")
        if not blank or not note:
            raise ProofError("the proof is cut off: it ends before its checkpoint")
        if len(hashes) > MAX_HASHES:
            raise ProofError(f"no proof: {len(hashes)} hashes, more than {MAX_HASHES}")
        try:
            path = tuple(canonical_base64(one) for one in hashes)
        except ValueError as error:
            raise ProofError(f"no proof: a hash is {printable(str(error))}") from None
        if any(len(one) != HASH_BYTES for one in path):
            raise ProofError(f"no proof: a hash in it is not of {HASH_BYTES} bytes")
        return cls(index=int(numbered[1]), hashes=path, note=note)

    def verify(self, leaf_hash: bytes, keys: PublicKeys) -> Checkpoint:
        """The checkpoint, after its signature and the path of the leaf to its root were verified.

        Args:
            leaf_hash: leaf hash of the record, 32 bytes.
            keys: keys that may have signed the log.

        Raises:
            NoteError: the checkpoint is none.
            SignatureError: no known key of the log signed the checkpoint.
            ProofError: the path does not lead from this leaf, at this index, to the checkpoint's root.
        """
        checkpoint = open_checkpoint(self.note, keys)
        verify_inclusion(
            leaf_hash=leaf_hash, index=self.index, size=checkpoint.size, proof=self.hashes, root=checkpoint.root
        )
        return checkpoint
