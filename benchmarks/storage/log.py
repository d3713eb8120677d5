"""The log's speed: appends, checks, and bytes a token, each beside its baseline in the same run.

Appends: 1, 16 and 256 concurrent writers on each database, and a bare loop that writes the same bytes to a file with
the same number of fsyncs; then the same writers without request stamps. Checks: `verify log check` of an archive, and
SHA-256 alone over the same records. Size: archive bytes for each output token of the recorded traffic, beside 2 bytes
for the bare token id; bytes of a stamp in SQLite and in the companion of an archive.

    python -m benchmarks.storage.log [--postgresql URL] [TRAFFIC...]
"""

import asyncio
import hashlib
import os
import platform
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count, cycle, islice
from pathlib import Path

import click
import sqlalchemy
from sqlalchemy import event
from sqlalchemy.engine import Engine

from benchmarks.repository import DATA
from weightwarden.logger.archive.check import check_archives
from weightwarden.logger.archive.companion import companion_url, write_companion
from weightwarden.logger.archive.writer import write_archive
from weightwarden.logger.formats.canonical import encode_record
from weightwarden.logger.formats.traffic_file import read_traffic
from weightwarden.logger.request_stamp import RequestStamp
from weightwarden.logger.sidecar.log.request_ids import RequestIds
from weightwarden.logger.store.database import LOG_DATABASE
from weightwarden.logger.store.writer import LogWriter
from weightwarden.logger.tlog.checkpoint import Checkpoint, sign_checkpoint
from weightwarden.logger.tlog.keys import PublicKeys, SigningKey
from weightwarden.logger.tlog.merkle import Frontier

TRAFFIC = [DATA / f"smollm2-vllm0.32-{name}.jsonl" for name in ("greedy", "t1.0-p0.95-k50", "t1.0-unfiltered")]
ORIGIN = "benchmark/log"
WRITERS = {1: 300, 16: 100, 256: 60}
"""Concurrent writers, and how many entries each appends."""


@click.command()
@click.argument("traffic", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--postgresql", "server", metavar="URL", help="A server where databases may be made, without a database's name."
)
@click.option(
    "--folder", type=click.Path(path_type=Path, exists=True), help="Where to write. Default: a scratch folder."
)
@click.option("--records", default=200_000, show_default=True, help="Records of the archive that is checked.")
def main(traffic: tuple[Path, ...], server: str | None, folder: Path | None, records: int) -> None:
    entries, tokens = [], 0
    for path in traffic or TRAFFIC:
        for placed in read_traffic(path):
            entries.append(encode_record(placed.record))
            tokens += len(placed.record.output_token_ids)
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, SQLAlchemy {sqlalchemy.__version__}")
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        print(
            f"\n{'appends a second':<16} {'writers':>7} {'entries':>8} {'commits':>8}"
            f" {'log':>9} {'bare':>9} {'ratio':>6} {'unstamped':>9} {'stamped/unstamped':>17}"
        )
        for name, url in (("sqlite", f"{scratch}/log"), ("postgresql", server)):
            if url is not None:
                appends(name, url, entries, Path(scratch))
        size_and_checks(entries, tokens, records, Path(scratch))


def appends(name: str, url: str, entries: list[bytes], scratch: Path) -> None:
    """The table's rows of one database."""
    one = 0.0
    for writers, each in WRITERS.items():
        with fresh(name, url, writers) as log, counted_commits() as commits:
            seconds = append_all(log, entries, writers, each, stamped=True)
            stamped_bytes = stored_bytes(log)
        with fresh(name, url, writers) as log:
            unstamped = append_all(log, entries, writers, each, stamped=False)
            unstamped_bytes = stored_bytes(log)
        total = writers * each
        bare = bare_appends(list(islice(cycle(entries), total)), commits[0], scratch / "bare")
        print(
            f"{name:<16} {writers:>7} {total:>8} {commits[0]:>8} {total / seconds:>9.0f} {total / bare:>9.0f}"
            f" {bare / seconds:>6.3f} {total / unstamped:>9.0f} {unstamped / seconds:>17.3f}",
            flush=True,
        )
        one = one or total / seconds
    print(f"{name}: {writers} writers append {total / seconds / one:.1f} times as fast as one")
    if stamped_bytes:
        print(f"{name}: {(stamped_bytes - unstamped_bytes) / total:.0f} bytes for each stamp")


def stored_bytes(log: str) -> int:
    """Bytes of a closed log's file in SQLite; 0 for PostgreSQL."""
    return Path(log).stat().st_size if "://" not in log else 0


@contextmanager
def fresh(name: str, url: str, writers: int) -> Iterator[str]:
    """The URL of a log that does not exist yet."""
    if name == "sqlite":
        with tempfile.TemporaryDirectory(dir=Path(url).parent) as folder:
            yield f"{folder}/log.db"
        return
    database = f"weightwarden_benchmark_{writers}"
    admin = sqlalchemy.create_engine(LOG_DATABASE.parse_url(f"{url}/postgres"), isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(sqlalchemy.text(f"CREATE DATABASE {database}"))
        try:
            yield f"{url}/{database}"
        finally:
            connection.execute(sqlalchemy.text(f"DROP DATABASE {database} WITH (FORCE)"))
    admin.dispose()


@contextmanager
def counted_commits() -> Iterator[list[int]]:
    """Number of committed transactions, in the list's one element."""
    count = [0]

    def committed(_: object) -> None:
        count[0] += 1

    event.listen(Engine, "commit", committed)
    try:
        yield count
    finally:
        event.remove(Engine, "commit", committed)


def stamps() -> Iterator[RequestStamp]:
    """Stamps as a sidecar makes them, without end."""
    ids = RequestIds(b"k" * 32, ORIGIN, b"n" * 32)
    for milliseconds in count(time.time_ns() // 1_000_000, 7):
        yield RequestStamp(ids.of([])[0], milliseconds)


def append_all(url: str, entries: list[bytes], writers: int, each: int, *, stamped: bool) -> float:
    """Seconds until all entries of all writers, each appended after the one before, are confirmed."""

    async def run() -> float:
        with LogWriter.open(url, origin=ORIGIN) as log:

            async def one(number: int) -> None:
                for entry in islice(cycle(entries), number, number + each):
                    await log.append_durably(entry, next(given) if stamped else None)

            given = iter(list(islice(stamps(), writers * each)))
            started = time.perf_counter()
            await asyncio.gather(*(one(number) for number in range(writers)))
            return time.perf_counter() - started

    return asyncio.run(run())


def bare_appends(entries: list[bytes], syncs: int, path: Path) -> float:
    """Seconds of a loop that writes the same bytes with as many fsyncs, evenly spread."""
    started = time.perf_counter()
    with path.open("wb", buffering=0) as stream:
        for at in range(syncs):
            stream.write(b"".join(entries[at * len(entries) // syncs : (at + 1) * len(entries) // syncs]))
            os.fsync(stream.fileno())
    seconds = time.perf_counter() - started
    path.unlink()
    return seconds


def size_and_checks(entries: list[bytes], tokens: int, records: int, scratch: Path) -> None:
    """Bytes a token of the traffic itself, and the speed of checking a larger archive."""
    key = SigningKey.generate(ORIGIN)

    def certify(size: int, root: bytes) -> bytes:
        return sign_checkpoint(Checkpoint(ORIGIN, size, root), [key])

    small, large = (str(scratch / name) for name in ("small.parquet", "large.parquet"))
    write_archive(small, entries, Frontier(), certify, ORIGIN, [key])
    size = Path(small).stat().st_size
    print(
        f"\narchive of {len(entries)} recorded answers: {size} bytes,"
        f" {size / tokens:.2f} for each of {tokens} output tokens"
    )
    print("(the bare token ids of the outputs alone: 2)")
    write_companion(large, zip(range(records), stamps(), strict=False), 0, records, ORIGIN, [key])
    print(f"companion: {Path(companion_url(large)).stat().st_size / records:.1f} bytes for each of {records} records")
    write_archive(large, islice(cycle(entries), records), Frontier(), certify, ORIGIN, [key])
    best, bare = float("inf"), float("inf")
    for _ in range(3):
        started = time.perf_counter()
        assert check_archives([large], PublicKeys(key.verifier)).records == records
        checked = time.perf_counter()
        for entry in islice(cycle(entries), records):
            hashlib.sha256(entry).digest()
        best, bare = min(best, checked - started), min(bare, time.perf_counter() - checked)
    print(
        f"log check: {records / best:.0f} records a second;"
        f" SHA-256 alone: {records / bare:.0f} (ratio {bare / best:.3f})"
    )


if __name__ == "__main__":
    main()
