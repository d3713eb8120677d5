"""A site of three models: one behind two sidecars, one whose server steals, one alone; logs, keys and `models.toml`."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from benchmarks.attackers.serving import ServedModel
from benchmarks.fleet.random_models import answers_of, make_random_model, policy_for
from weightwarden.logger.archive.writer import write_archive
from weightwarden.logger.files.private import write_private
from weightwarden.logger.formats.canonical import decode_record, encode_record
from weightwarden.logger.record import Record
from weightwarden.logger.tlog.checkpoint import Checkpoint, sign_checkpoint
from weightwarden.logger.tlog.keys import SigningKey
from weightwarden.logger.tlog.merkle import Frontier
from weightwarden.verifier.audit_selection import AuditDraw

LOGS = {"pair": ("pair-a", "pair-b"), "thief": ("thief",), "alone": ("alone",)}
"""The models, and the logs of the sidecars in front of each."""
THIEF = "thief"
API_KEY = "key-of-the-fleet-0123456789"


@dataclass
class SidecarLog:
    """The log of a sidecar, sealed archive by archive into its folder."""

    folder: Path
    key: SigningKey
    tree: Frontier = field(default_factory=Frontier)
    sealed: list[tuple[bytes, int, list[bytes]]] = field(default_factory=list)

    def seal(self, records: Sequence[Record]) -> None:
        """Seal the next archive."""
        start, entries = self.tree.size, [encode_record(record) for record in records]
        path = self.folder / f"{start:012}-{start + len(entries):012}.parquet"
        roots: list[bytes] = []

        def certify(size: int, root: bytes) -> bytes:
            roots.append(root)
            return sign_checkpoint(Checkpoint(self.key.name, size, root), [self.key])

        self.tree = write_archive(str(path), entries, self.tree, certify, self.key.name, [self.key])
        self.sealed.append((roots[-1], start, entries))

    def drawn(self, draw: AuditDraw) -> Iterator[tuple[str, int]]:
        """Log and index of each record that is drawn."""
        for root, start, entries in self.sealed:
            for index, entry in enumerate(entries, start):
                if draw.selects(root, index, len(decode_record(entry).output_token_ids)):
                    yield self.key.name, index


@dataclass
class Site:
    """The site in a folder."""

    folder: Path
    audit_key: bytes
    served: dict[str, ServedModel]
    logs: dict[str, list[SidecarLog]]
    _answered: int = 0

    def seal(self, records: int, tokens: int, *, stealing: int = 0) -> None:
        """Seal an archive of each log.

        Args:
            records: answers in each archive.
            tokens: output tokens of an answer, at most.
            stealing: number of answers of the thief that carry other tokens.
        """
        for model, logs in self.logs.items():
            for log in logs:
                first, self._answered = self._answered, self._answered + records
                found = answers_of(self.served[model], model, first=first, count=records, tokens=tokens)
                if model == THIEF:
                    found[:stealing] = [_stolen(record) for record in found[:stealing]]
                log.seal(found)


def make_site(folder: Path, seed: int) -> Site:
    """Write the models, policies, keys and `models.toml` of a site; its logs are empty. All keys are of the seed."""
    audit_key = _secret(seed, "audit")
    write_private(folder / "audit.key", audit_key)
    write_private(folder / "api.keys", f"{API_KEY}\n".encode())
    served: dict[str, ServedModel] = {}
    logs: dict[str, list[SidecarLog]] = {}
    tables = []
    for number, (model, names) in enumerate(LOGS.items()):
        identity = make_random_model(folder / model, number)
        served[model] = ServedModel.load(identity, "float32")
        (folder / f"{model}.policy.toml").write_text(policy_for(identity).to_toml())
        logs[model] = []
        for name in names:
            (folder / "archives" / name).mkdir(parents=True)
            key = SigningKey(f"example.org/{name}", Ed25519PrivateKey.from_private_bytes(_secret(seed, name)))
            logs[model].append(SidecarLog(folder / "archives" / name, key))
        (folder / f"{model}.pub").write_text("".join(f"{log.key.verifier}\n" for log in logs[model]))
        archives = ", ".join(f'"{log.folder}"' for log in logs[model])
        tables.append(
            f'[[model]]\nname = "{model}"\nmodel = "{folder / model}"\npolicy = "{folder / model}.policy.toml"\n'
            f'public-key = "{folder / model}.pub"\narchives = [{archives}]\n'
        )
    (folder / "models.toml").write_text("\n".join(tables))
    return Site(folder, audit_key, served, logs)


def _secret(seed: int, name: str) -> bytes:
    return hashlib.sha256(f"{seed} {name}".encode()).digest()


def _stolen(record: Record) -> Record:
    """The answer with other bytes in its second half."""
    output = list(record.output_token_ids)
    for at in range(len(output) // 2, len(output)):
        output[at] = (output[at] * 7919 + 104_729 * at) % 49_000 + 3
    return record.model_copy(update={"output_token_ids": output, "finish_reason": "length", "stop_reason": None})
