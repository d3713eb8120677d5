"""The verdict database's size: bytes for each million audited tokens, with all verdicts and after retention.

    python -m benchmarks.storage.verdicts [--database postgresql://user@host/empty]

Recorded answers of an honest server are sealed and audited as `verify serve` audits them. Their verdicts and evidence
are then stored again under new positions, until there are as many as asked for. The baseline of the same run is the
archive's size for the same tokens.
"""

import io
import os
import secrets
import sqlite3
import tempfile
import time
from contextlib import closing
from pathlib import Path

import click
import psycopg
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import insert, select

from benchmarks.repository import BUNDLED_POLICY, FILTERED
from weightwarden.logger.archive.writer import write_archive
from weightwarden.logger.files.private import write_private
from weightwarden.logger.formats.canonical import encode_record
from weightwarden.logger.formats.traffic_file import read_traffic
from weightwarden.logger.serving.address import Address
from weightwarden.logger.serving.event_log import Events
from weightwarden.logger.tlog.checkpoint import Checkpoint, sign_checkpoint
from weightwarden.logger.tlog.keys import SigningKey
from weightwarden.logger.tlog.merkle import Frontier
from weightwarden.verifier.model.embedded import ensure_embedded_model
from weightwarden.verifier.model.identity import identify_model
from weightwarden.verifier.policy.file import read_policy
from weightwarden.verifier.replay.transformers.replayer import TransformersReplayer
from weightwarden.verifier.server.accounting.retention import DAY, Retention
from weightwarden.verifier.server.database.schema import EVIDENCE, VERDICT
from weightwarden.verifier.server.database.series import set_series
from weightwarden.verifier.server.settings import Settings
from weightwarden.verifier.server.startup import ServerParts, open_server
from weightwarden.verifier.verification.verifier import Verifier

MILLION = 1e6


def audited(folder: Path, url: str, records: int) -> tuple[ServerParts, int, int]:
    """A server that has audited recorded answers, their output tokens, and the archive's bytes."""
    key = SigningKey("benchmark/log", Ed25519PrivateKey.generate())
    (folder / "archives").mkdir()
    (folder / "log.pub").write_text(f"{key.verifier}\n")
    write_private(folder / "audit.key", secrets.token_bytes(32))
    taken = [placed.record for placed in read_traffic(FILTERED)][:records]
    path = folder / "archives" / f"{0:012}-{len(taken):012}.parquet"

    def certify(size: int, root: bytes) -> bytes:
        return sign_checkpoint(Checkpoint(key.name, size, root), [key])

    write_archive(str(path), [encode_record(record) for record in taken], Frontier(), certify, key.name, [key])
    settings = Settings(
        archives=(str(path.parent),),
        public_keys=folder / "log.pub",
        database=url,
        audit_key=folder / "audit.key",
        audit_rate=1.0,
        listen=Address(host="127.0.0.1", port=0),
        api_keys=None,
        weights_bytes=1e12,
    )
    replayer = TransformersReplayer.load(identify_model(ensure_embedded_model()), device="cpu")
    server = open_server(
        settings,
        Verifier(replayer, read_policy(BUNDLED_POLICY)),
        clock=time.time,
        sleep=lambda _: None,
        events=Events(io.StringIO()),
    )
    server.membership.beat()
    server.follower.look()
    while server.auditor.work():
        pass
    server.bookkeeper.account()
    return server, sum(len(record.output_token_ids) for record in taken), path.stat().st_size


def repeat(server: ServerParts, times: int) -> int:
    """Store all verdicts and their evidence again so many times, under new positions. Return their number."""
    with server.database.reading() as connection:
        verdicts = [dict(row) for row in connection.execute(select(VERDICT)).mappings()]
        evidence = [dict(row) for row in connection.execute(select(EVIDENCE)).mappings()]
    many = len(verdicts)
    for number in range(1, times):
        shift = number * many
        moved = [row | {"position": row["position"] + shift, "index": row["index"] + shift} for row in verdicts]
        with server.database.writing() as connection:
            connection.execute(insert(VERDICT), moved)
            connection.execute(insert(EVIDENCE), [row | {"position": row["position"] + shift} for row in evidence])
    with server.database.writing() as connection:
        set_series(connection, next_position=many * times, accounted=many * times)
    return many * times


def size(url: str) -> int:
    """Bytes of the verdicts and their evidence, indexes included, once the space of removed rows is given back."""
    if "://" not in url:
        with closing(sqlite3.connect(url)) as connection:
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return Path(url).stat().st_size
    with psycopg.connect(url, autocommit=True) as server:
        server.execute("VACUUM FULL")
        found = server.execute(
            "SELECT pg_total_relation_size('verdict') + pg_total_relation_size('evidence')"
        ).fetchone()
    return 0 if found is None else int(found[0])


@click.command(help=__doc__)
@click.option("--verdicts", type=click.IntRange(100), default=100_000, show_default=True)
@click.option("--records", type=click.IntRange(10), default=110, show_default=True, help="Recorded answers to audit.")
@click.option("--database", "url", help="An empty database; SQLite in a scratch folder by default.")
def main(verdicts: int, records: int, url: str | None) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        url = url or str(Path(scratch) / "verdicts.db")
        server, tokens, archive = audited(Path(scratch), url, records)
        before = size(url)
        with server.database.reading() as connection:
            kept = len(connection.execute(select(EVIDENCE.c.position)).all())
            flagged = len(connection.execute(select(VERDICT.c.position).where(VERDICT.c.flagged)).all())
        times = max(verdicts // records, 2)
        count = repeat(server, times)
        many = tokens * times
        whole = size(url)
        retention = Retention(
            database=server.database, days=1, clock=lambda: time.time() + 2 * DAY, events=Events(io.StringIO())
        )
        started = time.perf_counter()
        while retention.remove():
            pass
        seconds = time.perf_counter() - started
        after = size(url)
    per_million = MILLION / many
    print(f"{os.cpu_count()} cores, {count} verdicts of {tokens / records:.0f} tokens, {many} tokens")
    print(f"of {records} records {kept} have evidence, {flagged} are flagged")
    print(f"archive                 {archive * MILLION / tokens / MILLION:8.2f} MB a million tokens")
    print(f"verdicts, all           {(whole - before) * per_million / MILLION:8.2f} MB a million audited tokens")
    print(f"a verdict               {(whole - before) / count:8.0f} bytes, evidence included")
    print(f"verdicts, old ones gone {max(after - before, 0) * per_million / MILLION:8.2f} MB a million audited tokens")
    print(f"removed in              {seconds:8.2f} s, {count / max(seconds, 1e-9):.0f} verdicts a second")


if __name__ == "__main__":
    main()
