"""Load time of the dashboard with a million verdicts: a real browser, on SQLite and on PostgreSQL.

    python -m benchmarks.storage.dashboard --verdicts 1000000
    python -m benchmarks.storage.dashboard --database postgresql://user@host/empty

Fills a new verdict database (archives of 1,000 records each, 1 in 30 flagged; a year of chart points; incidents and
quarantine), starts `verify serve` on it, and loads the page repeatedly, each time in a browser without a cache, until
every section has its figures. The baseline of the same run is the same page on a database with a thousandth of the
verdicts. Then it prints the plans of the queries.
"""

import os
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click
import httpx2
import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from playwright.sync_api import Browser, sync_playwright
from sqlalchemy import Connection, Select, insert, select, text

from benchmarks.free_port import free_port
from benchmarks.repository import BUNDLED_POLICY
from weightwarden.logger.files.private import write_private
from weightwarden.logger.tlog.keys import SigningKey
from weightwarden.verifier.model.embedded import ensure_embedded_model
from weightwarden.verifier.model.identity import identify_model
from weightwarden.verifier.policy.file import read_policy
from weightwarden.verifier.scoring.margin_histogram import BINS, CANDIDATE_BINS
from weightwarden.verifier.server.accounting.accounts import TOTALS, Accounts
from weightwarden.verifier.server.accounting.bookkeeper import Bookkeeper
from weightwarden.verifier.server.accounting.rate_points import LimitFigures, RateFigures
from weightwarden.verifier.server.alerting.incidents import in_force
from weightwarden.verifier.server.audit.verdict_rows import json_reasons, pack_margins
from weightwarden.verifier.server.database.schema import ARCHIVE, INCIDENT, QUARANTINE, RATE_POINT, TASK, VERDICT
from weightwarden.verifier.server.database.series import SeriesKey, bind, set_series
from weightwarden.verifier.server.database.verdict_database import VerdictDatabase
from weightwarden.verifier.statistics.intervals import Interval
from weightwarden.verifier.statistics.sampling_design import SamplingDesign
from weightwarden.verifier.verification.series_monitor import WATCHED

PER_ARCHIVE = 1000
PAGE = 20_000
LOADS = 7
DAY = 86_400.0
ENDPOINTS = (
    *("status", "quarantine", "verdicts?flagged=true&limit=25", "verdicts?limit=25", "archives?limit=25"),
    *("rates", "bounds", "margins", "alarms", "records/0"),
)
READY = """() => {
  const shown = {"#rates svg": 6, "#records tbody tr": 25, "#archives tbody tr": 20, "#margins svg": 1,
                 "#ledger tbody tr": 4};
  const done = Object.entries(shown).every(([what, count]) => document.querySelectorAll(what).length >= count);
  return done && document.querySelector("#state .word") ? performance.now() : null;
}"""


def fill(database: VerdictDatabase, verdicts: int, now: float) -> None:
    """Insert verdicts, and all rows that belong to them, into an empty database."""
    archives = max(verdicts // PER_ARCHIVE, 30)
    margins = pack_margins(np.full(BINS, 8), np.full(CANDIDATE_BINS, 3))
    step, pages = 365 * DAY / archives, range(0, verdicts, PAGE)
    with database.writing() as connection:
        connection.execute(insert(ARCHIVE), [_archive(i, now - (archives - i) * step) for i in range(archives)])
        for page in pages:
            rows = [
                _verdict(i, i // PER_ARCHIVE % archives + 1, now - (verdicts - i) * 0.1, margins)
                for i in range(page, min(page + PAGE, verdicts))
            ]
            connection.execute(insert(VERDICT), rows)
        figures = RateFigures(
            totals=dict.fromkeys(TOTALS, 1.0),
            limits=dict.fromkeys(WATCHED, Interval(0.01, 0.009, 0.011)),
            log10_capital=-1.0,
            series={"pooled": LimitFigures(limit=0.2, rate=0.1, records=10**6, tokens=10**9)},
        )
        points = range(365 * 24 * 4)
        connection.execute(
            insert(RATE_POINT),
            [{"at": now - 900 * (len(points) - point), "figures": figures.to_json()} for point in points],
        )
        incident = {"kind": "stale", "level": "stale", "what": "no new archive", "ended": now}
        connection.execute(
            insert(INCIDENT), [incident | {"subject": str(i), "opened": now - i * DAY} for i in range(365)]
        )
        held = {"kind": "model", "place": "s3://logs/x.parquet", "what": "another model", "since": now}
        connection.execute(insert(QUARANTINE), [held] * 200)
        set_series(connection, next_position=verdicts, accounted=verdicts)
    with database.reading() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT").execute(text("ANALYZE"))


def _archive(number: int, at: float) -> dict[str, object]:
    return {
        "id": number + 1,
        "url": f"s3://logs/{number:012}.parquet",
        "folder": "s3://logs",
        "fingerprint": "f",
        "tries": 0,
        "state": "audited",
        **dict.fromkeys(("found", "checked", "audited"), at),
        "origin": "example.org/log",
        "start": number * 100_000,
        "end": (number + 1) * 100_000,
        "root": bytes(32),
        "note": bytes(200),
        "records": 100_000,
        "tokens": 50_000_000,
        "cost": 60_000_000,
        "audit_rate": 0.01,
        "selected": PER_ARCHIVE,
    }


def _verdict(position: int, archive: int, at: float, margins: bytes) -> dict[str, object]:
    flagged = position % 30 == 0
    return {
        "position": position,
        "archive": archive,
        "index": position,
        "at": at,
        "tokens": 500,
        "mismatches": 9,
        "suspicious": 1,
        "outliers": 0,
        "dangerous": 0,
        "flagged": flagged,
        "unverifiable": False,
        "early_stop": position % 1000 == 7,
        "p_value": 1e-5 if flagged else 1.0,
        "counting_bits": 30.0,
        "pooled_bits": 20.0,
        "log_ratio": b"",
        "end_bits": 0.0145,
        "entropy_bits": 21.0,
        "largest_margin": 0.12,
        "margins": margins,
        "reasons": json_reasons(["worst tokens: 3 of 500 tokens beyond 0.15 logits"] if flagged else []),
        "evidence": False,
    }


def accounted(bookkeeper: Bookkeeper) -> bytes:
    """Accounts of a day's audit."""
    accounts = Accounts.from_bytes(bookkeeper.empty())
    rng, records = np.random.default_rng(0), 10_000
    columns = {name: np.zeros(records) for name in TOTALS}
    columns |= {"tokens": np.full(records, 500.0), "mismatches": rng.poisson(9, records).astype(float)}
    columns |= {"record_weight": np.ones(records), "token_weight": columns["tokens"]}
    columns |= {"counting_bits": np.full(records, 50.0), "pooled_bits": np.full(records, 33.0)}
    accounts.add(columns, np.full(BINS, 300_000), np.full(CANDIDATE_BINS, 100_000))
    return accounts.to_bytes()


@contextmanager
def serving(folder: Path, url: str, key: str, audit_rate: float = 0.01) -> Iterator[str]:
    """`verify serve` on a database, without archives to follow."""
    address = f"127.0.0.1:{free_port()}"
    files = {"--audit-key": folder / "audit.key", "--api-keys": folder / "api.keys", "--public-key": folder / "log.pub"}
    command = [str(Path(sys.executable).with_name("verify")), "serve", "--archives", str(folder / "archives")]
    command += [
        "--policy",
        str(BUNDLED_POLICY),
        "--database",
        url,
        "--audit-rate",
        f"{audit_rate}",
        "--listen",
        address,
    ]
    command += ["--audit-rate", f"{audit_rate}", "--output-tokens-per-day", "1e9"]
    command += [str(part) for pair in files.items() for part in pair]
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)  # noqa: S603
    try:
        while True:
            try:
                httpx2.get(f"http://{address}/api/v1/status", auth=("me", key), trust_env=False, timeout=60)
                break
            except httpx2.TransportError:
                if process.poll() is not None:
                    raise click.ClickException((folder / "server.log").read_text()) from None
                time.sleep(0.2)
        yield f"http://{address}"
    finally:
        process.terminate()
        process.wait()


def page_loads(browser: Browser, url: str, key: str) -> list[float]:
    """Seconds until all sections of the page have their figures, each in a new browser context."""
    seconds = []
    for _ in range(LOADS):
        context = browser.new_context(http_credentials={"username": "me", "password": key})
        page = context.new_page()
        page.goto(url, wait_until="commit")
        while (loaded := page.evaluate(READY)) is None:  # the page's security policy blocks waiting inside it
            page.wait_for_timeout(10)
        seconds.append(float(loaded) / 1000)
        context.close()
    return seconds


def answers(url: str, key: str) -> dict[str, float]:
    """Median seconds of each endpoint."""
    with httpx2.Client(auth=("me", key), trust_env=False, timeout=60) as client:
        found = {}
        for endpoint in ENDPOINTS:
            times = []
            for _ in range(LOADS):
                started = time.perf_counter()
                client.get(f"{url}/api/v1/{endpoint}").raise_for_status()
                times.append(time.perf_counter() - started)
            found[endpoint] = statistics.median(times)
        return found


def plans(database: VerdictDatabase) -> Iterator[tuple[str, list[str]]]:
    """The plans of the queries that touch large tables."""
    position = VERDICT.c.position.desc()
    asked: dict[str, Select[object]] = {
        "the newest verdicts": select(VERDICT).order_by(position).limit(25),
        "the newest flagged": select(VERDICT).where(VERDICT.c.flagged).order_by(position).limit(25),
        "the newest unverifiable": select(VERDICT).where(VERDICT.c.unverifiable).order_by(position).limit(25),
        "verdicts of an archive": select(VERDICT).where(VERDICT.c.archive == 7).order_by(position).limit(25),
        "one verdict": select(VERDICT).where(VERDICT.c.position == 7),
        "the newest archives": select(ARCHIVE).order_by(ARCHIVE.c.id.desc()).limit(25),
        "what waits of archives": select(TASK.c.archive).where(TASK.c.archive.in_([1, 2])),
        "chart points": select(RATE_POINT.c.at).where(RATE_POINT.c.at >= time.time() - 30 * DAY),
        "incidents in force": select(INCIDENT).where(in_force()),
        "the quarantine": select(QUARANTINE).where(QUARANTINE.c.resolved.is_(None)).order_by(QUARANTINE.c.id.desc()),
    }
    with database.reading() as connection:
        for name, query in asked.items():
            yield name, plan(connection, query)


def plan(connection: Connection, query: Select[object]) -> list[str]:
    """The database's plan of a query."""
    compiled = query.compile(connection, compile_kwargs={"literal_binds": True})
    explain = "EXPLAIN QUERY PLAN" if connection.dialect.name == "sqlite" else "EXPLAIN"
    return [str(row[-1]) for row in connection.execute(text(f"{explain} {compiled}"))]


def measured(url: str, verdicts: int, browser: Browser, folder: Path, key: str) -> tuple[list[float], dict[str, float]]:
    """Page loads and endpoints on a new database."""
    identity, policy, now = identify_model(ensure_embedded_model()), read_policy(BUNDLED_POLICY), time.time()
    database = VerdictDatabase(url)
    bookkeeper = Bookkeeper(
        database=database,
        policy=policy,
        vocabulary=identity.vocabulary,
        longest=1024,
        design=SamplingDesign(0.01),
        length_limit=8192,
        clock=time.time,
    )
    key_of = SeriesKey(policy_digest=policy.digest(), model_digest=identity.digest)
    bind(database, key_of, now, accounted(bookkeeper))
    started = time.perf_counter()
    fill(database, verdicts, now)
    click.echo(f"filled with {verdicts} verdicts in {time.perf_counter() - started:.0f} s", err=True)
    with serving(folder, url, key) as served:
        return page_loads(browser, served, key), answers(served, key)


@click.command(help=__doc__)
@click.option("--verdicts", type=click.IntRange(100), default=1_000_000, show_default=True)
@click.option("--database", "url", help="An empty database; SQLite in a scratch folder by default.")
@click.option("--baseline-database", "baseline_url", help="Another one, for the baseline.")
def main(verdicts: int, url: str | None, baseline_url: str | None) -> None:
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
        folder, key = Path(scratch), secrets.token_hex(16)
        (folder / "archives").mkdir()
        (folder / "log.pub").write_text(f"{SigningKey('example.org/log', Ed25519PrivateKey.generate()).verifier}\n")
        write_private(folder / "api.keys", key.encode())
        write_private(folder / "audit.key", secrets.token_bytes(32))
        browser = playwright.chromium.launch(
            executable_path=os.environ.get("CHROMIUM", "/usr/bin/chromium"), args=["--no-sandbox"]
        )
        url = url or str(folder / "large.db")
        small = measured(baseline_url or str(folder / "small.db"), max(verdicts // 1000, 1000), browser, folder, key)
        large = measured(url, verdicts, browser, folder, key)
        browser.close()
        click.echo(f"{os.cpu_count()} cores, Python {sys.version.split()[0]}, {url.split(':')[0]}, {verdicts} verdicts")
        show("page load", large[0], small[0])
        for endpoint in ENDPOINTS:
            show(endpoint, [large[1][endpoint]], [small[1][endpoint]])
        for name, lines in plans(VerdictDatabase(url)):
            click.echo(f"{name}:")
            click.echo("\n".join(f"    {line}" for line in lines))


def show(name: str, seconds: Sequence[float], baseline: Sequence[float]) -> None:
    median, worst, before = statistics.median(seconds), max(seconds), statistics.median(baseline)
    click.echo(
        f"{name:<34} {median:7.3f} s, worst {worst:7.3f} s; with a thousandth {before:7.3f} s,"
        f" ratio {median / before:.2f}"
    )


if __name__ == "__main__":
    main()
