"""Verification servers as processes of their own, by their command."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from benchmarks.free_port import free_port
from tests.places import BUNDLED_POLICY
from tests.verifier.server.running import OPERATOR, settings_in

START_SECONDS = 180.0


def command(folder: Path, database: str, *more: object) -> list[str]:
    """`verify serve` over the archives in a folder, with the keys there (`settings_in`)."""
    settings_in(folder)
    return [
        str(Path(sys.executable).with_name("verify")),
        "serve",
        *(
            "--archives",
            str(folder / "archives"),
            "--public-key",
            str(folder / "log.pub"),
            "--policy",
            str(BUNDLED_POLICY),
        ),
        *("--database", database, "--audit-key", str(folder / "audit.key"), "--api-keys", str(folder / "api.keys")),
        *map(str, more),
    ]


@dataclass
class Process:
    """A running `verify serve`; `said` is the file that its log goes to."""

    url: str
    said: Path
    process: "subprocess.Popen[bytes]"

    def events(self, name: str) -> list[dict[str, Any]]:
        """What it said of one kind."""
        lines = self.said.read_text().splitlines()
        return [event for line in lines if line.startswith("{") and (event := json.loads(line))["event"] == name]

    def get(self, path: str) -> Any:
        """An answer of its API."""
        answer = httpx2.get(f"{self.url}/api/v1/{path}", headers=OPERATOR, trust_env=False, timeout=60)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def wait_for(self, name: str, seconds: float = START_SECONDS) -> None:
        """Wait until it says something of a kind."""
        deadline = time.monotonic() + seconds
        while not self.events(name):
            assert self.process.poll() is None, self.said.read_text()
            assert time.monotonic() < deadline, self.said.read_text()
            time.sleep(0.02)

    def stop(self, number: int) -> int:
        """Send a signal and wait; the exit code."""
        self.process.send_signal(number)
        return self.process.wait(120)


def started(folder: Path, database: str, name: str, *more: object) -> Process:
    """A server that was started, and may not be ready yet; each start has a log of its own."""
    port = free_port()
    said = folder / f"{name}.log"
    with said.open("wb") as output:
        process = subprocess.Popen(
            command(folder, database, "--listen", f"127.0.0.1:{port}", *more),
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
    return Process(f"http://127.0.0.1:{port}", said, process)


def once(folder: Path, database: str, *more: object) -> int:
    """`verify serve --once`; its exit code."""
    done: Sequence[str] = command(folder, database, "--once", *more)
    return subprocess.run(done, capture_output=True, env={**os.environ, "OMP_NUM_THREADS": "2"}).returncode
