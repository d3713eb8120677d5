"""A vLLM server on this machine that ends with the process that started it."""

import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from sampler.errors import printable
from verifier.errors import ReplayServerError
from verifier.free_port import free_port
from verifier.vllm import ended_with_parent
from verifier.vllm.client import VllmClient
from verifier.vllm.command import ServerCommand

START_SECONDS = 1500.0
"""A server that compiles needs some 150 seconds on two cores, more where another works beside it."""
_POLL_SECONDS = 1.0
_NOT_PASSED_ON = ("RAY_", "PYTHONPATH", "PYTHONHOME")
"""Beginnings of variables that are this process's affair: Ray's token, and another interpreter's modules."""


class OwnServer:
    """A running server process.

    Attributes:
        url: where it listens, on the loopback address.
    """

    def __init__(self, command: Callable[[int], Sequence[str]], environment: Mapping[str, str], log: Path) -> None:
        """Start it; it does not answer yet.

        Args:
            command: the whole command for a port. environment: besides this process's own. log: of its output.
        """
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.log = log
        passed = {name: value for name, value in os.environ.items() if not name.startswith(_NOT_PASSED_ON)}
        with log.open("wb") as output:
            self._process = subprocess.Popen(  # noqa: S603  (the operator names the interpreter)
                [sys.executable, ended_with_parent.__file__, *command(port)],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=passed | dict(environment),
                start_new_session=True,  # an interrupt at the terminal goes through this process
            )

    def wait_for(self, client: VllmClient) -> None:
        """Return when it answers.

        Raises:
            ReplayServerError: it ended, or does not answer in `START_SECONDS`; with the last line that it wrote.
        """
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                client.served_model()
                return
            except ReplayServerError as error:
                if self._process.poll() is None and time.monotonic() < deadline:
                    time.sleep(_POLL_SECONDS)
                    continue
                lines = self.log.read_text(encoding="utf-8", errors="replace").split("\n")
                last = next((line for line in reversed(lines) if line.strip()), "it wrote nothing")
                raise ReplayServerError(
                    f"the vLLM server did not come up: {printable(last[-300:].strip())} (log: {self.log})"
                ) from error

    def stop(self) -> None:
        """End it, and wait until it has ended."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


class OwnVllmClient(VllmClient):
    """A client of a server of its own, which is started for it and ended when it is closed."""

    def __init__(self, python: Path, command: ServerCommand, *, timeout: float, connections: int) -> None:
        """Start the server and wait for it; it answers none but this client.

        Args:
            python: the interpreter of an environment that has vLLM.

        Raises:
            ReplayServerError: there is no such interpreter, or the server does not come up.
        """
        if not os.access(python, os.X_OK):
            raise ReplayServerError(f"{python}: not an interpreter that can be run here")
        folder = Path(tempfile.mkdtemp(prefix="weightwarden-vllm-"))
        key = secrets.token_hex(32)
        environment = {**command.environment, "VLLM_API_KEY": key}
        if "OMP_NUM_THREADS" in os.environ:  # one of several workers, each with so many threads: none has cores alone
            environment.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")
        self._server = OwnServer(lambda port: [str(python), *command.on_port(port)], environment, folder / "server.log")
        super().__init__(self._server.url, api_key=key, timeout=timeout, connections=connections)
        try:
            self._server.wait_for(self)
        except BaseException:
            self._stop()
            raise
        self._folder = folder

    @property
    def place(self) -> str:
        return "its own vLLM server"

    def close(self) -> None:
        """Drop all connections, and end the server."""
        self._stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _stop(self) -> None:
        super().close()
        self._server.stop()
