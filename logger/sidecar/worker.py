"""A worker process: it answers requests, and has the main process write the log.

Its argument is the descriptor of its link. It stops when the main process tells it, and ends at once with it.
"""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack

from weightwarden.errors import WeightwardenError
from weightwarden.extras import needs_extra
from weightwarden.logger.serving.event_log import Events
from weightwarden.logger.sidecar.event_loop import background, prepare
from weightwarden.logger.sidecar.front import Front, front
from weightwarden.logger.sidecar.http_server import HttpServer, server_config
from weightwarden.logger.sidecar.metrics import Metrics
from weightwarden.logger.sidecar.serving_parts import Identity, serving_parts
from weightwarden.logger.sidecar.worker_start import WorkerStart
from weightwarden.logger.sidecar.workers.link import Kind, Link
from weightwarden.logger.sidecar.workers.pooled_metrics import snapshot
from weightwarden.logger.sidecar.workers.worker_log import WorkerLog
from weightwarden.logger.sidecar.workers.worker_seeds import WorkerSeeds

METRICS_SECONDS = 1.0
"""Seconds between two reports of the metrics."""
ALONE = 3
"""Exit code of a worker whose main process has ended: nothing that it received can be made durable any more."""


class Worker:
    """A worker on its link. Used within one event loop."""

    def __init__(self) -> None:
        """A worker that waits for its begin."""
        self.link = Link(self._taken, self._lost, Events())
        self._start: asyncio.Future[WorkerStart] = asyncio.get_running_loop().create_future()
        self._closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._done = False
        self._stops = 0
        self._stop: Callable[[], None] | None = None
        self._servers: list[str | None] = []
        self._front: Front | None = None
        self._takers: dict[Kind, Callable[[memoryview], None]] = {
            Kind.HELLO: self._hello,
            Kind.SERVERS: self._checked,
            Kind.STOP: self._stopped,
        }

    async def work(self, connection: socket.socket) -> None:
        """Serve until the main process says that it is enough."""
        await asyncio.get_running_loop().connect_accepted_socket(lambda: self.link, connection)
        start = await self._start
        try:
            async with AsyncExitStack() as stack:
                await self._serve(stack, start)
        except WeightwardenError as error:
            self.link.tell(Kind.FAILED, message=str(error))
        self._done = True
        self.link.close()
        await self._closed

    async def _serve(self, stack: AsyncExitStack, start: WorkerStart) -> None:
        seed_key, nonce = bytes.fromhex(start.seed_key), bytes.fromhex(start.nonce)
        identity = Identity(seed_key=seed_key, origin=start.origin, nonce=nonce)
        parts = stack.enter_context(serving_parts(start.settings, identity))
        events = Events().of(worker=start.worker)
        prepare(events)
        metrics = Metrics()
        log = WorkerLog(self.link)
        nonces = {number: bytes.fromhex(one) for number, one in start.nonces.items()}
        seeds = WorkerSeeds(self.link, seed_key, start.origin, nonces)
        self._takers |= {
            Kind.RESULTS: log.results,
            Kind.UNWRITTEN: log.unwritten,
            Kind.ISSUED: seeds.issued,
            Kind.RECORDED: seeds.recorded,
        }
        serving = await stack.enter_async_context(front(parts, log, lambda _: seeds, metrics, events, start.created))
        self._front = serving
        self._publish()
        server = HttpServer(
            server_config(start.settings, serving.dependencies, start.link), serving.service, events, self._listens
        )
        await stack.enter_async_context(background(serving.recorder.retry(), events))
        await stack.enter_async_context(background(self._report(metrics), events))
        self._stop = server.stop
        for _ in range(self._stops):
            server.stop()
        await server.serve(None if start.listening is None else [socket.socket(fileno=start.listening)])
        await serving.service.settle()
        await serving.recorder.settle()
        self.link.tell(Kind.METRICS, families=snapshot(metrics.registry))

    async def _listens(self) -> None:
        self.link.send(Kind.LISTENING)

    async def _report(self, metrics: Metrics) -> None:
        """Report the metrics at intervals. Never returns."""
        while True:
            self.link.tell(Kind.METRICS, families=snapshot(metrics.registry))
            await asyncio.sleep(METRICS_SECONDS)

    def _taken(self, kind: Kind, content: memoryview) -> None:
        self._takers[kind](content)

    def _hello(self, content: memoryview) -> None:
        self._start.set_result(WorkerStart.decode(bytes(content)))

    def _checked(self, content: memoryview) -> None:
        self._servers = [line or None for line in bytes(content).decode().split("\n")]
        self._publish()

    def _publish(self) -> None:
        """Note the states of the servers, as the main process published them."""
        if self._front is not None and self._servers:
            for replica, unfit in zip(self._front.replicas.all, self._servers, strict=True):
                self._front.replicas.checked(replica, unfit)

    def _stopped(self, _: memoryview) -> None:
        self._stops += 1
        if self._stop is not None:
            self._stop()

    def _lost(self) -> None:
        if not self._done:
            os._exit(ALONE)
        self._closed.set_result(None)


async def _work(connection: socket.socket) -> None:
    await Worker().work(connection)


def main() -> None:
    """Run."""
    for number in (signal.SIGINT, signal.SIGTERM):  # the main process decides when it ends
        signal.signal(number, signal.SIG_IGN)
    connection = socket.socket(fileno=int(sys.argv[1]))
    with needs_extra("server"):
        import uvloop
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_work(connection))


if __name__ == "__main__":
    main()
