"""Measuring ten times the records takes no more memory."""

import subprocess
import sys
from itertools import cycle, islice
from pathlib import Path

import pytest

from tests.logger.archive.examples import ENTRIES, KEY, ORIGIN
from weightwarden.logger.archive import writer
from weightwarden.logger.sealing import seal
from weightwarden.logger.store.writer import LogWriter

pytestmark = pytest.mark.slow

SIZE = """
import sys
from benchmarks.peak_memory import peak_bytes
from weightwarden.cli.main import verify
log, archives, public = sys.argv[1:]
try:
    verify(["log", "size", "--log", log, "--archives", archives, "--public-key", public])
except SystemExit as end:
    print(end.code, peak_bytes())
"""


def peak_of_measuring(folder: Path, records: int) -> int:
    """Bytes that the command needs at most for a log of so many records, and its archive."""
    (folder / "archives").mkdir(parents=True)
    with LogWriter.open(str(folder / "log.db"), origin=ORIGIN) as log:
        entries = islice(cycle(ENTRIES), records)
        while waiting := [log.append(entry) for entry in islice(entries, 8000)]:
            for future in waiting:
                future.result(60)
    seal(str(folder / "log.db"), str(folder / "archives"), [KEY])
    (folder / "log.pub").write_text(f"{KEY.verifier}\n")
    arguments = [str(folder / name) for name in ("log.db", "archives", "log.pub")]
    done = subprocess.run([sys.executable, "-c", SIZE, *arguments], capture_output=True, text=True, check=True)
    assert f"{records:,}" in done.stdout
    code, peak = map(int, done.stdout.splitlines()[-1].split())
    assert code == 0
    return peak


def test_measuring_ten_times_the_records_takes_no_more_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "GROUP_RECORDS", 1000)
    few, many = peak_of_measuring(tmp_path / "few", 3_200), peak_of_measuring(tmp_path / "many", 32_000)
    assert many < few + 6_000_000  # the records alone are 10 MB more
