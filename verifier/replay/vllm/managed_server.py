"""A vLLM server on this machine that ends with the process that started it."""

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from weightwarden.text import printable
from weightwarden.verifier.errors import ReplayServerEnded, ReplayServerError, RequestRefused
from weightwarden.verifier.replay.vllm import parent_watchdog
from weightwarden.verifier.replay.vllm.client import VllmClient
from weightwarden.verifier.replay.vllm.command import ServerCommand

START_SECONDS = 1500.0
"""Seconds for the start of a server. One that compiles needs some 150 seconds on two cores, more beside other work."""
_POLL_SECONDS = 1.0
_PROBE_SECONDS = 10.0
"""Seconds for one answer of a starting server: it may listen before it can answer."""
LAST_LINES = 12
_LINE_CHARACTERS = 300
_ERROR_LINES = 6
_ERROR = re.compile(r"\b[A-Z]\w*(Error|Exception): |what\(\): ")
"""Pattern of lines that name a cause, from Python or the C++ library."""
_STOP_SECONDS = parent_watchdog.ORDERLY_SECONDS + 10.0
_END_SECONDS = 3.0
"""Seconds in which the end of a server becomes visible here after its requests have failed."""
_NOT_PASSED_ON = re.compile(
    "^RAY_|^PYTHON(PATH|HOME)$|^WEIGHTWARDEN_|^PG|^AWS_|^AZURE_|^GOOGLE_|PASSWORD|SECRET|TOKEN|CREDENTIAL|_KEY$"
)
"""Variables that belong to this process: its secrets, and another interpreter's modules."""
_OPERATORS = ("VLLM_CPU_KVCACHE_SPACE", "VLLM_CPU_OMP_THREADS_BIND")
"""Variables that change no logit: the operator's settings of these stay."""

_PREFIX, _SOCKET = "weightwarden-vllm-", "socket"
_MAX_SOCKET_BYTES = 103
"""Largest length of a Unix socket's path: 107 on Linux, 103 on other systems."""

Answer = TypeVar("Answer")


class OwnServer:
    """A running server process.

    Attributes:
        log: file of its output.
    """

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        log: Path,
        folder: Path | None = None,
        *,
        unset: Sequence[str] = (),
    ) -> None:
        """Start the server. It does not answer yet.

        Args:
            command: the program and its arguments.
            environment: variables besides those of this process.
            log: the file for the server's output.
            folder: a folder that is removed when the server is stopped, but not when it ends by itself.
            unset: variables of this process that the server does not get.
        """
        self.log = log
        passed = {
            name: value for name, value in os.environ.items() if name not in unset and not _NOT_PASSED_ON.search(name)
        }
        with log.open("wb") as output:
            self._process = subprocess.Popen(  # noqa: S603  (the operator names the interpreter)
                [sys.executable, parent_watchdog.__file__, str(folder or "-"), *command],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=passed | dict(environment),
                start_new_session=True,  # an interrupt at the terminal goes through this process
            )

    @property
    def ended(self) -> bool:
        """True if the server has ended."""
        return self._process.poll() is not None

    def ends_within(self, seconds: float) -> bool:
        """True if the server has ended, or ends soon: the watchdog takes a moment."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    @property
    def last_word(self) -> str:
        """The last lines of the server's output, the errors among earlier ones, and the place of the log."""
        text = self.log.read_text(encoding="utf-8", errors="replace")
        lines = [printable(line[:_LINE_CHARACTERS].strip()) for line in text.split("\n") if line.strip()]
        last = lines[-LAST_LINES:] or ["it wrote nothing"]
        errors = [line for line in dict.fromkeys(lines[:-LAST_LINES]) if _ERROR.search(line)]
        shown = [*errors[:_ERROR_LINES], *(["..."] if errors else []), *last]
        if len(shown) == 1:
            return f"{shown[0]} (log: {self.log})"
        return "".join(f"\n  {line}" for line in shown) + f"\n(log: {self.log})"

    def wait_for(self, url: str, path: Path | None = None, name: str = "") -> None:
        """Wait until the server answers. The server's end ends the wait at once.

        Args:
            url: URL of the server.
            path: the Unix socket of the server; no request is made before it listens.
            name: a model's name that no other server at the URL has; by default any answer suffices.

        Raises:
            ReplayServerError: the server ended, or does not answer in `START_SECONDS`; the message holds its last
                lines.
            RequestRefused: the server answers, and refuses.
        """
        deadline = time.monotonic() + START_SECONDS
        with VllmClient(url, timeout=_PROBE_SECONDS, socket=path, model=name, attempts=1) as client:
            while True:
                try:
                    if path is not None:
                        _connect(path)
                    client.served_model()
                except RequestRefused:
                    raise
                except (ReplayServerError, OSError) as error:
                    if self.ends_within(_POLL_SECONDS) or time.monotonic() > deadline:
                        raise ReplayServerError(f"the vLLM server did not come up: {self.last_word}") from error
                    continue
                if self.ended:
                    raise ReplayServerError(f"another server answers; this one ended: {self.last_word}")
                return

    def stop(self) -> None:
        """Stop the server; return when it has ended, as far as visible here."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:  # a fork of this process may hold the other end of its input
            self._process.terminate()
            self._process.wait()


def _connect(path: Path) -> None:
    """Connect to a Unix socket, and close it: the HTTP client leaves a socket open if the connection fails."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.connect(str(path))


def _socket_folder() -> Path:
    """A new folder for a socket that only this user may open: in TMPDIR, or in /tmp if that path is too long."""
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
    if len(os.fsencode(folder / _SOCKET)) <= _MAX_SOCKET_BYTES:
        return folder
    folder.rmdir()
    return Path(tempfile.mkdtemp(prefix=_PREFIX, dir="/tmp"))


class OwnVllmClient(VllmClient):
    """A client of a separate server, started for it and stopped when the client is closed.

    The server listens on a socket in a folder that only this user may open: no other user can ask it, or answer in its
    place. If it ends, requests under way fail with `ReplayServerEnded`; `ready` starts it again.
    """

    def __init__(self, python: Path, command: ServerCommand, *, timeout: float, connections: int) -> None:
        """Start the server and wait for it.

        Args:
            python: the interpreter of an environment with vLLM.

        Raises:
            ReplayServerError: the interpreter does not exist, or the server does not start.
        """
        if not os.access(python, os.X_OK):
            raise ReplayServerError(f"{python}: not an interpreter that can be run here")
        self._folder = _socket_folder()
        self._socket = self._folder / _SOCKET
        self._command = [str(python), *command.on_socket(self._socket)]
        self._environment, self._unset = dict(command.environment), command.unset
        if "OMP_NUM_THREADS" in os.environ:  # one of several workers: none has cores for itself
            self._environment["VLLM_CPU_OMP_THREADS_BIND"] = "nobind"
        self._environment |= {name: os.environ[name] for name in _OPERATORS if name in os.environ}
        self._lock = threading.Lock()
        self._closed = False
        super().__init__("http://localhost", timeout=timeout, connections=connections, socket=self._socket)
        self._server = self._started()

    @property
    def place(self) -> str:
        return "its own vLLM server"

    def ready(self) -> None:
        """Start the server again if it has ended."""
        with self._lock:
            if self._server.ended and not self._closed:
                self._server.stop()
                self._server = self._started()

    def close(self) -> None:
        """Drop all connections, and end the server."""
        super().close()
        with self._lock:
            self._closed = True
            self._server.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _started(self) -> OwnServer:
        """A running server that answers."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        self._socket.unlink(missing_ok=True)
        log = self._folder / "server.log"
        server = OwnServer(self._command, self._environment, log, self._folder, unset=self._unset)
        try:
            server.wait_for("http://localhost", self._socket)
        except BaseException:
            server.stop()
            raise
        return server

    def _tried(self, attempt: Callable[[], Answer]) -> Answer:
        try:
            return super()._tried(attempt)
        except RequestRefused:
            raise
        except ReplayServerError as error:
            if not self._closed and self._server.ends_within(_END_SECONDS):
                raise ReplayServerEnded(f"the vLLM server ended: {self._server.last_word}") from error
            raise
