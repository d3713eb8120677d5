"""The gate's process, as the sidecar starts, watches and ends it."""

import asyncio
import json
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from weightwarden.logger.gate.tls import tls_context
from weightwarden.logger.release import Pace
from weightwarden.logger.sidecar.errors import SettingsError
from weightwarden.logger.sidecar.listening import listening_socket
from weightwarden.logger.sidecar.settings import Settings

START_SECONDS = 30.0
"""Longest time until the gate listens."""
LINK = "link"
"""Begin of the names of the links' sockets, in a folder that only this user may enter."""


class GateProcess:
    """A gate on the sidecar's address. Its socket listens from the beginning, and takes connections once started.

    Attributes:
        links: paths of the Unix sockets on which the sidecar must listen, one for each process that answers requests.
        lost: the end of the process, once it was started.
    """

    def __init__(self, settings: Settings, pace: Pace, folder: str, processes: int = 1) -> None:
        """A gate that is not started.

        Args:
            settings: the sidecar's settings.
            pace: the pace of release.
            folder: a folder for the sockets of the links, which only this user may enter.
            processes: number of processes that answer requests.

        Raises:
            SettingsError: the address is taken, or the TLS files cannot be used.
        """
        self._settings, self._pace = settings, pace
        self.links = tuple(str(Path(folder) / f"{LINK}-{at}") for at in range(processes))
        self.lost: asyncio.Task[int] | None = None
        self._process: asyncio.subprocess.Process | None = None
        if settings.tls_certificate is not None:
            check_tls(settings)
        self._listening = listening_socket(settings)

    async def start(self) -> None:
        """Start the process, and wait until it takes connections.

        Raises:
            SettingsError: it ended at once.
        """
        certificate, key = self._settings.tls_certificate, self._settings.tls_key
        given = {
            "descriptor": self._listening.fileno(),
            "links": self.links,
            "tick": self._pace.seconds,
            "send": self._settings.limits.send,
            "certificate": None if certificate is None else str(certificate),
            "key": None if key is None else str(key),
        }
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "weightwarden.logger.gate", json.dumps(given)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            pass_fds=[self._listening.fileno()],
        )
        self.lost = asyncio.ensure_future(self._process.wait())
        assert self._process.stdout is not None
        said = await asyncio.wait_for(self._process.stdout.readline(), START_SECONDS)
        if said != b"listening\n":
            raise SettingsError("the gate, which holds the clients' connections, ended at its start")

    def close_listener(self) -> None:
        """Let the gate take no more connections."""
        self._listening.close()
        if self._process is not None and self._process.stdin is not None and not self._process.stdin.is_closing():
            self._process.stdin.write(b"\n")

    async def stop(self) -> None:
        """End the gate. What has not left is dropped."""
        self._listening.close()
        if self._process is not None:
            assert self._process.stdin is not None
            self._process.stdin.close()
            await self._process.wait()


@asynccontextmanager
async def gate(settings: Settings, pace: Pace, processes: int = 1) -> AsyncIterator[GateProcess]:
    """A gate, which is ended with the block.

    Raises:
        SettingsError: the address is taken, or the TLS files cannot be used.
    """
    with tempfile.TemporaryDirectory(prefix="weightwarden-gate-") as folder:
        process = GateProcess(settings, pace, folder, processes)
        try:
            yield process
        finally:
            await process.stop()


def check_tls(settings: Settings) -> None:
    """Check that the TLS files can be used.

    Raises:
        SettingsError: they cannot.
    """
    try:
        tls_context(str(settings.tls_certificate), None if settings.tls_key is None else str(settings.tls_key))
    except OSError as error:
        raise SettingsError(
            f"TLS: certificate or key cannot be used: {error.strerror or type(error).__name__}"
        ) from None
