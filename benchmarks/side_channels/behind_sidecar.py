"""A real sidecar before an upstream, for a benchmark."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.free_port import free_port
from benchmarks.sidecar import await_port, sidecar_command


@contextmanager
def running_sidecar(upstream: str, tick_ms: int | None) -> Iterator[str]:
    """The URL of a sidecar before the upstream, with a log of its own."""
    port = free_port()
    with tempfile.TemporaryDirectory() as scratch:
        ticks = [] if tick_ms is None else ["--tick", str(tick_ms)]
        command = sidecar_command(Path(scratch), upstream, port, *ticks)
        process = subprocess.Popen([sys.executable, "-m", *command], stderr=subprocess.DEVNULL)  # noqa: S603  (ours)
        try:
            await_port(port)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(60)
