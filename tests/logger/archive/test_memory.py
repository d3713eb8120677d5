import subprocess
import sys
from itertools import cycle, islice
from pathlib import Path

import pytest

from tests.logger.archive.examples import ENTRIES, KEY, ORIGIN, certified
from tests.places import DATA
from weightwarden.logger.archive import writer
from weightwarden.logger.tlog.keys import SigningKey
from weightwarden.logger.tlog.merkle import Frontier

pytestmark = pytest.mark.slow

CHECK = """
import sys
from benchmarks.peak_memory import peak_bytes
from weightwarden.logger.archive.check import check_archives
from tests.logger.archive.examples import KEYS
found = check_archives([sys.argv[1]], KEYS)
assert found.holds
print(found.records, peak_bytes())
"""


def peak_of_checking(path: Path, records: int) -> int:
    """Bytes that a process needs at most to check an archive of so many records."""
    writer.write_archive(str(path), islice(cycle(ENTRIES), records), Frontier(), certified, ORIGIN, [KEY])
    done = subprocess.run([sys.executable, "-c", CHECK, str(path)], capture_output=True, text=True, check=True)
    checked, peak = map(int, done.stdout.split())
    assert checked == records
    return peak


def test_checking_ten_times_the_records_takes_no_more_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "GROUP_RECORDS", 1000)
    few, many = peak_of_checking(tmp_path / "few", 4_000), peak_of_checking(tmp_path / "many", 40_000)
    assert many < few + 10_000_000  # the records alone are 11 MB more


IMPORT = """
import sys
from benchmarks.peak_memory import peak_bytes
from weightwarden.cli.main import verify
from weightwarden.logger.archive import writer
writer.GROUP_RECORDS = 1000
try:
    verify(["log", "import", sys.argv[1], "--signing-key", sys.argv[2], "--out", sys.argv[3]])
except SystemExit as end:
    assert end.code == 0
print(peak_bytes())
"""


def peak_of_importing(folder: Path, lines: list[str], times: int) -> int:
    """Bytes that `verify log import` needs at most for a traffic file of these lines, so many times."""
    traffic, key = folder / f"{times}.jsonl", folder / f"{times}.key"
    with traffic.open("w") as stream:
        for _ in range(times):
            stream.writelines(lines)
    SigningKey.generate(f"example.org/import-{times}").write(key)
    command = [sys.executable, "-c", IMPORT, str(traffic), str(key), str(folder / f"{times}.parquet")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert f"{times * len(lines)} imported records" in done.stdout
    return int(done.stdout.split()[-1])


def test_importing_ten_times_the_records_takes_no_more_memory(tmp_path: Path) -> None:
    lines = (DATA / "smollm2-vllm0.32-greedy.jsonl").read_text().splitlines(keepends=True)
    few, many = peak_of_importing(tmp_path, lines, 50), peak_of_importing(tmp_path, lines, 500)
    assert many < few + 30_000_000  # as objects, the records took 10 KB each: 180 MB more
