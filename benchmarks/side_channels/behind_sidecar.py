"""A real sidecar before an upstream, for a benchmark."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.free_port import free_port
from benchmarks.sidecar.cost import await_port, sidecar_command, started


@contextmanager
def running_sidecar(upstream: str, tick_ms: int | None) -> Iterator[str]:
    """The URL of a sidecar in front of the upstream, with a separate log."""
    port = free_port()
    with tempfile.TemporaryDirectory() as scratch:
        ticks = [] if tick_ms is None else ["--release-tick", str(tick_ms)]
        command = sidecar_command(Path(scratch), upstream, port, *ticks)
        log = Path(scratch) / "sidecar.err"
        process = started(command, log)
        try:
            await_port(port, process, log)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(60)
