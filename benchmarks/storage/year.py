"""A simulated year of a log: 100 million tokens in small records, on an accelerated clock.

    python -m benchmarks.storage.year --out results [--tokens 100000000]

The log begins as a database of version 0.1 and is upgraded. Answers are drafts that become records, four archives a day
are sealed, sealed records leave the database after a day, archives move to another folder after a week, and the stamps
there are deleted after a month. On the way the database is restored from a backup, an older backup is refused, the keys
rotate, and the clock is set back by a day. At the end `verify log check` checks the whole log in a process of its own.
Answers are recorded ones with other seeds, cut to random lengths.
"""

import asyncio
import json
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import click
import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from benchmarks.peak_memory import peak_bytes
from benchmarks.repository import DATA
from benchmarks.results.file import Results
from benchmarks.results.tables.year import YEAR, YearRow
from weightwarden.cli.progress import progress_bar
from weightwarden.logger.archive.moving import move_archives
from weightwarden.logger.formats.canonical import (
    TOKEN_DTYPE,
    canonical_json,
    header_template,
    header_values,
    token_bytes,
)
from weightwarden.logger.formats.traffic_file import read_traffic
from weightwarden.logger.request_stamp import RequestStamp
from weightwarden.logger.sidecar.log.checkpointer import Checkpointer
from weightwarden.logger.store.compaction import compact
from weightwarden.logger.store.mark import LogRolledBack, MarkFile
from weightwarden.logger.store.reader import LogReader
from weightwarden.logger.store.writer import LogWriter
from weightwarden.logger.tlog.keys import PublicKeys, SigningKey

FIRST_VERSION = DATA / "versions" / "0.1"
ORIGIN = "example.org/log"
FIRST_KEY = SigningKey(ORIGIN, Ed25519PrivateKey.from_private_bytes(b"k" * 32))
"""The key of the log of version 0.1, which is public: it signs examples alone."""
TRAFFIC = [DATA / f"smollm2-vllm0.32-{name}.jsonl" for name in ("greedy", "t1.0-p0.95-k50", "t1.0-unfiltered")]
DAYS, SEALINGS = 365, 4
"""Days of the year, and sealings a day."""
KEEP_SEALED, KEEP_HOT, KEEP_STAMPS = SEALINGS, 7 * SEALINGS, 30 * SEALINGS
"""Newest archives whose records stay in the database, that stay in the first folder, and that keep their stamps."""
MEAN_TOKENS = 100
UNDER_WAY = 256
BEGIN = 1_767_225_600
"""Unix time of the year's begin (2026-01-01)."""
OLD_COPY_DAY, RESTORE_DAY, ROTATE_DAY, ROTATED_DAY, CLOCK_DAY = 100, 120, 180, 190, 250


@dataclass
class Answers:
    """Recorded requests with other seeds, and answers of random lengths from the recorded tokens."""

    rng: np.random.Generator
    made: int = 0
    tokens: int = 0

    def __post_init__(self) -> None:
        records = [one.record for path in TRAFFIC for one in read_traffic(path)]
        self._pool = np.array([token for one in records for token in one.output_token_ids], TOKEN_DTYPE)
        self._requests = [
            (
                header_template(
                    one.engine.model_dump(), "stop", one.model, one.sampling.model_dump() | {"max_tokens": None}
                ),
                token_bytes(one.prompt_token_ids),
            )
            for one in records
        ]

    def next(self) -> tuple[bytes, bytes, bytes]:
        """A record without tokens, its tokens, and the whole record."""
        return self.of_length(min(len(self._pool), int(self.rng.geometric(1 / MEAN_TOKENS))))

    def of_length(self, length: int) -> tuple[bytes, bytes, bytes]:
        """A record of so many tokens without them, its tokens, and the whole record."""
        at = int(self.rng.integers(len(self._pool) - length + 1))
        tokens = self._pool[at : at + length].tobytes()
        template, prompt = self._requests[self.made % len(self._requests)]
        self.made += 1
        self.tokens += length
        end = len(prompt) // TOKEN_DTYPE.itemsize, self.made, canonical_json(None)
        return (
            template % header_values(0, 0, *end) + prompt,
            tokens,
            template % header_values(0, length, *end) + prompt + tokens,
        )


async def answer(log: LogWriter, answers: Answers, records: int, now: int) -> None:
    """Log so many answers, a few hundred of them side by side."""
    left = iter(range(records))

    async def one_after_another() -> None:
        for _ in left:
            begin, tokens, whole = answers.next()
            draft = log.draft(begin, RequestStamp(f"req-{answers.made:012x}", now * 1000))
            await draft.extend(b"")
            await draft.extend(tokens)
            await draft.end(whole, now * 1000 + answers.made % 1000)

    await asyncio.gather(*(one_after_another() for _ in range(UNDER_WAY)))


@dataclass(frozen=True)
class Disk:
    """Files and folders of the log."""

    folder: Path

    @property
    def log(self) -> Path:
        return self.folder / "log.db"

    @property
    def old_copy(self) -> Path:
        return self.folder / "old-copy"

    @property
    def backup(self) -> Path:
        return self.folder / "backup"

    @property
    def hot(self) -> Path:
        return self.folder / "hot"

    @property
    def cold(self) -> Path:
        return self.folder / "cold"

    def database_bytes(self) -> int:
        """The size of the database, with its write-ahead log."""
        return sum(path.stat().st_size for path in self.folder.glob("log.db*"))

    def row(self, day: int, answers: Answers, rollovers: int) -> YearRow:
        """The size of each part now."""
        archives = [path.stat().st_size for part in (self.hot, self.cold) for path in part.glob("*.parquet")]
        stamps = [path.stat().st_size for part in (self.hot, self.cold) for path in part.glob("requests/*.parquet")]
        return YearRow(
            day=day,
            output_tokens=answers.tokens,
            database_bytes=self.database_bytes(),
            archive_bytes=sum(archives),
            hot_archives=len(list(self.hot.glob("*.parquet"))),
            stamp_bytes=sum(stamps),
            rollovers=rollovers,
        )


@dataclass
class Year:
    """The year: what happens on each of its days.

    Attributes:
        disk: files and folders of the log.
        answers: source of answers.
        per_sealing: answers between two sealings.
        signers: keys that sign now.
        rows: sizes at the end of each month.
        facts: single figures.
    """

    disk: Disk
    answers: Answers
    per_sealing: int
    signers: list[SigningKey] = field(default_factory=lambda: [FIRST_KEY])
    rows: list[YearRow] = field(default_factory=list)
    facts: dict[str, float] = field(default_factory=lambda: {"rollovers": 0, "most_database_bytes": 0, "moved": 0})

    def run(self, progress: "Progress") -> None:
        """All days."""
        self._begin_with_version_0_1()
        self._open()
        for day in range(DAYS):
            if day == OLD_COPY_DAY:
                self._copy_while_running()
            if day == RESTORE_DAY:
                self._restore()
            if day == ROTATE_DAY:
                self.new_key = SigningKey.generate(ORIGIN)
                self._reopen([FIRST_KEY, self.new_key])
            if day == ROTATED_DAY:
                self._reopen([self.new_key])
            self._day(day)
            if day % 30 == 29 or day == DAYS - 1:
                self.rows.append(self.disk.row(day + 1, self.answers, int(self.facts["rollovers"])))
            progress(1)
        self.log.close()

    def _day(self, day: int) -> None:
        moved_clock = 86_400 if day == CLOCK_DAY else 0
        for sealing in range(SEALINGS):
            now = BEGIN + 86_400 * day + 86_400 * sealing // SEALINGS - moved_clock
            asyncio.run(answer(self.log, self.answers, self.per_sealing, now))
            before = LogReader(str(self.disk.log)).segment_start().size
            self.checkpointer.seal()
            self.facts["rollovers"] += LogReader(str(self.disk.log)).segment_start().size > before
            self.facts["most_database_bytes"] = max(self.facts["most_database_bytes"], self.disk.database_bytes())
        keys = (
            PublicKeys(FIRST_KEY.verifier)
            if day < ROTATED_DAY
            else PublicKeys(FIRST_KEY.verifier, self.new_key.verifier)
        )
        self.facts["moved"] += move_archives(str(self.disk.hot), str(self.disk.cold), keys, keep=KEEP_HOT)
        for path in sorted((self.disk.cold / "requests").glob("*.parquet"))[:-KEEP_STAMPS]:
            path.unlink()

    def _begin_with_version_0_1(self) -> None:
        for part in (self.disk.hot, self.disk.cold):
            part.mkdir()
        shutil.copy(FIRST_VERSION / "log-0003.db", self.disk.log)
        for path in (FIRST_VERSION / "archives").glob("*.parquet"):
            shutil.copy(path, self.disk.hot)
        with LogWriter.open(str(self.disk.log), origin=ORIGIN) as log:  # upgrades its tables
            self.facts["records_after_upgrade"] = log.size
        compact(str(self.disk.log))
        self.mark.renew(LogReader(str(self.disk.log)))

    @property
    def mark(self) -> MarkFile:
        return MarkFile(self.disk.folder / "log.mark", ORIGIN)

    def _open(self) -> None:
        """Open the log as the sidecar does when it starts."""
        self.log = LogWriter.open(str(self.disk.log), origin=ORIGIN)
        self.checkpointer = Checkpointer(
            url=str(self.disk.log),
            log=self.log,
            signers=self.signers,
            mark=self.mark,
            archives=str(self.disk.hot),
            keep_sealed=KEEP_SEALED,
        )
        try:
            self.checkpointer.check()
        except BaseException:
            self.log.close()
            raise

    def _reopen(self, signers: list[SigningKey]) -> None:
        self.log.close()
        self.signers = signers
        self._open()

    def _copy_while_running(self) -> None:
        with closing(sqlite3.connect(self.disk.log)) as live, closing(sqlite3.connect(self.disk.old_copy)) as copy:
            live.backup(copy)

    def _restore(self) -> None:
        """Lose the database after a clean stop; an older copy is refused, the backup of the stop is accepted."""
        self.log.close()
        with closing(sqlite3.connect(self.disk.log)) as live, closing(sqlite3.connect(self.disk.backup)) as copy:
            live.backup(copy)
        for path in self.disk.folder.glob("log.db*"):
            path.unlink()
        shutil.copy(self.disk.old_copy, self.disk.log)
        try:
            self._open()
        except LogRolledBack:
            self.facts["older_copies_refused"] = 1
        for path in self.disk.folder.glob("log.db*"):
            path.unlink()
        shutil.move(self.disk.backup, self.disk.log)
        self._open()
        self.facts["restored_copies_accepted"] = 1
        self.disk.old_copy.unlink()


Progress = Callable[[int], None]


def checked(year: Year) -> dict[str, float]:
    """Records, seconds and peak memory of `verify log check` over the whole log, in a process of its own."""
    keys = year.disk.folder / "keys.pub"
    keys.write_text(f"{FIRST_KEY.verifier}\n{year.new_key.verifier}\n")
    arguments = ["log", "check", str(year.disk.cold), str(year.disk.hot), "--public-key", str(keys), "--json"]
    began = time.perf_counter()
    command = [sys.executable, "-c", CHECK, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603  # this file's own code
    seconds = time.perf_counter() - began
    report, _, peak = done.stdout.rstrip().rpartition("\n")
    found = json.loads(report)
    return {
        "check_holds": float(found["holds"]),
        "checked_records": float(found["records"]),
        "checked_archives": float(len(found["archives"])),
        "check_seconds": round(seconds, 1),
        "check_peak_bytes": float(peak),
    }


CHECK = """
import sys
from benchmarks.peak_memory import peak_bytes
from weightwarden.cli.main import verify
try:
    verify(sys.argv[1:])
except SystemExit as end:
    assert end.code == 0, end.code
print(peak_bytes())
"""


@click.command(help=__doc__)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder for year.json and year.md.")
@click.option("--tokens", type=click.IntRange(1), default=10**8, show_default=True, help="Output tokens of the year.")
@click.option("--seed", default=0, show_default=True)
@click.option(
    "--scratch", type=click.Path(path_type=Path, exists=True), help="Where the log lies. Default: the system's."
)
def main(out: Path, tokens: int, seed: int, scratch: Path | None) -> None:
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        year = Year(
            Disk(Path(folder)), Answers(np.random.default_rng(seed)), round(tokens / MEAN_TOKENS / DAYS / SEALINGS)
        )
        began = time.perf_counter()
        with progress_bar(DAYS, "Days") as progress:
            year.run(progress)
        year.facts["year_seconds"] = round(time.perf_counter() - began, 1)
        year.facts["year_peak_bytes"] = float(peak_bytes())
        year.facts |= checked(year)
    settings = {"tokens": tokens, "seed": seed, "days": DAYS, "sealings": SEALINGS, "keep_sealed": KEEP_SEALED}
    YEAR.write(out, "year", Results[YearRow].measured(year.rows, settings, facts=year.facts))
    for name, value in year.facts.items():
        click.echo(f"{name}: {value:,.10g}")


if __name__ == "__main__":
    main()
