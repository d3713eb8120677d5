"""The sidecar's process: serves until it is stopped, and ends with every answer on record."""

import asyncio
import gc
import logging
import math
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Generator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path

import prometheus_client
import uvicorn

from weightwarden.logger.serving.event_log import Events
from weightwarden.logger.serving.limited_protocol import limited_protocol
from weightwarden.logger.serving.refusal import Refusal
from weightwarden.logger.sidecar.answer import ChoiceRunner
from weightwarden.logger.sidecar.app import Dependencies, application
from weightwarden.logger.sidecar.cors import Cors
from weightwarden.logger.sidecar.errors import GateLost, SettingsError
from weightwarden.logger.sidecar.gate_process import GateProcess, gate
from weightwarden.logger.sidecar.gated_protocol import gated_protocol
from weightwarden.logger.sidecar.ignored_fields import IgnoredFields
from weightwarden.logger.sidecar.interpretation import RequestInterpreter
from weightwarden.logger.sidecar.log.cosigner import Cosigner
from weightwarden.logger.sidecar.log.notary import Notary
from weightwarden.logger.sidecar.log.recorder import DraftRecorder
from weightwarden.logger.sidecar.logprobs.trusted_server import TrustedServer
from weightwarden.logger.sidecar.metrics import Metrics
from weightwarden.logger.sidecar.prepare_pool import PreparePool
from weightwarden.logger.sidecar.readiness import Readiness
from weightwarden.logger.sidecar.release_ticks import Ticks
from weightwarden.logger.sidecar.service import Service
from weightwarden.logger.sidecar.settings import Settings
from weightwarden.logger.sidecar.startup import SidecarParts, unlisted_engine, warnings
from weightwarden.logger.sidecar.upstream.client import Upstream
from weightwarden.logger.sidecar.upstream.replicas import Replica, Replicas
from weightwarden.logger.sidecar.whole_answers import WholeBodies
from weightwarden.logger.sidecar.wire.error_forms import refusal_body

SWITCH_SECONDS = 0.0005
"""Seconds for which the event loop may hold the interpreter while the commit thread waits."""


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
        SettingsError: the sidecar cannot listen on its address, or cannot use its TLS files.
    """
    settings, limits = sidecar.settings, sidecar.settings.limits
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: events.defect(context.get("exception") or RuntimeError()))
    _quieten()
    sys.setswitchinterval(SWITCH_SECONDS)
    gc.freeze()  # objects loaded until now live to the end: the collector can skip them
    metrics = Metrics()
    metrics.workers.set(1)
    metrics.log_size.set_function(lambda: sidecar.log.size)
    engine = settings.engine
    metrics.engine_info.labels(engine.name, engine.version, engine.sampler, engine.profile or "").set(1)
    _watch_space(sidecar, metrics)
    async with AsyncExitStack() as stack:
        replicas = await _replicas(stack, sidecar, metrics, events)
        trusted = None
        if settings.logprobs_url is not None:
            trusted = await stack.enter_async_context(
                TrustedServer(
                    settings.logprobs_url,
                    settings.logprobs_model or settings.upstream_model,
                    api_key=sidecar.logprobs_key,
                    seconds=limits.first_token,
                    metrics=metrics,
                )
            )
        workers = PreparePool()
        stack.callback(workers.close)
        recorder = DraftRecorder(sidecar.log, metrics, events, sidecar.clock)
        service = Service(
            choice_runner=ChoiceRunner(
                model=sidecar.model, replicas=replicas, recorder=recorder, metrics=metrics, events=events
            ),
            recorder=recorder,
            engine=settings.engine,
            issuer=sidecar.issuer(recorder),
            limits=limits,
            metrics=metrics,
            call_ids=sidecar.call_ids,
            bodies=WholeBodies(sidecar.model.tokenizer, trusted),
            ticks=None if settings.release_tick is None else Ticks(settings.release_tick, loop.time),
            pace=settings.release_pace,
            sends_record_index=settings.sends_record_index,
            clock=sidecar.clock,
        )
        interpreter = RequestInterpreter(
            model=sidecar.model,
            limits=limits,
            client_seeds=settings.client_seeds == "allow",
            workers=workers,
            grammars=sidecar.grammars,
            speculates=settings.speculative_decoding,
            reasoning_content=settings.reasoning_content,
            stops_in_reasoning=settings.stops_in_reasoning,
            gives_logprobs=trusted is not None,
        )
        readiness = Readiness(service, recorder, replicas, events, metrics, period=limits.ready, clock=loop.time)
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
        notary = Notary(
            sidecar.checkpointer,
            cosigner,
            metrics,
            events,
            checkpoint_every=settings.checkpoint_every,
            seal_every=settings.seal_every,
            clock=sidecar.clock,
        )
        front = Dependencies(
            service=service,
            interpreter=interpreter,
            keys=sidecar.api_keys,
            cache_salts=sidecar.cache_salts,
            cors=Cors(settings.allowed_origins),
            request_ids=sidecar.request_ids,
            events=events,
            ignored_fields=IgnoredFields(events, metrics) if settings.unknown_fields == "ignore" else None,
            ready=readiness,
            created=int(sidecar.clock()),
        )
        if settings.metrics is not None:
            _serve_metrics(stack, settings, metrics)
        gated = None
        if settings.release_pace is not None:
            gated = await stack.enter_async_context(gate(settings, settings.release_pace))
        server = _Server(_uvicorn_config(settings, front, gated), service, events, gated)
        stopped_by(server.stop)
        await stack.enter_async_context(_background(recorder.retry(), events))
        await stack.enter_async_context(_background(readiness.watch(), events))
        await stack.enter_async_context(_background(notary.run(), events))
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
        await server.serve()
        await service.settle()
        await recorder.settle()
        await asyncio.to_thread(notary.certify)
        await asyncio.to_thread(notary.seal)
    events.say("stopped", log_size=sidecar.log.size)
    if server.gate_lost:
        raise GateLost("the gate, which holds the clients' connections, ended; start the sidecar again")


class _Server(uvicorn.Server):
    """uvicorn without its signal handling, which would raise the signals again before all answers are on record."""

    def __init__(
        self, config: uvicorn.Config, service: Service, events: Events, gated: GateProcess | None = None
    ) -> None:
        super().__init__(config)
        self._service, self._events, self._gated = service, events, gated
        self.gate_lost = False

    def stop(self) -> None:
        self._events.say("stopping", choices=self._service.under_way)
        if self._gated is not None:
            self._gated.close_listener()
        self.force_exit = self._service.stopping
        self._service.stopping = self.should_exit = True

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        try:
            await super().startup(sockets)
        except SystemExit:
            raise SettingsError("cannot listen there: the address is taken, or not one of this host") from None
        if self._gated is not None:
            await self._gated.start()
            assert self._gated.lost is not None
            self._gated.lost.add_done_callback(self._on_gate_lost)
        self._events.say("listening", address=f"{self.config.host}:{self.config.port}")

    def _on_gate_lost(self, _: object) -> None:
        if not self._service.stopping:
            self.gate_lost = True
            self._events.say("gate lost")
            self.stop()


def _uvicorn_config(settings: Settings, front: Dependencies, gated: GateProcess | None) -> uvicorn.Config:
    limits = settings.limits
    protocol = limited_protocol if gated is None else gated_protocol
    try:
        config = uvicorn.Config(
            application(front),
            host=settings.listen.host,
            port=settings.listen.port,
            uds=None if gated is None else gated.link,
            http=protocol(limits, Refusal(refusal_body, front.service.next_tick)),
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=gated is None,  # with a pace, the moments at which bytes leave are all that is told
            timeout_keep_alive=max(1, int(limits.idle)),
            timeout_graceful_shutdown=max(1, int(limits.drain_timeout)),
            ssl_certfile=settings.tls_certificate if gated is None else None,
            ssl_keyfile=settings.tls_key if gated is None else None,
        )
        config.load()
    except OSError as error:
        raise SettingsError(
            f"TLS: certificate or key cannot be used: {error.strerror or type(error).__name__}"
        ) from None
    return config


async def _replicas(stack: AsyncExitStack, sidecar: SidecarParts, metrics: Metrics, events: Events) -> Replicas:
    """The servers, with a client of each that is open until the stack is closed."""
    settings, limits = sidecar.settings, sidecar.settings.limits
    found: list[Replica] = []
    for one in settings.upstreams:
        client = Upstream(
            one.url,
            settings.upstream_model,
            vocabulary=sidecar.model.vocabulary,
            context_length=sidecar.model.context_length,
            api_key=sidecar.upstream_key,
            first_token=limits.first_token,
            stall=limits.stall,
        )
        found.append(Replica(one.name, await stack.enter_async_context(client)))
    return Replicas(found, metrics, events, asyncio.get_running_loop().time)


def _serve_metrics(stack: AsyncExitStack, settings: Settings, metrics: Metrics) -> None:
    assert settings.metrics is not None
    try:
        server, thread = prometheus_client.start_http_server(
            settings.metrics.port, settings.metrics.host, metrics.registry
        )
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


@asynccontextmanager
async def _background(work: Coroutine[None, None, None], events: Events) -> AsyncIterator[None]:
    """Work that runs within the block. A failure is reported."""

    def done(task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            events.defect(error)

    task = asyncio.ensure_future(work)
    task.add_done_callback(done)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _quieten() -> None:
    """Silence the loggers of libraries: their exception texts may hold a client's text. The sidecar has its own log."""
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "asyncio", "aiohttp"):
        logging.getLogger(name).addHandler(logging.NullHandler())
        logging.getLogger(name).propagate = False
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
