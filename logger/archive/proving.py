"""One record of an archive with its proof, in bounded memory."""

from collections.abc import Iterator
from dataclasses import dataclass

from weightwarden.logger.archive.reader import Archive
from weightwarden.logger.tlog.inclusion import RecordProof
from weightwarden.logger.tlog.merkle import leaf_hash
from weightwarden.logger.tlog.proofs import inclusion_proof


@dataclass(frozen=True)
class ProvedRecord:
    """The canonical bytes of a record, and the proof that they are in the log."""

    entry: bytes
    proof: RecordProof


def proved_record(archive: Archive, index: int) -> ProvedRecord:
    """A record of an archive, with its proof from only this archive. The proof is verified before it is returned.

    Raises:
        ProofError: the archive does not hold the record, or its records do not come to its root.
        ArchiveRefused: a row is no record.
        ArchiveUnreadable: the archive can no longer be opened.
    """
    entry: list[bytes] = []
    hashes = inclusion_proof(index, _leaves(archive, index, entry), archive.frontier)
    proof = RecordProof(index=index, hashes=tuple(hashes), note=archive.note)
    proof.verify(leaf_hash(entry[0]), archive.keys)
    return ProvedRecord(entry[0], proof)


def _leaves(archive: Archive, index: int, wanted: list[bytes]) -> Iterator[bytes]:
    """All leaf hashes of an archive. The entry at the index is also appended to `wanted`."""
    at = archive.start
    for entries in archive.entries():
        for entry in entries:
            if at == index:
                wanted.append(entry)
            at += 1
            yield leaf_hash(entry)
