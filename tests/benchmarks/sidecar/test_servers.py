from pathlib import Path

import pytest

from benchmarks.free_port import free_port
from benchmarks.sidecar.servers import await_port, started


def test_the_end_of_a_benchmarks_server_ends_the_wait_with_its_last_lines(tmp_path: Path) -> None:
    log = tmp_path / "log"
    process = started(["benchmarks.no_such_module"], log)
    with pytest.raises(ChildProcessError, match="No module named"):
        await_port(free_port(), process, log)
    process.wait()
