"""A simulated month of a verification server: the limit of the series by day, beside the days' own limits added up.

    python -m benchmarks.storage.month --out results [--answers 10000 --audit-rate 0.1] [--picture month.png]

Chat-like answers (lognormal lengths, mean 300 tokens, at most 4,096) are sealed into one archive a day. Two servers
follow the archives, on a simulated clock: one draws answers by records, one by tokens, at a rate at which it audits as
many tokens. Archives, checks, draws, queue, accounts, limits and dashboard are those of `verify serve`. The verdicts
are stored as they are made up here, without a replay: bits a token as honest recorded traffic has them, in a gamma law.
An audit of 10% of 10,000 answers a day has as many audited answers as 1% of 100,000.
"""

import os
import secrets
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from playwright.sync_api import sync_playwright

from benchmarks.repository import BUNDLED_POLICY
from benchmarks.results.file import Results
from benchmarks.results.tables.month import MONTH, MonthRow
from benchmarks.storage.dashboard import serving
from benchmarks.storage.year import Answers
from benchmarks.throughput.cheap_replayer import VOCABULARY, CheapReplayer
from weightwarden.cli.progress import progress_bar
from weightwarden.logger.archive.writer import write_archive
from weightwarden.logger.files.private import write_private
from weightwarden.logger.serving.address import Address
from weightwarden.logger.serving.event_log import Events
from weightwarden.logger.tlog.checkpoint import Checkpoint, sign_checkpoint
from weightwarden.logger.tlog.keys import SigningKey
from weightwarden.logger.tlog.merkle import Frontier
from weightwarden.sampler.types import FloatArray, IntArray
from weightwarden.verifier.model.embedded import ensure_embedded_model
from weightwarden.verifier.model.identity import identify_model
from weightwarden.verifier.policy.file import read_policy
from weightwarden.verifier.scoring.margin_histogram import BINS, CANDIDATE_BINS
from weightwarden.verifier.server.accounting.accounts import CONFIDENCE
from weightwarden.verifier.server.accounting.archive_draw import archive_draw, complete_archives
from weightwarden.verifier.server.accounting.current import current_accounts
from weightwarden.verifier.server.audit.task_queue import Task, complete, lease
from weightwarden.verifier.server.audit.verdict_rows import pack_margins
from weightwarden.verifier.server.database.series import next_position
from weightwarden.verifier.server.settings import Settings
from weightwarden.verifier.server.startup import ServerParts, open_server
from weightwarden.verifier.statistics.sampling_design import AUDIT_BY, END_TOKENS, UNIT_TOKENS, AuditBy
from weightwarden.verifier.verification.exposure import bits_limit
from weightwarden.verifier.verification.series_statement import LimitParts
from weightwarden.verifier.verification.verifier import Verifier

ORIGIN = "example.org/log"
KEY = SigningKey(ORIGIN, Ed25519PrivateKey.from_private_bytes(b"k" * 32))
DAYS, SHOWN = 30, (1, 2, 5, 10, 20, 30)
DAY = 86_400.0
MEAN_TOKENS, SIGMA, MOST_TOKENS = 300.0, 1.0, 4096
POOLED, COUNTING = 0.068, 0.101
"""Bits a token of honest recorded traffic (docs/statistics.md)."""
SCALE_BITS = 1.5
"""Scale of the gamma law of a record's bits: what one unlikely token is charged, about."""
END_BITS = 0.0145
"""Charge of an end that is the requested one."""
MARGINS = pack_margins(np.zeros(BINS, np.int64), np.zeros(CANDIDATE_BINS, np.int64))


def lengths(rng: np.random.Generator, answers: int) -> IntArray:
    """Output tokens of answers."""
    tokens_r = rng.lognormal(np.log(MEAN_TOKENS) - SIGMA**2 / 2, SIGMA, answers)
    return np.clip(tokens_r.astype(np.int64), 1, MOST_TOKENS)


def rate_by_tokens(rate: float, rng: np.random.Generator) -> float:
    """The rate by tokens at which as many tokens are audited as at a rate by records."""
    tokens_r = lengths(rng, 1_000_000)
    return float(rate * tokens_r.sum() * UNIT_TOKENS / (tokens_r @ (tokens_r + END_TOKENS)))


@dataclass
class Log:
    """The log: one archive a day.

    Attributes:
        folder: folder of the archives.
        rng: source of lengths and bits.
        lengths_r: output tokens of each answer.
        pooled_r: bits that each answer carries, its end included.
    """

    folder: Path
    rng: np.random.Generator
    tree: Frontier = field(default_factory=Frontier)
    lengths_r: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))
    pooled_r: FloatArray = field(default_factory=lambda: np.zeros(0))

    def __post_init__(self) -> None:
        self._answers = Answers(self.rng)

    def seal(self, answers: int) -> None:
        """Seal a day's answers."""
        tokens_r = lengths(self.rng, answers)
        entries = [self._answers.of_length(int(length))[2] for length in tokens_r]
        start = self.tree.size

        def certify(size: int, root: bytes) -> bytes:
            return sign_checkpoint(Checkpoint(ORIGIN, size, root), [KEY])

        path = self.folder / f"{start:012}-{start + answers:012}.parquet"
        self.tree = write_archive(str(path), entries, self.tree, certify, ORIGIN, [KEY])
        self.lengths_r = np.concatenate([self.lengths_r, tokens_r])
        bits_r = self.rng.gamma(POOLED * tokens_r / SCALE_BITS, SCALE_BITS) + END_BITS
        self.pooled_r = np.concatenate([self.pooled_r, bits_r])


@dataclass
class Clock:
    """A clock that stands still until it is moved."""

    now: float

    def __call__(self) -> float:
        return self.now


@dataclass
class Server:
    """A verification server with one sampling design.

    Attributes:
        summed_bits: sum of the limits of each day alone.
    """

    parts: ServerParts
    by: AuditBy
    log: Log
    clock: Clock
    summed_bits: float = 0.0

    def day(self) -> None:
        """Follow, audit and account the day's archive, and add up its own limit."""
        self.parts.membership.beat()
        self.parts.follower.look()
        while tasks := lease(self.parts.membership, 1000, 10**9):
            complete(self.parts.membership, tasks, [self._verdict(task) for task in tasks], [])
        leading = self.parts.policy.leading_code
        with self.parts.database.reading() as connection:
            for archive in complete_archives(connection, next_position(connection)):
                audited, bits_r = archive_draw(connection, archive, float(np.log2(VOCABULARY)))
                self.summed_bits += bits_limit(audited, bits_r[leading], float(np.log2(VOCABULARY))).bits
        self.parts.bookkeeper.account()
        self.parts.watch.look()

    def _verdict(self, task: Task) -> dict[str, Any]:
        bits = float(self.log.pooled_r[task.index]) - END_BITS
        return {
            "position": task.position,
            "archive": task.archive,
            "index": task.index,
            "at": self.clock(),
            "tokens": task.tokens,
            "mismatches": int(bits / SCALE_BITS / 3),
            **dict.fromkeys(("suspicious", "dangerous", "outliers"), 0),
            **dict.fromkeys(("flagged", "unverifiable", "early_stop", "evidence"), False),
            "p_value": 1.0,
            "counting_bits": bits * COUNTING / POOLED,
            "pooled_bits": bits,
            "end_bits": END_BITS,
            "entropy_bits": bits,
            "largest_margin": 0.0,
            "margins": MARGINS,
            "log_ratio": b"",
            "reasons": None,
        }

    def row(self, day: int) -> MonthRow:
        """The limits now."""
        with self.parts.database.reading() as connection:
            series = current_accounts(connection).limit
        limit = LimitParts.of(series, self.parts.policy.leading_code, CONFIDENCE)
        assert limit is not None
        return MonthRow(
            by=self.by,
            day=day,
            answers=series.records,
            output_tokens=series.tokens,
            audited_share=series.audited_tokens / series.tokens,
            carried=float(self.log.pooled_r.sum()) / series.tokens,
            summed=self.summed_bits / series.tokens,
            series=limit.limit,
            rate=limit.rate,
            stock_bytes=limit.stock_bits / 8,
        )


def opened(folder: Path, by: AuditBy, rate: float, log: Log, clock: Clock) -> Server:
    """A server on the log's archives, with a database of its own."""
    policy = read_policy(BUNDLED_POLICY)
    settings = Settings(
        archives=(str(log.folder),),
        public_keys=folder / "log.pub",
        database=str(folder / f"{by}.db"),
        audit_key=folder / "audit.key",
        audit_rate=rate,
        audit_by=by,
        listen=Address(host="127.0.0.1", port=1),
        api_keys=None,
        weights_bytes=1e12,
    )
    identity = identify_model(ensure_embedded_model())
    verifier = Verifier(CheapReplayer(policy, identity.path), policy)
    with (folder / "events.log").open("a") as events:
        parts = open_server(settings, verifier, clock=clock, sleep=lambda _: None, events=Events(events))
    return Server(parts, by, log, clock)


def photograph(folder: Path, database: str, rate: float, path: Path) -> None:
    """The chart of the limit on the dashboard, and its tile, as a picture."""
    key = secrets.token_hex(16)
    write_private(folder / "api.keys", key.encode())
    chromium = os.environ.get("CHROMIUM", "/usr/bin/chromium")
    with sync_playwright() as playwright, serving(folder, database, key, rate) as url:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        context = browser.new_context(
            http_credentials={"username": "me", "password": key},
            viewport={"width": 900, "height": 900},
            device_scale_factor=2,
            color_scheme="light",
        )
        page = context.new_page()
        page.goto(url)
        chart = page.locator("#rates figure").first
        chart.locator("polyline").wait_for()
        chart.screenshot(path=path)
        browser.close()


@click.command(help=__doc__)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder for month.json and month.md.")
@click.option("--answers", type=click.IntRange(10), default=10_000, show_default=True, help="Answers a day.")
@click.option("--audit-rate", "rate", default=0.1, show_default=True, help="Audit rate by records.")
@click.option("--days", type=click.IntRange(1), default=DAYS, show_default=True)
@click.option("--seed", default=0, show_default=True)
@click.option("--picture", type=click.Path(path_type=Path), help="File for a picture of the dashboard's chart (PNG).")
@click.option("--pictured", type=click.Choice(AUDIT_BY), default="records", show_default=True, help="Server of it.")
def main(out: Path, answers: int, rate: float, days: int, seed: int, picture: Path | None, pictured: AuditBy) -> None:
    rng = np.random.default_rng(seed)
    rates: dict[AuditBy, float] = {"records": rate, "tokens": rate_by_tokens(rate, rng)}
    rows: list[MonthRow] = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "archives").mkdir()
        (folder / "followed").mkdir()
        (folder / "log.pub").write_text(f"{KEY.verifier}\n")
        write_private(folder / "audit.key", b"the audit key of a simulated month")
        log = Log(folder / "followed", rng)
        clock = Clock(time.time() - days * DAY)
        servers = [opened(folder, by, rates[by], log, clock) for by in AUDIT_BY]
        began = time.perf_counter()
        with progress_bar(days, "Days") as progress:
            for day in range(1, days + 1):
                log.seal(answers)
                clock.now += DAY
                for server in servers:
                    server.day()
                    if day in SHOWN or day == days:
                        rows.append(server.row(day))
                progress(1)
        seconds = round(time.perf_counter() - began, 1)
        if picture is not None:
            photograph(folder, str(folder / f"{pictured}.db"), rates[pictured], picture)
    rows.sort(key=lambda row: (row.by, row.day))
    settings = {"answers_a_day": answers, "audit_rate_by_records": rate, "days": days, "seed": seed}
    facts = {"audit_rate_by_tokens": rates["tokens"], "seconds": seconds}
    MONTH.write(out, "month", Results[MonthRow].measured(rows, settings, facts=facts))
    click.echo(MONTH.markdown(rows))


if __name__ == "__main__":
    main()
