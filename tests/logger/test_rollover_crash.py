"""SIGKILL while records are appended, sealed, rolled over and moved: nothing confirmed is lost, and no fork begins."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.logger.archive.examples import KEY, KEYS, ORIGIN, entry
from weightwarden.logger.archive.check import check_archives
from weightwarden.logger.archive.moving import move_archives
from weightwarden.logger.archive.reader import Archive
from weightwarden.logger.archive.storage import archive_urls
from weightwarden.logger.rollover import roll_over
from weightwarden.logger.sealing import seal
from weightwarden.logger.store.mark import MarkFile
from weightwarden.logger.store.reader import LogReader
from weightwarden.logger.store.writer import LogWriter

pytestmark = pytest.mark.slow

KILLS = int(os.environ.get("WEIGHTWARDEN_KILLS", "15"))

WORK = """
import os, sys, threading
from pathlib import Path
from tests.logger.archive.examples import KEY, KEYS, ORIGIN, entry
from weightwarden.logger.archive.moving import move_archives
from weightwarden.logger.rollover import roll_over
from weightwarden.logger.sealing import seal
from weightwarden.logger.store import seals
from weightwarden.logger.store.mark import MarkFile
from weightwarden.logger.store.writer import LogWriter

seals.SealBook.remove_archived.__defaults__ = (3,)  # many transactions, between which it can be killed
url, folder = sys.argv[1], Path(sys.argv[2])
mark = MarkFile(folder / "log.mark", ORIGIN)

def appending(writer):
    while True:
        index = writer.append(entry(writer.size)).result(60)
        os.write(1, b"%d\\n" % index)  # whole lines, from two threads

with LogWriter.open(url, origin=ORIGIN) as writer:
    threading.Thread(target=appending, args=(writer,), daemon=True).start()
    while True:
        os.write(1, b"step\\n")
        seal(url, str(folder / "hot"), [KEY], 5, mark)
        os.write(1, b"step\\n")
        roll_over(url, [str(folder / "hot"), str(folder / "cold")], KEYS, keep=1)
        os.write(1, b"step\\n")
        move_archives(str(folder / "hot"), str(folder / "cold"), KEYS, keep=2)
"""


def killed(url: str, folder: Path, steps: int, seconds: float) -> int:
    """The number of records that were confirmed when SIGKILL met the process, so long after it began so many steps."""
    process = subprocess.Popen([sys.executable, "-c", WORK, url, str(folder)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    output = b""
    while output.count(b"step") < steps:
        line = process.stdout.readline()
        assert line
        output += line
    time.sleep(seconds)
    process.send_signal(signal.SIGKILL)
    output += process.stdout.read()
    process.stdout.close()
    process.wait()
    confirmed = [int(line) for line in output[: output.rfind(b"\n") + 1].split() if line.isdigit()]
    return confirmed[-1] + 1 if confirmed else 0


def test_killed_at_any_moment_of_rollover_it_loses_nothing_and_never_forks(log_url: str, tmp_path: Path) -> None:
    rng = random.Random(21)
    hot, cold = tmp_path / "hot", tmp_path / "cold"
    hot.mkdir()
    cold.mkdir()
    mark = MarkFile(tmp_path / "log.mark", ORIGIN)
    confirmed, rolled, seen = 0, 0, None
    for _ in range(KILLS):
        confirmed = max(confirmed, killed(log_url, tmp_path, rng.randint(1, 7), rng.uniform(0.0, 0.1)))
        reader = LogReader(log_url)
        mark.check(reader, KEYS)
        size, start = reader.size(), reader.segment_start().size
        assert size >= confirmed
        reader.audit()
        rolled += start > 0
        archived: dict[int, bytes] = {}
        urls = [*map(str, hot.glob("*.parquet")), *map(str, cold.glob("*.parquet"))]
        names = {url.rsplit("/", 1)[-1]: url for url in urls}  # a move may have been killed between copy and removal
        if names:

            def keep(_: Archive, at: int, one: bytes, archived: dict[int, bytes] = archived) -> None:
                archived[at] = one

            check = check_archives(list(names.values()), KEYS, seen, keep=keep)
            assert check.holds, check.findings
            assert check.newest is not None
            seen = check.newest
        kept = dict(enumerate(reader.entries(start, size), start))
        assert all((kept.get(at) or archived.get(at)) == entry(at) for at in range(size))
    assert rolled > KILLS / 2
    with LogWriter.open(log_url, origin=ORIGIN) as writer:
        writer.append(entry(writer.size)).result(60)
    seal(log_url, str(hot), [KEY], mark=mark)
    roll_over(log_url, [str(hot), str(cold)], KEYS, keep=0)
    move_archives(str(hot), str(cold), KEYS, keep=1)
    assert check_archives(archive_urls([str(hot), str(cold)]), KEYS, seen).holds
