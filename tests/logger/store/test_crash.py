import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.logger.store.examples import ORIGIN, audited
from weightwarden.logger.store.writer import LogWriter

pytestmark = pytest.mark.slow

KILLS = {"sqlite": 30, "postgresql": 25}
"""More than 50 in all."""

WRITER = """
import asyncio, sys
from weightwarden.logger.store.writer import LogWriter

async def append(writer, number):
    for at in range(100_000):
        payload = b"%d %d " % (number, at) * 20
        index = await writer.append_durably(payload)
        sys.stdout.write(f"{index} {payload.hex()}\\n")
        sys.stdout.flush()

async def main():
    with LogWriter.open(sys.argv[1], origin="example.org/log") as writer:
        print("ready", flush=True)
        await asyncio.gather(*(append(writer, number) for number in range(8)))

asyncio.run(main())
"""


def killed_writer(url: str, seconds: float) -> dict[int, bytes]:
    """What a writer process had confirmed when SIGKILL met it."""
    process = subprocess.Popen([sys.executable, "-c", WRITER, url], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    time.sleep(seconds)
    process.send_signal(signal.SIGKILL)
    output = process.stdout.read()
    process.stdout.close()
    process.wait()
    whole = output[: output.rfind(b"\n") + 1].splitlines()
    return {int(index): bytes.fromhex(payload.decode()) for index, payload in (line.split() for line in whole)}


def test_a_killed_writer_loses_nothing_that_it_had_confirmed(
    log_url: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    rng = random.Random(4)
    confirmed: dict[int, bytes] = {}
    kind = "postgresql" if log_url.startswith("postgresql") else "sqlite"
    for _ in range(KILLS[kind]):
        now = killed_writer(log_url, rng.uniform(0.0, 0.15))
        assert not confirmed.keys() & now.keys()
        confirmed |= now
        entries = audited(log_url)
        assert all(entries[index] == payload for index, payload in confirmed.items())
    assert len(confirmed) > 100
    with LogWriter.open(log_url, origin=ORIGIN) as writer:
        assert writer.append(b"after all").result(60) == len(audited(log_url)) - 1


FILLING = """
import resource, signal, sys
from weightwarden.logger.store.errors import LogWriteError
from weightwarden.logger.store.writer import LogWriter

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
with LogWriter.open(sys.argv[1], origin="example.org/log") as writer:
    for number in range(10):
        writer.append(b"%d " % number * 500).result(60)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_500_000, hard))
    confirmed, failures = 10, []
    while not failures:
        try:
            writer.append(b"%d " % confirmed * 500).result(60)
            confirmed += 1
        except LogWriteError as error:
            failures.append(str(error))
    for _ in range(3):
        try:
            writer.append(b"while full").result(60)
        except LogWriteError as error:
            failures.append(str(error))
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    index = writer.append(b"after").result(60)
print(confirmed, index, len(failures))
print(failures[0])
"""


def test_a_full_disk_is_told_loses_nothing_confirmed_and_can_be_got_over(tmp_path: Path) -> None:
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
    url = str(tmp_path / "log.db")
    done = subprocess.run([sys.executable, "-c", FILLING, url], capture_output=True, text=True, check=True, timeout=300)
    counts, message = done.stdout.splitlines()
    confirmed, index, failures = map(int, counts.split())
    assert failures >= 1
    assert url in message
    assert "disk is full" in message
    entries = audited(url)
    assert confirmed > 100
    assert entries[:confirmed] == [b"%d " % number * 500 for number in range(confirmed)]
    assert entries[index] == b"after"
