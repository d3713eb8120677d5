"""Client of the fork server: the process that holds the tokenizer, and makes workers."""

import os
import socket
import subprocess
import sys
import threading
import weakref
from pathlib import Path

from weightwarden.extras import MissingExtra
from weightwarden.logger.errors import ModelError
from weightwarden.logger.grammar.errors import GrammarsClosed
from weightwarden.logger.grammar.framing import Ended, receive

MODULE = "weightwarden.logger.grammar.fork_server"
START_SECONDS = 300.0
"""Seconds in which a tokenizer must be read."""
FORK_SECONDS = 30.0
"""Seconds in which a worker must be there."""
_PASSED = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")


class ForkClient:
    """A fork server, started when a worker is asked for, and again if it is gone.

    It inherits no environment, no descriptor but its socket, and no standard stream.
    """

    def __init__(self, folder: Path, vocabulary: int, *, extra: str) -> None:
        """The fork server of a model folder, not started yet.

        Args:
            folder: the model folder.
            vocabulary: width of the model's logits, tokens.
            extra: the extra of the package that llguidance belongs to here.
        """
        self._folder, self._vocabulary, self._extra = folder, vocabulary, extra
        self._lock = threading.Lock()
        self._server: _Server | None = None
        self._closed = False

    def new_worker(self, number: int) -> tuple[socket.socket, int | None]:
        """A socket to a new worker, and the exit code of the last one of the number, which is killed; None if unknown.

        Args:
            number: number of the worker, below 256.

        Raises:
            ModelError: the tokenizer cannot be used.
            MissingExtra: llguidance is not installed.
            GrammarsClosed: the client was closed.
        """
        with self._lock:
            if self._closed:
                raise GrammarsClosed("the process that compiles grammars was closed")
            if self._server is not None:
                try:
                    return self._server.new_worker(number)
                except Ended:
                    self._server.close()
            self._server = _Server(self._folder, self._vocabulary, self._extra)
            try:
                return self._server.new_worker(number)[0], None
            except Ended:
                raise ModelError(f"{self._folder}: the process that compiles grammars ends at once") from None

    def close(self) -> None:
        """End the fork server and its workers, for good."""
        with self._lock:
            self._closed = True
            if self._server is not None:
                self._server.close()
            self._server = None


class _Server:
    """A running fork server."""

    def __init__(self, folder: Path, vocabulary: int, extra: str) -> None:
        self._control, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-m", MODULE, str(theirs.fileno()), str(folder), str(vocabulary), extra]
            process = subprocess.Popen(  # noqa: S603  (this package's own module)
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
                env=_environment(),
            )
        self.close = weakref.finalize(self, _end, process, self._control)
        self._control.settimeout(START_SECONDS)
        try:
            said = receive(self._control)
        except (Ended, TimeoutError):
            self.close()
            raise ModelError(f"{folder}: the process that compiles grammars does not start") from None
        if "error" in said:
            self.close()
            raise (MissingExtra if said["missing"] else ModelError)(str(said["error"]))

    def new_worker(self, number: int) -> tuple[socket.socket, int | None]:
        """A socket to a new worker, and the exit code of the last one.

        Raises:
            Ended: the fork server is gone.
        """
        ours, theirs = socket.socketpair()
        self._control.settimeout(FORK_SECONDS)
        try:
            with theirs:
                socket.send_fds(self._control, [bytes([number])], [theirs.fileno()])
            ended = receive(self._control)["ended"]
        except (OSError, Ended, KeyError):
            ours.close()
            raise Ended("the fork server is gone") from None
        return ours, ended


def _end(process: "subprocess.Popen[bytes]", control: socket.socket) -> None:
    control.close()
    process.kill()  # its workers die with it
    process.wait()


def _environment() -> dict[str, str]:
    """The environment of the fork server: where modules are, and nothing of the operator's."""
    path = os.pathsep.join(str(Path(entry or ".").absolute()) for entry in sys.path)
    passed = {name: os.environ[name] for name in _PASSED if name in os.environ}
    return {"PYTHONPATH": path, "LC_ALL": "C.UTF-8", "OPENBLAS_NUM_THREADS": "1", **passed}
