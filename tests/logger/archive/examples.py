"""Logs small enough to change at every byte, and archives of them."""

from collections.abc import Sequence
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.logger.examples import edited
from weightwarden.logger.archive.writer import write_archive
from weightwarden.logger.formats.canonical import encode_record
from weightwarden.logger.record import Record
from weightwarden.logger.tlog.checkpoint import Checkpoint, sign_checkpoint
from weightwarden.logger.tlog.keys import PublicKeys, SigningKey
from weightwarden.logger.tlog.merkle import Frontier, leaf_hash

ORIGIN = "example.org/log"
KEY = SigningKey(ORIGIN, Ed25519PrivateKey.from_private_bytes(b"k" * 32))
KEYS = PublicKeys(KEY.verifier)


def entry(number: int) -> bytes:
    """A canonical record that no other number has."""
    return encode_record(Record.model_validate(edited(seed=number, prompt_token_ids=[1, 2, number])))


ENTRIES = [entry(i) for i in range(40)]


def tree_of(entries: Sequence[bytes]) -> Frontier:
    tree = Frontier()
    tree.extend(map(leaf_hash, entries))
    return tree


def certified(size: int, root: bytes, key: SigningKey = KEY) -> bytes:
    return sign_checkpoint(Checkpoint(key.name, size, root), [key])


def checkpoint_at(size: int, entries: Sequence[bytes] = ENTRIES) -> Checkpoint:
    return Checkpoint(ORIGIN, size, tree_of(entries[:size]).root())


def archived(path: Path, start: int, end: int, entries: Sequence[bytes] = ENTRIES, key: SigningKey = KEY) -> str:
    """An archive of a range of a log; its URL."""
    write_archive(
        str(path),
        entries[start:end],
        tree_of(entries[:start]),
        lambda n, root: certified(n, root, key),
        key.name,
        [key],
    )
    return str(path)
