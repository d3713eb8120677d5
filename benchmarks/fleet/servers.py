"""Servers of a site as processes: started, killed, and asked what they have stored."""

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
from sqlalchemy import func, select

from benchmarks.fleet.site import API_KEY, Site
from benchmarks.free_port import free_port
from weightwarden.verifier.server.accounting.accounts import Accounts
from weightwarden.verifier.server.database.model_database import model_database
from weightwarden.verifier.server.database.schema import ARCHIVE, SERIES, TASK, VERDICT
from weightwarden.verifier.server.database.verdict_database import VerdictDatabase

START_SECONDS = 300.0
_POLL_SECONDS = 0.05


@dataclass
class RunningServer:
    """A running `verify serve --models`; `said` is the file of its events."""

    url: str
    said: Path
    process: "subprocess.Popen[bytes]"

    def events(self, name: str) -> list[dict[str, Any]]:
        """The events of a kind."""
        lines = self.said.read_text().splitlines()
        return [event for line in lines if line.startswith("{") and (event := json.loads(line))["event"] == name]

    def wait_for(self, name: str, count: int = 1, seconds: float = START_SECONDS) -> None:
        """Wait until there are so many events of a kind.

        Raises:
            RuntimeError: the process ended.
            TimeoutError: it takes too long.
        """
        deadline = time.monotonic() + seconds
        while len(self.events(name)) < count:
            if self.process.poll() is not None:
                raise RuntimeError(f"ended without {name!r}:\n{self.said.read_text()}")
            if time.monotonic() > deadline:
                raise TimeoutError(f"no {name!r}:\n{self.said.read_text()}")
            time.sleep(_POLL_SECONDS)

    def get(self, path: str) -> Any:
        """An answer of its API."""
        headers = {"authorization": f"Bearer {API_KEY}"}
        return httpx2.get(f"{self.url}/{path}", headers=headers, trust_env=False, timeout=60).raise_for_status().json()


def command(site: Site, database: str, *more: object) -> list[str]:
    """The command of a server of the site."""
    folder = site.folder
    options = {
        "--models": folder / "models.toml",
        "--database": database,
        "--audit-key": folder / "audit.key",
        "--api-keys": folder / "api.keys",
    }
    program = str(Path(sys.executable).with_name("verify"))
    return [program, "serve", *(str(word) for pair in options.items() for word in pair), *map(str, more)]


def started(site: Site, database: str, name: str, *more: object) -> RunningServer:
    """A server that was started, and may not be ready yet."""
    port, said = free_port(), site.folder / f"{name}.log"
    with said.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603
            command(site, database, "--listen", f"127.0.0.1:{port}", *more),
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
    return RunningServer(f"http://127.0.0.1:{port}", said, process)


@dataclass(frozen=True)
class Stored:
    """The content of a model's database.

    Attributes:
        verdicts: log and index of the record of each verdict, in the order of positions.
        positions: the positions.
        left: selected records without a verdict, or not accounted for.
        totals: the sums of the accounts.
    """

    verdicts: list[tuple[str, int]]
    positions: list[int]
    left: int
    totals: dict[str, float]


def stored(database: str, model: str) -> Stored:
    """The content of a model's database."""
    with VerdictDatabase(model_database(database, model)).reading() as connection:
        rows = connection.execute(
            select(VERDICT.c.position, ARCHIVE.c.origin, VERDICT.c.index)
            .join(ARCHIVE, VERDICT.c.archive == ARCHIVE.c.id)
            .order_by(VERDICT.c.position)
        ).all()
        series = connection.execute(select(SERIES)).one()
        tasks = connection.execute(select(func.count()).select_from(TASK)).scalar_one()
    return Stored(
        verdicts=[(origin, index) for _, origin, index in rows],
        positions=[position for position, _, _ in rows],
        left=int(tasks + series.next_position - series.accounted),
        totals=Accounts.from_bytes(series.accounts).totals,
    )
