"""Consistency proofs from an earlier size of the log to a signed checkpoint, from the database and from archives."""

from collections.abc import Iterator, Sequence
from itertools import chain

from weightwarden.logger.archive.errors import ArchiveUnreadable
from weightwarden.logger.archive.reader import Archive, read_archive
from weightwarden.logger.store.reader import LogReader
from weightwarden.logger.tlog.checkpoint import Checkpoint
from weightwarden.logger.tlog.keys import PublicKeys
from weightwarden.logger.tlog.merkle import Frontier, leaf_hash
from weightwarden.logger.tlog.proofs import consistency_proof, verify_consistency


def proof_of_growth(reader: LogReader, old_size: int, checkpoint: Checkpoint, keys: PublicKeys) -> list[bytes]:
    """The consistency proof from the log's first `old_size` records to a checkpoint. It was verified.

    Records that the database no longer holds are read from their archives. It takes O(log n) memory, and time in
    proportion to the number of records after `old_size`.

    Args:
        reader: the log.
        old_size: size of an earlier checkpoint; 0 for an empty proof.
        checkpoint: the newer checkpoint.
        keys: keys that sealed the archives.

    Raises:
        ProofError: the log's records do not lead to the checkpoint.
        LogCorrupt: a record is missing.
        ArchiveUnreadable: an archive of records that the database no longer holds cannot be read.
        ArchiveRefused: such an archive was changed.
    """
    if old_size in (0, checkpoint.size):
        return []
    first = reader.segment_start().size
    older: Iterator[bytes] = iter(())
    if old_size >= first:
        start = reader.frontier(old_size)
    else:
        archives = _archives(reader, old_size, first, keys)
        start, older = _frontier(archives[0], old_size), _leaf_hashes(archives, old_size, first)
    stored = reader.leaf_hashes(max(old_size, first), checkpoint.size)
    proof = consistency_proof(old_size, chain(older, stored), start)
    verify_consistency(
        old_size=old_size,
        old_root=start.root(),
        new_size=checkpoint.size,
        new_root=checkpoint.root,
        proof=proof,
    )
    return proof


def _archives(reader: LogReader, start: int, stop: int, keys: PublicKeys) -> Sequence[Archive]:
    """The archives that hold records start to stop - 1, in log order."""
    held = [(at, end, url) for at, end, url in reader.archives() if end > start and at < stop]
    reached = start
    for at, end, url in held:
        if at > reached:
            raise ArchiveUnreadable(url, f"records {reached} to {at - 1} are in no archive before it")
        reached = end
    if reached < stop:
        raise ArchiveUnreadable(held[-1][2] if held else "", f"records {reached} to {stop - 1} are in no archive")
    return [read_archive(url, keys) for _, _, url in held]


def _frontier(archive: Archive, size: int) -> Frontier:
    """The tree of the log's first `size` records, which end within an archive."""
    tree = archive.frontier.copy()
    for entries in archive.entries():
        tree.extend(map(leaf_hash, entries[: size - tree.size]))
        if tree.size >= size:
            break
    return tree


def _leaf_hashes(archives: Sequence[Archive], start: int, stop: int) -> Iterator[bytes]:
    """The leaf hashes of records start to stop - 1."""
    for archive in archives:
        at = archive.start
        for entries in archive.entries():
            yield from map(leaf_hash, entries[max(start - at, 0) : max(stop - at, 0)])
            at += len(entries)
