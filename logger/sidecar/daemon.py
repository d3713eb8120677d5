"""The sidecar as a process: opened, served until it is told to stop, and closed with everything on record."""

import asyncio
import gc
import logging
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import prometheus_client
import uvicorn

from logger.keys import SigningKey
from logger.private_file import KeyFileError, read_private
from logger.sidecar.answer import Answerer
from logger.sidecar.api_keys import ApiKeys
from logger.sidecar.app import Front, application
from logger.sidecar.errors import SettingsError
from logger.sidecar.events import Events
from logger.sidecar.guard import guarded
from logger.sidecar.metrics import Metrics
from logger.sidecar.notary import Notary
from logger.sidecar.recorder import Recorder, recover
from logger.sidecar.seeds import SeedIssuer, read_seed_key
from logger.sidecar.served_model import ServedModel
from logger.sidecar.service import Service
from logger.sidecar.settings import Settings
from logger.sidecar.ticks import Ticks
from logger.sidecar.understanding import Understanding
from logger.sidecar.upstream import Upstream
from logger.sidecar.workers import Workers
from logger.store.writer import LogWriter
from sampler.errors import WeightwardenError, printable

READY_SECONDS = 5.0
"""What /ready says of the upstream server may be so old."""
SWITCH_SECONDS = 0.0005
"""How long the event loop may keep the interpreter from the thread that commits."""


@dataclass(frozen=True, kw_only=True)
class Opened:
    """What was read and opened before the first request; all that can be refused was refused."""

    settings: Settings
    model: ServedModel
    signers: tuple[SigningKey, ...]
    seed_key: bytes
    api_keys: ApiKeys | None
    upstream_key: str | None
    log: LogWriter
    notary: Notary
    recovered: int


@contextmanager
def opened(settings: Settings) -> Iterator[Opened]:
    """Open a sidecar: keys, model, log; answers that an earlier process left behind become records first.

    Raises:
        KeyFileError, SettingsError, ModelError, LogLocked, LogUnreadable, LogCorrupt, SignatureError.
    """
    _check(settings)
    signers = tuple(SigningKey.read(path) for path in settings.signing_keys)
    if len({key.name for key in signers}) != 1:
        raise SettingsError("one or more signing keys of one log are needed")
    seed_key = read_seed_key(settings.seed_key)
    api_keys = None if settings.api_keys is None else ApiKeys.read(settings.api_keys)
    upstream_key = None if settings.upstream_key is None else _read_token(settings.upstream_key)
    model = ServedModel.load(
        settings.model_dir,
        name=settings.model_name,
        context_length=settings.max_model_len,
        chat_template=settings.chat_template,
        neutral_defaults=settings.neutral_defaults,
    )
    with LogWriter.open(settings.log, origin=signers[0].name) as log:
        notary = Notary(settings.log, log, signers, settings.archives)
        notary.check()
        yield Opened(
            settings=settings,
            model=model,
            signers=signers,
            seed_key=seed_key,
            api_keys=api_keys,
            upstream_key=upstream_key,
            log=log,
            notary=notary,
            recovered=recover(log),
        )


def _check(settings: Settings) -> None:
    """Refuse what could only fail later, one request at a time."""
    parts = urlsplit(settings.upstream)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise SettingsError(f"{printable(settings.upstream)}: the upstream server's URL is http://... or https://...")
    if (settings.tls_certificate is None) != (settings.tls_key is None):
        raise SettingsError("TLS needs a certificate and its key")
    if settings.archives is not None and "://" not in settings.archives and not Path(settings.archives).is_dir():
        raise SettingsError(f"{settings.archives}: there is no such folder for archives")


def _read_token(path: Path) -> str:
    """The API key that the upstream server wants: one line."""
    try:
        key = read_private(path).decode("ascii").strip()
    except UnicodeDecodeError:
        raise KeyFileError(f"{path}: an API key has ASCII characters only") from None
    if not key or not key.isprintable() or " " in key:
        raise KeyFileError(f"{path}: holds no API key, or more than one")
    return key


def on_signals(stop: Callable[[], None]) -> None:
    """Have SIGTERM and SIGINT stop the sidecar; within its event loop."""
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop)


async def serve(sidecar: Opened, events: Events, stopped_by: Callable[[Callable[[], None]], None] = on_signals) -> None:
    """Serve until told to stop, then end or cut off what is under way, and put it on record.

    Args:
        stopped_by: given what stops the sidecar: called once, answers may still end; twice, they are cut off.

    Raises:
        SettingsError: it cannot listen where it should.
    """
    settings, limits = sidecar.settings, sidecar.settings.limits
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: events.defect(context.get("exception") or RuntimeError()))
    _quieten()
    sys.setswitchinterval(SWITCH_SECONDS)
    gc.freeze()  # what was loaded until now stays: no collection need look at it again
    metrics = Metrics()
    metrics.log_size.set_function(lambda: sidecar.log.size)
    async with AsyncExitStack() as stack:
        upstream = await stack.enter_async_context(
            Upstream(
                settings.upstream,
                settings.upstream_model,
                vocabulary=sidecar.model.vocabulary,
                api_key=sidecar.upstream_key,
                first_token=limits.first_token,
                stall=limits.stall,
            )
        )
        workers = Workers()
        stack.callback(workers.close)
        recorder = Recorder(sidecar.log, metrics)
        service = Service(
            answerer=Answerer(model=sidecar.model, upstream=upstream, recorder=recorder, metrics=metrics),
            recorder=recorder,
            engine=settings.engine,
            issuer=SeedIssuer(sidecar.seed_key, sidecar.signers[0].name, recorder.reserve_seeds),
            limits=limits,
            metrics=metrics,
            ticks=None if settings.tick is None else Ticks(settings.tick, loop.time),
        )
        understanding = Understanding(
            model=sidecar.model, limits=limits, client_seeds=settings.client_seeds == "allow", workers=workers
        )
        front = Front(
            service=service,
            understanding=understanding,
            keys=sidecar.api_keys,
            events=events,
            ready=_Readiness(service, recorder, upstream, events),
            created=int(time.time()),
        )
        if settings.metrics is not None:
            _serve_metrics(stack, settings, metrics)
        metrics.checkpoint_size.set_function(lambda: sidecar.notary.size)
        server = _Server(_uvicorn_config(settings, front), service, events)
        stopped_by(server.stop)
        await stack.enter_async_context(_background(recorder.retry(), events))
        await stack.enter_async_context(_background(_notarize(sidecar.notary, settings, events), events))
        events.say(
            "opened",
            model=sidecar.model.name,
            log_size=sidecar.log.size,
            recovered=sidecar.recovered,
        )
        await server.serve()
        await service.settle()
        await recorder.settle()
        await asyncio.to_thread(_tried, sidecar.notary.seal, events)
    events.say("stopped", log_size=sidecar.log.size)


class _Server(uvicorn.Server):
    """uvicorn without its signals: it would raise them anew before all is on record."""

    def __init__(self, config: uvicorn.Config, service: Service, events: Events) -> None:
        super().__init__(config)
        self._service, self._events = service, events

    def stop(self) -> None:
        self._events.say("stopping", choices=self._service.under_way)
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
        self._events.say("listening", address=f"{self.config.host}:{self.config.port}")


def _uvicorn_config(settings: Settings, front: Front) -> uvicorn.Config:
    limits = settings.limits
    try:
        config = uvicorn.Config(
            application(front),
            host=settings.listen.host,
            port=settings.listen.port,
            http=guarded(limits),
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=max(1, int(limits.idle)),
            timeout_graceful_shutdown=max(1, int(limits.drain)),
            ssl_certfile=settings.tls_certificate,
            ssl_keyfile=settings.tls_key,
        )
        config.load()
    except OSError as error:
        raise SettingsError(
            f"TLS: certificate or key cannot be used: {error.strerror or type(error).__name__}"
        ) from None
    return config


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


async def _notarize(notary: Notary, settings: Settings, events: Events) -> None:
    """Sign and seal at their intervals, for ever; a failure is said and tried again."""
    sealed = time.monotonic()
    while True:
        await asyncio.sleep(settings.checkpoint_every)
        due = time.monotonic() - sealed >= settings.seal_every
        if await asyncio.to_thread(_tried, notary.seal if due else notary.certify, events) and due:
            sealed = time.monotonic()


def _tried(work: Callable[[], None], events: Events) -> bool:
    """Whether it was done; a failure is said."""
    try:
        work()
    except WeightwardenError as error:
        events.say("checkpoint failed", kind=type(error).__name__, why=str(error))
    except Exception as error:  # a store's own: an archive's URL may lead anywhere
        events.defect(error)
    else:
        return True
    return False


class _Readiness:
    """Why nothing can be served now, in fixed words; the upstream server is asked every few seconds at most.

    What is wrong with that server is said to the operator alone.
    """

    def __init__(self, service: Service, recorder: Recorder, upstream: Upstream, events: Events) -> None:
        self._service, self._recorder, self._upstream, self._events = service, recorder, upstream, events
        self._asked = float("-inf")
        self._asking = asyncio.Lock()
        self._unfit: str | None = None

    async def __call__(self) -> str | None:
        if self._service.stopping:
            return "stopping"
        if self._recorder.failing:
            return "the log cannot be written"
        async with self._asking:
            if time.monotonic() - self._asked > READY_SECONDS:
                unfit = await self._upstream.check()
                if unfit != self._unfit:
                    self._events.say("upstream", unfit=unfit)
                self._unfit, self._asked = unfit, time.monotonic()
        return None if self._unfit is None else "the inference server is not ready"


@asynccontextmanager
async def _background(work: Coroutine[None, None, None], events: Events) -> AsyncIterator[None]:
    """Work that goes on meanwhile; should it fail, that is said."""

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
    """Libraries log what exceptions say, which may hold a client's text; the sidecar has a log of its own."""
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "asyncio", "aiohttp"):
        logging.getLogger(name).addHandler(logging.NullHandler())
        logging.getLogger(name).propagate = False
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
