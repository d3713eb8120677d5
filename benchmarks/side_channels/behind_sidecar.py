"""A real sidecar before an upstream, for a benchmark."""

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.free_port import free_port
from benchmarks.side_channels.release_control import ReleaseControl
from benchmarks.sidecar.servers import await_port, sidecar_command, started
from weightwarden.logger.formats.canonical import decode_record
from weightwarden.logger.record import Record
from weightwarden.logger.store.reader import LogReader

LOG_SECONDS = 30.0
"""Longest time until the record of an answer that was received is in the log."""


@dataclass(frozen=True)
class RunningSidecar:
    """A sidecar that runs: its URL, and the database of its log."""

    url: str
    log: str

    def records(self, count: int) -> list[Record]:
        """All records, once there are so many.

        Raises:
            TimeoutError: there are fewer.
        """
        reader = LogReader(self.log)
        deadline = time.monotonic() + LOG_SECONDS
        while (size := reader.size()) < count:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{size} records, and not {count}")
            time.sleep(0.05)
        return [decode_record(entry) for entry in reader.entries(0, size)]


@contextmanager
def running_sidecar(upstream: str, control: ReleaseControl, *options: str) -> Iterator[RunningSidecar]:
    """A sidecar in front of the upstream, with a separate log.

    Args:
        upstream: URL of the upstream.
        control: control of the moments at which answers leave.
        options: more options of `sidecar run`.
    """
    port = free_port()
    with tempfile.TemporaryDirectory() as scratch:
        command = sidecar_command(Path(scratch), upstream, port, *control.options, *options)
        log = Path(scratch) / "sidecar.err"
        process = started(command, log)
        try:
            await_port(port, process, log)
            yield RunningSidecar(f"http://127.0.0.1:{port}", str(Path(scratch) / "log.db"))
        finally:
            process.terminate()
            process.wait(60)
