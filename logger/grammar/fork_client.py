"""Client of the fork server: the process that holds the tokenizer, and one worker of it."""

import os
import socket
import subprocess
import sys
import weakref
from pathlib import Path

from weightwarden.extras import MissingExtra
from weightwarden.logger.errors import ModelError
from weightwarden.logger.grammar.framing import Ended, receive

MODULE = "weightwarden.logger.grammar.fork_server"
START_SECONDS = 300.0
"""Seconds in which a tokenizer must be read."""
FORK_SECONDS = 30.0
"""Seconds in which a worker must be there."""
_PASSED = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT")


class ForkClient:
    """A running fork server. It inherits no environment, no descriptor but its socket, and no standard stream."""

    def __init__(self, folder: Path, vocabulary: int, *, extra: str) -> None:
        """The fork server of a model folder, once its tokenizer is read.

        Args:
            folder: the model folder.
            vocabulary: width of the model's logits, tokens.
            extra: the extra of the package that llguidance belongs to here.

        Raises:
            ModelError: the tokenizer cannot be used.
            MissingExtra: llguidance is not installed.
        """
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
            raise (MissingExtra if said.get("missing") else ModelError)(str(said["error"]))

    def new_worker(self) -> tuple[socket.socket, int | None]:
        """A socket to a new worker, and the exit code of the last one, which is killed if it has not ended.

        Raises:
            Ended: the fork server is gone.
        """
        ours, theirs = socket.socketpair()
        self._control.settimeout(FORK_SECONDS)
        try:
            with theirs:
                socket.send_fds(self._control, [b"w"], [theirs.fileno()])
            ended = receive(self._control)["ended"]
        except (OSError, Ended, KeyError):
            ours.close()
            raise Ended("the fork server is gone") from None
        return ours, ended


def _end(process: "subprocess.Popen[bytes]", control: socket.socket) -> None:
    control.close()
    process.kill()  # its worker dies with it
    process.wait()


def _environment() -> dict[str, str]:
    """The environment of the fork server: where modules are, and nothing of the operator's."""
    path = os.pathsep.join(str(Path(entry or ".").absolute()) for entry in sys.path)
    passed = {name: os.environ[name] for name in _PASSED if name in os.environ}
    return {"PYTHONPATH": path, "LC_ALL": "C.UTF-8", "OPENBLAS_NUM_THREADS": "1", **passed}
