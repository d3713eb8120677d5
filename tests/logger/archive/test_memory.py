import subprocess
import sys
from itertools import cycle, islice
from pathlib import Path

import pytest

from tests.logger.archive.examples import ENTRIES, KEY, ORIGIN, certified
from weightwarden.logger.archive import writer
from weightwarden.logger.tlog.merkle import Frontier

pytestmark = pytest.mark.slow

CHECK = """
import resource, sys
from weightwarden.logger.archive.check import check_archives
from tests.logger.archive.examples import KEYS
found = check_archives([sys.argv[1]], KEYS)
assert found.holds
print(found.records, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def peak_of_checking(path: Path, records: int) -> int:
    """KiB that a process needs at most to check an archive of so many records."""
    writer.write_archive(str(path), islice(cycle(ENTRIES), records), Frontier(), certified, ORIGIN, [KEY])
    done = subprocess.run([sys.executable, "-c", CHECK, str(path)], capture_output=True, text=True, check=True)
    checked, peak = map(int, done.stdout.split())
    assert checked == records
    return peak


def test_checking_ten_times_the_records_takes_no_more_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "GROUP_RECORDS", 1000)
    few, many = peak_of_checking(tmp_path / "few", 4_000), peak_of_checking(tmp_path / "many", 40_000)
    assert many < few + 10_000  # the records alone are 11 MB more
