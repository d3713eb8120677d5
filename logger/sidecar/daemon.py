"""The sidecar's process: serves until it is stopped, and ends with every answer on record."""

import asyncio
import math
import os
import signal
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import prometheus_client
from prometheus_client.registry import Collector

from weightwarden.logger.serving.address import Address
from weightwarden.logger.serving.event_log import Events
from weightwarden.logger.sidecar.errors import GateLost, SettingsError
from weightwarden.logger.sidecar.event_loop import background, prepare
from weightwarden.logger.sidecar.front import front, open_replicas
from weightwarden.logger.sidecar.gate_process import GateProcess, gate
from weightwarden.logger.sidecar.http_server import HttpServer, server_config
from weightwarden.logger.sidecar.log.cosigner import Cosigner
from weightwarden.logger.sidecar.log.log_seeds import LogSeeds
from weightwarden.logger.sidecar.log.notary import Notary
from weightwarden.logger.sidecar.log.recorder import DraftRecorder
from weightwarden.logger.sidecar.log.seeds import Seeds
from weightwarden.logger.sidecar.metrics import Metrics
from weightwarden.logger.sidecar.readiness import ServerChecks
from weightwarden.logger.sidecar.startup import SidecarParts, unlisted_engine, warnings
from weightwarden.logger.sidecar.upstream.replicas import Replicas
from weightwarden.logger.sidecar.worker_pool import WorkerPool
from weightwarden.logger.sidecar.workers.pooled_metrics import PooledMetrics


def on_signals(stop: Callable[[], None]) -> None:
    """Let SIGTERM and SIGINT stop the sidecar. Called within its event loop."""
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop)


async def serve(
    sidecar: SidecarParts, events: Events, stopped_by: Callable[[Callable[[], None]], None] = on_signals
) -> None:
    """Serve until stopped, then finish or cut off the answers under way and record them.

    Args:
        stopped_by: receives the function that stops the sidecar. Its first call lets answers end; its second cuts them
            off.

    Raises:
        SettingsError: the sidecar cannot listen on its address, or cannot use its TLS files; or a worker cannot begin.
        GateLost: the gate ended.
    """
    settings = sidecar.settings
    prepare(events)
    metrics = Metrics()
    metrics.log_size.set_function(lambda: sidecar.log.size)
    engine = settings.engine
    metrics.engine_info.labels(engine.name, engine.version, engine.sampler, engine.profile or "").set(1)
    _watch_space(sidecar, metrics)
    async with AsyncExitStack() as stack:
        notary = _notary(sidecar, metrics, events)
        gated = None
        if settings.release_pace is not None:
            gated = await stack.enter_async_context(gate(settings, settings.release_pace, settings.workers))
        gate_watch = _GateWatch(gated, str(settings.listen), events)
        made = _in_this_process if settings.workers == 1 else _in_workers
        serving = await made(stack, sidecar, metrics, events, gate_watch)
        gate_watch.stop = serving.stop
        stopped_by(gate_watch.stop_all)
        await stack.enter_async_context(background(notary.run(), events))
        events.say(
            "opened",
            model=sidecar.model.name,
            log_size=sidecar.log.size,
            recovered=sidecar.recovered,
        )
        for notice in (*sidecar.model.notices, *sidecar.model.guesses):
            events.say("model", why=notice)
        unlisted = unlisted_engine(settings)  # a sidecar that started all the same has --unlisted-engine
        for warning in (*warnings(settings), *([] if unlisted is None else [unlisted])):
            events.say("warning", why=warning)
        await serving.run()
        await asyncio.to_thread(notary.certify)
        await asyncio.to_thread(notary.seal)
    events.say("stopped", log_size=sidecar.log.size)
    if gate_watch.lost:
        raise GateLost("the gate, which holds the clients' connections, ended; start the sidecar again")


@dataclass(frozen=True)
class _Serving:
    """Requests that are answered, in this process or in workers.

    Attributes:
        run: answers until it is stopped and all answers are on record.
        stop: lets answers end; its second call cuts them off.
    """

    run: Callable[[], Coroutine[Any, Any, None]]
    stop: Callable[[], None]


@dataclass
class _GateWatch:
    """The gate, if there is one, and what its end does.

    Attributes:
        gated: the gate, or None.
        address: address for clients.
        events: the operator's log.
        stop: stops the sidecar.
        lost: whether the gate ended by itself.
    """

    gated: GateProcess | None
    address: str
    events: Events
    stop: Callable[[], None] = lambda: None
    lost: bool = False
    _stopping: bool = False

    async def listens(self) -> None:
        """Let clients in: all that is behind the gate listens."""
        if self.gated is not None:
            await self.gated.start()
            assert self.gated.lost is not None
            self.gated.lost.add_done_callback(self._on_lost)
        self.events.say("listening", address=self.address)

    def stop_all(self) -> None:
        """Stop the sidecar: no connection is taken any more."""
        self._stopping = True
        if self.gated is not None:
            self.gated.close_listener()
        self.stop()

    def _on_lost(self, _: object) -> None:
        if not self._stopping:
            self.lost = True
            self.events.say("gate lost")
            self.stop_all()


async def _in_this_process(
    stack: AsyncExitStack, sidecar: SidecarParts, metrics: Metrics, events: Events, gate_watch: _GateWatch
) -> _Serving:
    """The only process answers requests itself."""
    settings = sidecar.settings

    def seeds(recorder: DraftRecorder) -> Seeds:
        return sidecar.issuer(LogSeeds(sidecar.log, recorder))

    serving = await stack.enter_async_context(front(sidecar, sidecar.log, seeds, metrics, events, int(sidecar.clock())))
    metrics.workers.set(1)
    if settings.metrics is not None:
        _serve_metrics(stack, settings.metrics, metrics.registry)
    link = None if gate_watch.gated is None else gate_watch.gated.links[0]
    config = server_config(settings, serving.dependencies, link)
    server = HttpServer(config, serving.service, events, gate_watch.listens)
    await stack.enter_async_context(background(serving.recorder.retry(), events))
    await stack.enter_async_context(background(_checks(sidecar, serving.replicas, metrics, events).watch(), events))

    async def run() -> None:
        await server.serve()
        await serving.service.settle()
        await serving.recorder.settle()

    return _Serving(run, server.stop)


async def _in_workers(
    stack: AsyncExitStack, sidecar: SidecarParts, metrics: Metrics, events: Events, gate_watch: _GateWatch
) -> _Serving:
    """Workers answer requests, and this process writes the log."""
    settings, pooled = sidecar.settings, PooledMetrics(metrics)
    replicas = await open_replicas(stack, sidecar, metrics, events)
    recorder = DraftRecorder(sidecar.log, metrics, events, sidecar.clock)
    issuer = sidecar.issuer(LogSeeds(sidecar.log, recorder))
    links = None if gate_watch.gated is None else gate_watch.gated.links
    pool = WorkerPool(sidecar, issuer, replicas, pooled, metrics, events, links)
    if settings.metrics is not None:
        _serve_metrics(stack, settings.metrics, pooled.registry)
    await stack.enter_async_context(background(recorder.retry(), events))
    checks = _checks(sidecar, replicas, metrics, events, pool.published)
    await stack.enter_async_context(background(checks.watch(), events))

    async def run() -> None:
        await pool.start()
        await gate_watch.listens()
        await pool.run()

    return _Serving(run, pool.stop)


def _checks(
    sidecar: SidecarParts,
    replicas: Replicas,
    metrics: Metrics,
    events: Events,
    published: Callable[[], object] = lambda: None,
) -> ServerChecks:
    return ServerChecks(
        replicas,
        events,
        metrics,
        period=sidecar.settings.limits.ready,
        clock=asyncio.get_running_loop().time,
        published=published,
    )


def _notary(sidecar: SidecarParts, metrics: Metrics, events: Events) -> Notary:
    """The notary of the log."""
    settings = sidecar.settings
    cosigner = Cosigner(
        url=settings.log,
        log=sidecar.log,
        public_keys=sidecar.checkpointer.keys,
        urls=settings.witness_urls,
        witness_keys=sidecar.witness_keys,
        timeout=settings.witness_timeout,
        metrics=metrics,
        events=events,
        clock=sidecar.clock,
    )
    return Notary(
        sidecar.checkpointer,
        cosigner,
        metrics,
        events,
        checkpoint_every=settings.checkpoint_every,
        seal_every=settings.seal_every,
        clock=sidecar.clock,
    )


def _serve_metrics(stack: AsyncExitStack, address: Address, registry: Collector) -> None:
    try:
        server, thread = prometheus_client.start_http_server(address.port, address.host, registry)
    except OSError as error:
        raise SettingsError(f"metrics: cannot listen there: {error.strerror or error}") from None
    stack.callback(thread.join)
    stack.callback(server.server_close)
    stack.callback(server.shutdown)


def _free_bytes(folder: Path) -> float:
    """Free space for this process on a folder's file system, bytes; nan if it is unknown."""
    try:
        found = os.statvfs(folder)
    except OSError:
        return math.nan
    return float(found.f_bavail * found.f_frsize)


def _watch_space(sidecar: SidecarParts, metrics: Metrics) -> None:
    """Let metrics show the free space of the local folders to which the sidecar writes."""
    for name, folder in sidecar.folders().items():
        metrics.free_bytes.labels(name).set_function(partial(_free_bytes, folder))
