"""The servers of the sidecar's benchmarks, each a process: upstream, plain proxy and sidecar."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.free_port import free_port
from weightwarden.logger.sidecar.log.seeds import write_seed_key
from weightwarden.logger.tlog.keys import SigningKey
from weightwarden.verifier.model.embedded import ensure_embedded_model

ANSWER_TOKENS = 100_000_000
"""Context length of the sidecar, and so the longest answer, in tokens."""
_IDLE_SECONDS, _IDLE_SHARE = 0.1, 0.1


@dataclass(frozen=True)
class Server:
    """A running server.

    Attributes:
        url: its URL.
        process: its process.
    """

    url: str
    process: psutil.Process

    def processor_seconds(self) -> float:
        """Processor time that it and the processes that it started have taken, seconds."""
        times = [process.cpu_times() for process in (self.process, *self.process.children(recursive=True))]
        return float(sum(one.user + one.system for one in times))

    def settle(self) -> None:
        """Wait until it is idle: less than a tenth of a core for a tenth of a second."""
        while True:
            before = self.processor_seconds()
            time.sleep(_IDLE_SECONDS)
            if self.processor_seconds() - before <= _IDLE_SHARE * _IDLE_SECONDS:
                return


@contextmanager
def servers(scratch: Path, log_url: str | None, options: Sequence[str]) -> Iterator[dict[str, Server]]:
    """The upstream ("direct"), the proxy ("pass-through") and the sidecar before it, by name."""
    source, proxy, sidecar = (free_port() for _ in range(3))
    url = f"http://127.0.0.1:{source}"
    longest = ("--max-model-len", str(ANSWER_TOKENS))
    commands = {
        "direct": (source, ["benchmarks.sidecar.token_source", str(source)]),
        "pass-through": (proxy, ["benchmarks.sidecar.plain_proxy", str(proxy), url]),
        "sidecar": (sidecar, sidecar_command(scratch, url, sidecar, *longest, *options, log_url=log_url)),
    }
    with running(scratch, commands) as found:
        yield found


@contextmanager
def running(scratch: Path, commands: Mapping[str, tuple[int, Sequence[str]]]) -> Iterator[dict[str, Server]]:
    """Servers that listen, by name, until the end of the context.

    Args:
        scratch: the folder of their stderr, NAME.log each.
        commands: port, module and arguments of each.

    Raises:
        ChildProcessError: one did not start.
    """
    logs = {name: scratch / f"{name}.log" for name in commands}
    processes = {name: started(command, logs[name]) for name, (_, command) in commands.items()}
    try:
        for name, (port, _) in commands.items():
            await_port(port, processes[name], logs[name])
        yield {
            name: Server(f"http://127.0.0.1:{port}", psutil.Process(processes[name].pid))
            for name, (port, _) in commands.items()
        }
    finally:
        for process in processes.values():
            process.terminate()
        for process in processes.values():
            process.wait(60)


def sidecar_command(
    scratch: Path,
    upstream: str,
    port: int,
    *options: str,
    log_url: str | None = None,
    grammar_backend: str = "guidance==1.7.6",
) -> list[str]:
    """The module and arguments of a sidecar on a port, with new keys and, by default, its log in a temporary folder."""
    key, seed = scratch / "log.key", scratch / "seed.key"
    SigningKey.generate("benchmark/sidecar").write(key)
    write_seed_key(seed, os.urandom)
    command = ["weightwarden.cli.sidecar", "run", "--upstream", upstream, "--model-dir", str(ensure_embedded_model())]
    command += ["--model-name", "source", "--log", log_url or str(scratch / "log.db"), "--seed-key", str(seed)]
    command += ["--signing-key", str(key), "--sampler", "vllm-cpu", "--engine-version", "0.32.0"]
    command += ["--client-seeds", "allow", "--tool-parser", "hermes", "--grammar-backend", grammar_backend]
    return [*command, "--listen", f"127.0.0.1:{port}", "--sampling-defaults", "neutral", *options]


def started(command: Sequence[str], log: Path) -> "subprocess.Popen[bytes]":
    """A module of this project running as a process, with a log of its stderr."""
    with log.open("wb") as errors:
        return subprocess.Popen([sys.executable, "-m", *command], stderr=errors)  # noqa: S603  (ours)


def await_port(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    """Wait until a process listens. The end of the process ends the wait.

    Raises:
        ChildProcessError: the process ended, or does not listen within a minute; the message holds the last lines of
            its log.
    """
    deadline = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise ChildProcessError("it did not start:\n" + log.read_text(encoding="utf-8")[-3000:]) from None
            time.sleep(0.05)
