"""Pool of workers, as the main process starts, replaces and stops them."""

import asyncio
import json
import secrets
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from weightwarden.errors import WeightwardenError
from weightwarden.logger.serving.event_log import Events
from weightwarden.logger.sidecar.errors import SettingsError
from weightwarden.logger.sidecar.listening import listening_socket
from weightwarden.logger.sidecar.log.recorder import RETRY_SECONDS
from weightwarden.logger.sidecar.log.seeds import SeedIssuer
from weightwarden.logger.sidecar.log.trouble import Trouble
from weightwarden.logger.sidecar.metrics import Metrics
from weightwarden.logger.sidecar.settings import Settings
from weightwarden.logger.sidecar.startup import SidecarParts
from weightwarden.logger.sidecar.upstream.replicas import Replicas
from weightwarden.logger.sidecar.worker_start import WorkerStart
from weightwarden.logger.sidecar.workers.link import Kind, Link
from weightwarden.logger.sidecar.workers.log_server import LogServer
from weightwarden.logger.sidecar.workers.pooled_metrics import PooledMetrics
from weightwarden.logger.store.mark import NONCE_BYTES

SHORT_LIFE_SECONDS, FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 10.0, 1.0, 30.0
"""A worker that ended sooner is replaced after a wait, which doubles with each such end up to the longest."""


@dataclass
class _Running:
    """A worker process.

    Attributes:
        worker: its number.
        log: the log for it.
        ended: the end of its link.
        listened: whether it has listened.
        failed: why it could not begin, in its own words.
    """

    worker: int
    log: LogServer
    ended: "asyncio.Future[None]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    listened: bool = False
    failed: str | None = None


class WorkerPool:
    """The workers of a sidecar. One that ends unasked is replaced, and what it left in the log is ended.

    The main process has the log, its keys and the timers; the workers have the clients and the inference servers. Used
    within one event loop.
    """

    def __init__(
        self,
        sidecar: SidecarParts,
        issuer: SeedIssuer,
        replicas: Replicas,
        pooled: PooledMetrics,
        metrics: Metrics,
        events: Events,
        links: Sequence[str] | None,
    ) -> None:
        """A pool that is not started. Without a gate its sockets listen from now on.

        Args:
            sidecar: the opened sidecar.
            issuer: issuer of the seeds of all workers.
            replicas: the servers, which the main process checks.
            pooled: metrics of all processes.
            metrics: metrics of the main process.
            events: the operator's log.
            links: paths of the Unix sockets to which the gate connects, one a worker; None without a gate.

        Raises:
            SettingsError: the address is taken.
        """
        self._sidecar, self._issuer, self._replicas = sidecar, issuer, replicas
        self._pooled, self._metrics, self._events = pooled, metrics, events
        count = sidecar.settings.workers
        self._links = links
        self._sockets = [] if links is not None else _shared_sockets(sidecar.settings, count)
        self._running: dict[int, _Running] = {}
        self._nonces = {number: nonce.hex() for number, nonce in sidecar.nonces.items()}
        self._created = int(sidecar.clock())
        self._trouble = Trouble("recovery", events)
        self._stopping = asyncio.Event()
        self._listening = [asyncio.get_running_loop().create_future() for _ in range(count)]
        self._keepers: list[asyncio.Task[None]] = []
        metrics.workers.set_function(lambda: float(sum(one.listened for one in list(self._running.values()))))

    async def start(self) -> None:
        """Start the workers, and wait until they listen.

        Raises:
            SettingsError: one of them cannot begin.
        """
        self._keepers = [asyncio.ensure_future(self._keep(worker)) for worker in range(1, len(self._listening) + 1)]
        try:
            await asyncio.gather(*self._listening)
        except SettingsError:
            self.stop()
            await self.run()
            raise

    async def run(self) -> None:
        """Wait until all workers have ended after `stop`."""
        await asyncio.gather(*self._keepers)

    def stop(self) -> None:
        """Let answers end. The second call cuts them off."""
        self._stopping.set()
        for one in self._sockets:
            one.close()
        for running in self._running.values():
            if running.log.link is not None:
                running.log.link.send(Kind.STOP)

    def published(self) -> None:
        """Tell the workers the states of the servers."""
        for running in self._running.values():
            self._tell_states(running)

    def _tell_states(self, running: _Running) -> None:
        states = "\n".join(one.unfit or "" for one in self._replicas.all)
        if running.log.link is not None:
            running.log.link.send(Kind.SERVERS, states.encode())

    async def _keep(self, worker: int) -> None:
        """Keep a worker running until the pool stops."""
        wait, loop = FIRST_WAIT_SECONDS, asyncio.get_running_loop()
        listening = self._listening[worker - 1]
        while not self._stopping.is_set():
            began = loop.time()
            running, code = await self._life(worker)
            if not listening.done():
                if self._stopping.is_set() and running.failed is None:
                    listening.set_result(None)
                else:
                    listening.set_exception(SettingsError(running.failed or "a worker ended at its start"))
                return
            if self._stopping.is_set():
                return
            self._metrics.worker_ends.inc()
            self._events.say("worker ended", worker=worker, exit_code=code, why=running.failed)
            if loop.time() - began > SHORT_LIFE_SECONDS:
                wait = FIRST_WAIT_SECONDS
                continue
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), wait)
            wait = min(2 * wait, LONGEST_WAIT_SECONDS)

    async def _life(self, worker: int) -> tuple[_Running, int]:
        """A worker from its begin to the end of what it left in the log, and its exit code."""
        here, there = socket.socketpair()
        inherited = [there.fileno(), *([] if self._links is not None else [self._sockets[worker - 1].fileno()])]
        with there:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "weightwarden.logger.sidecar.worker", str(there.fileno())),
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=inherited,
            )
        running = _Running(worker, LogServer(self._sidecar.log, self._issuer))
        link = Link(lambda kind, content: self._taken(running, kind, content), lambda: _end(running), self._events)
        await asyncio.get_running_loop().connect_accepted_socket(lambda: link, here)
        running.log.link = link
        self._running[worker] = running
        link.send(Kind.HELLO, self._start_of(worker).encode())
        self._tell_states(running)
        if self._stopping.is_set():
            link.send(Kind.STOP)
        try:
            await running.ended
            code = await process.wait()
        finally:
            del self._running[worker]
            self._pooled.ended(worker)
            await running.log.settle()
            await self._recover(running)
        return running, code

    def _start_of(self, worker: int) -> WorkerStart:
        return WorkerStart(
            settings=self._sidecar.settings,
            worker=worker,
            seed_key=self._sidecar.identity.seed_key.hex(),
            origin=self._sidecar.identity.origin,
            nonce=secrets.token_hex(NONCE_BYTES),  # its own, so that no other process issues the same ids
            nonces=self._nonces,
            created=self._created,
            listening=None if self._links is not None else self._sockets[worker - 1].fileno(),
            link=None if self._links is None else self._links[worker - 1],
        )

    def _taken(self, running: _Running, kind: Kind, content: memoryview) -> None:
        if running.log.taken(kind, content):
            return
        if kind is Kind.METRICS:
            self._pooled.update(running.worker, json.loads(bytes(content))["families"])
        elif kind is Kind.LISTENING:
            running.listened = True
            if not self._listening[running.worker - 1].done():
                self._listening[running.worker - 1].set_result(None)
        elif kind is Kind.FAILED:
            running.failed = json.loads(bytes(content))["message"]

    async def _recover(self, running: _Running) -> None:
        """Make records of the drafts that a worker left. While the log cannot be written, this is repeated.

        A pool that stops leaves them to the next start.
        """
        while True:
            try:
                ended = await running.log.recover()
            except WeightwardenError as error:
                self._trouble.begin(error)
            else:
                self._trouble.end()
                if ended:
                    self._events.say("recovered", worker=running.worker, records=ended)
                return
            if self._stopping.is_set():
                return
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), RETRY_SECONDS)


def _end(running: _Running) -> None:
    running.ended.set_result(None)


def _shared_sockets(settings: Settings, count: int) -> list[socket.socket]:
    """Sockets on one address, one a worker. The kernel gives each connection to one of them.

    The main process keeps them open, so that connections wait for a worker that is replaced. Another program cannot
    join them: the address must be free to one that shares it with nobody.

    Raises:
        SettingsError: the address is taken.
    """
    with listening_socket(settings) as first:
        address = first.getsockname()
    return [listening_socket(settings, shared=True, address=address) for _ in range(count)]
