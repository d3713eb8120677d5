"""Verification servers for tests: logs of recorded answers, sealed, and servers whose clock is the test's."""

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from benchmarks.free_port import free_port
from tests.logger.witness import StrictWitness
from tests.recorded import FILTERED, records_of
from weightwarden.logger.archive.writer import write_archive
from weightwarden.logger.files.private import write_private
from weightwarden.logger.formats.canonical import encode_record
from weightwarden.logger.record import Record
from weightwarden.logger.serving.address import Address
from weightwarden.logger.serving.event_log import Events
from weightwarden.logger.tlog.checkpoint import Checkpoint, sign_checkpoint
from weightwarden.logger.tlog.keys import SigningKey
from weightwarden.logger.tlog.merkle import Frontier, leaf_hash
from weightwarden.verifier.policy.base import BasePolicy
from weightwarden.verifier.replay.replay import Replayer
from weightwarden.verifier.server.settings import Settings
from weightwarden.verifier.server.startup import ServerParts, open_server
from weightwarden.verifier.verification.verifier import Verifier

ORIGIN = "example.org/log"
KEY = SigningKey(ORIGIN, Ed25519PrivateKey.from_private_bytes(b"k" * 32))
API_KEY = "key-of-the-tests-0123456789"
OPERATOR = {"authorization": f"Bearer {API_KEY}"}


def shortened(record: Record, tokens: int) -> Record:
    """The answer that the same request with a lower length limit would have had."""
    fields = record.model_dump()
    fields["sampling"]["max_tokens"] = tokens
    fields |= {"output_token_ids": record.output_token_ids[:tokens]}
    if tokens < len(record.output_token_ids):
        fields |= {"finish_reason": "length", "stop_reason": None}
    return Record.model_validate(fields)


def honest(count: int, tokens: int = 8) -> list[Record]:
    """Short honest answers, no two alike as records."""
    return [shortened(record, tokens) for record in records_of(FILTERED)[:count]]


def stolen(record: Record) -> Record:
    """The answer with other bytes in its second half."""
    output = list(record.output_token_ids)
    for at in range(len(output) // 2, len(output)):
        output[at] = (output[at] * 7919 + 104_729 * at) % 49_000
    return Record.model_validate(record.model_dump() | {"output_token_ids": output, "finish_reason": "length"})


@dataclass
class Log:
    """A log that is sealed archive by archive into a folder. All `witnesses` cosign each archive."""

    folder: Path
    key: SigningKey = KEY
    tree: Frontier = field(default_factory=Frontier)
    witnesses: Sequence[StrictWitness] = ()

    def seal(self, records: Sequence[Record], folder: Path | None = None) -> Path:
        """The next archive."""
        return self.seal_entries([encode_record(record) for record in records], folder)

    def seal_entries(self, entries: Sequence[bytes], folder: Path | None = None) -> Path:
        start = self.tree.size
        path = (folder or self.folder) / f"{start:012}-{start + len(entries):012}.parquet"

        def certify(size: int, root: bytes) -> bytes:
            checkpoint = Checkpoint(self.key.name, size, root)
            note = sign_checkpoint(checkpoint, [self.key])
            return note + b"".join(witness.line(checkpoint.text().encode()) for witness in self.witnesses)

        self.tree = write_archive(str(path), entries, self.tree, certify, self.key.name, [self.key])
        return path

    def skip(self, records: Sequence[Record]) -> None:
        """Entries that get no archive."""
        self.tree.extend(leaf_hash(encode_record(record)) for record in records)


@dataclass
class Clock:
    """A clock that stands still until it is moved."""

    now: float = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


def settings_in(folder: Path, /, **more: Any) -> Settings:
    """Settings with all files in a folder; keys and the folder of archives are made when new."""
    (folder / "archives").mkdir(exist_ok=True)
    if not (folder / "api.keys").exists():
        (folder / "log.pub").write_text(f"{KEY.verifier}\n")
        write_private(folder / "api.keys", f"{API_KEY}\n".encode())
        write_private(folder / "audit.key", b"a secret of the auditor's")
    given: dict[str, Any] = {
        "archives": (str(folder / "archives"),),
        "public_keys": folder / "log.pub",
        "database": str(folder / "verdicts.db"),
        "audit_key": folder / "audit.key",
        "audit_rate": 1.0,
        "listen": Address(host="127.0.0.1", port=free_port()),
        "api_keys": folder / "api.keys",
        "weights_bytes": 1e12,
    }
    return Settings(**(given | more))


@dataclass
class Server:
    """An opened server, its clocks, and what it said."""

    opened: ServerParts
    clock: Clock
    said: io.StringIO
    monotonic: Clock = field(default_factory=Clock)

    def events(self, name: str) -> list[dict[str, Any]]:
        return [event for line in self.said.getvalue().splitlines() if (event := json.loads(line))["event"] == name]

    def settle(self) -> None:
        """Follow, audit and account until nothing is left, and look what that means."""
        self.opened.membership.beat()
        self.opened.follower.look()
        self.opened.egress.look()
        while self.opened.auditor.work():
            pass
        self.opened.bookkeeper.account()
        self.opened.watch.look()


def server_in(
    folder: Path, replayer: Replayer, policy: BasePolicy, clock: Clock | None = None, /, **more: Any
) -> Server:
    clock = clock or Clock()
    said, monotonic = io.StringIO(), Clock()
    settings = settings_in(folder, **more)
    opened = open_server(
        settings,
        Verifier(replayer, policy, settings.max_model_len),
        clock=clock,
        sleep=lambda _: None,
        events=Events(said),
        monotonic=monotonic,
    )
    opened.membership.beat()
    return Server(opened, clock, said, monotonic)
