"""Three models, one of them behind two sidecars, in one verification server that is killed again and again.

    python -m benchmarks.fleet [--kills 20] [--servers 1] [--database postgresql://user@host/empty] [--picture FILE]

Random models answer recorded prompts. Their logs are sealed an archive at a time while the server audits a share of the
records, with one model in memory at a time, and is killed (SIGKILL) at random moments. In the end each drawn record
must have exactly one verdict, no other record any, the accounts of each model must be those of a server that was never
killed, and the thief alone must have an alarm. `--picture` keeps the dashboard.
"""

import random
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import click

from benchmarks.fleet.picture import take_picture
from benchmarks.fleet.servers import START_SECONDS, RunningServer, command, started, stored
from benchmarks.fleet.site import LOGS, THIEF, Site, make_site
from weightwarden.verifier.audit_selection import AuditDraw

SETTLE_SECONDS = 900.0
WORK_SECONDS = 60.0
"""Seconds that a server among several may have no work before it is killed."""


@dataclass(frozen=True)
class Outcome:
    """The outcome: kills, those with records left, and drawn records, verdicts, totals and state by model."""

    kills: int
    with_work_left: int
    drawn: dict[str, int]
    verdicts: dict[str, int]
    states: dict[str, str]


def run(
    folder: Path,
    database: str,
    *,
    kills: int,
    servers: int = 1,
    records: int = 8,
    tokens: int = 8,
    rate: float = 0.5,
    seed: int = 7,
    picture: Path | None = None,
) -> Outcome:
    """Run servers on a site, kill them, and check what they have stored.

    Args:
        folder: an empty folder.
        kills: number of kills, of the servers in turn.
        servers: number of servers at a time.
        records: records of each archive.
        rate: audit rate.
        picture: file for a picture of the dashboard.

    Raises:
        AssertionError: a record has no verdict or two, a record that was not drawn has one, the accounts are not those
            of a server that was never killed, or another model than the thief alarms.
    """
    site, rng = make_site(folder, seed), random.Random(seed)  # noqa: S311  (moments, not secrets)
    options = (
        *("--audit-rate", rate, "--batch-records", 3, "--resident-models", 1, "--lease-timeout", 3),
        *("--poll-interval", 0.3, "--alarm-level", 1e-4),
    )
    site.seal(records, tokens, stealing=records // 2)
    running = [started(site, database, f"first-{at}", *options) for at in range(servers)]
    with_work_left = 0
    try:
        for number in range(kills):
            victim = running[number % servers]
            site.seal(records, tokens, stealing=records // 2)
            victim.wait_for("opened", len(LOGS))
            with suppress(TimeoutError):  # another server may have done all of the work
                victim.wait_for("audited", rng.randint(1, 4), WORK_SECONDS if servers > 1 else START_SECONDS)
            # Within the next work: reading, loading, or auditing, also on a slow machine.
            seconds = [event["seconds"] for event in victim.events("audited")[-1:]]
            time.sleep(rng.uniform(0.0, max([0.8, *(1.5 * one for one in seconds)])))
            victim.process.send_signal(signal.SIGKILL)
            victim.process.wait()
            left = sum(stored(database, model).left for model in LOGS)
            with_work_left += left > 0
            click.echo(f"Kill {number + 1}: {left} records left.", err=True)
            running[number % servers] = started(site, database, f"life-{number}", *options)
        draw = AuditDraw(rate, site.audit_key)
        drawn = {model: [one for log in logs for one in log.drawn(draw)] for model, logs in site.logs.items()}
        _settle(running, database, {model: len(found) for model, found in drawn.items()})
        answer = running[0].get("api/v1/models")
        if picture is not None:
            take_picture(running[0].url, picture)
    finally:
        for server in running:
            server.process.terminate()
        for server in running:
            server.process.wait(150)
    _check(site, database, drawn, options)
    states = {one["model"]: one["status"]["state"] for one in answer["models"]}
    assert {model for model, state in states.items() if state == "alarm"} == {THIEF}, states
    counts = {model: len(found) for model, found in drawn.items()}
    return Outcome(
        kills, with_work_left, counts, {model: len(stored(database, model).verdicts) for model in LOGS}, states
    )


def _settle(running: Sequence[RunningServer], database: str, drawn: dict[str, int]) -> None:
    """Wait until all drawn records have verdicts that are accounted for, and the thief's alarm shows."""
    deadline = time.monotonic() + SETTLE_SECONDS

    def is_done() -> bool:
        found = {model: stored(database, model) for model in drawn}
        return all(one.left == 0 and len(one.verdicts) >= drawn[model] for model, one in found.items())

    while not is_done():
        assert all(server.process.poll() is None for server in running), running[0].said.read_text()
        assert time.monotonic() < deadline, running[0].said.read_text()
        time.sleep(1.0)
    running[0].wait_for("opened", len(LOGS))
    while running[0].get(f"models/{THIEF}/api/v1/status")["state"] != "alarm":
        assert time.monotonic() < deadline
        time.sleep(1.0)


def _check(site: Site, database: str, drawn: dict[str, list[tuple[str, int]]], options: Sequence[object]) -> None:
    """Check verdicts against the draw, and the accounts against those of one uninterrupted run."""
    whole = str(site.folder / "uninterrupted.db")
    done = subprocess.run(  # noqa: S603
        command(site, whole, "--once", *options), capture_output=True, check=False
    )
    assert done.returncode == 1, done.stderr.decode()
    for model, expected in drawn.items():
        found, once = stored(database, model), stored(whole, model)
        assert found.positions == list(range(len(found.positions))), model
        assert sorted(found.verdicts) == sorted(expected), model
        assert len(set(found.verdicts)) == len(found.verdicts), model
        for name, total in once.totals.items():
            assert abs(found.totals[name] - total) <= 1e-4 * max(1.0, abs(total)), (model, name)


@click.command()
@click.option("--kills", type=click.IntRange(0), default=20, show_default=True)
@click.option("--servers", type=click.IntRange(1), default=1, show_default=True)
@click.option("--database", metavar="URL", help="An empty database. Default: SQLite in a new folder.")
@click.option("--picture", type=click.Path(path_type=Path), metavar="FILE", help="PNG file for the dashboard.")
@click.option("--seed", type=int, default=7, show_default=True)
def main(kills: int, servers: int, database: str | None, picture: Path | None, seed: int) -> None:
    """Kill a verification server of three models, and check that each drawn record has one verdict."""
    folder = Path(tempfile.mkdtemp(prefix="weightwarden-fleet-"))
    try:
        url = database or str(folder / "verdicts.db")
        found = run(folder, url, kills=kills, servers=servers, seed=seed, picture=picture)
    finally:
        shutil.rmtree(folder)
    click.echo(f"{found.kills} kills, {found.with_work_left} of them with records left, {servers} servers at a time")
    for model in LOGS:
        click.echo(
            f"{model}: {found.drawn[model]} drawn, {found.verdicts[model]} verdicts, each once: {found.states[model]}"
        )


if __name__ == "__main__":
    main()
