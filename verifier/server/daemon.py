"""The verification server as a process: follows, audits and watches on threads of their own, until told to stop."""

import asyncio
import logging
import signal
import socket
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field

import uvicorn

from logger.sidecar.guard import guarded
from logger.sidecar.limits import Limits
from verifier.errors import ReplayServerError
from verifier.server.api.app import application
from verifier.server.errors import ServerSettingsError, VerdictsUnusable
from verifier.server.metrics import Metrics
from verifier.server.opening import Opened

IDLE_SECONDS = 1.0
"""Between two looks for something to audit, when there was nothing."""
RETRY_SECONDS = 5.0
"""After a failure of the database or of a replay server."""
BEATS = 4
"""Signs of life within the time after which others take over."""


@dataclass
class Daemon:
    """The work of one server, each kind on a thread of its own."""

    server: Opened
    stopping: threading.Event
    _troubles: dict[str, str] = field(default_factory=dict)
    _looked: float | None = None

    def start(self) -> list[threading.Thread]:
        """Begin to work; the threads end after `stopping` was set."""
        self._beat()
        works = (self._follow, self._audit, self._watch, self._deliver, self._beats)
        threads = [threading.Thread(target=work, daemon=True) for work in works]
        for thread in threads:
            thread.start()
        return threads

    def ready(self) -> str | None:
        """Why the work cannot go on now, in fixed words; None when it does."""
        if self.stopping.is_set():
            return "stopping"
        for kind, words in (
            ("database", "the database cannot be used"),
            ("replay", "nothing can be replayed"),
            ("folders", "a folder of archives cannot be read"),
        ):
            if kind in self._troubles:
                return words
        return None if self._looked is not None else "starting"

    def _follow(self) -> None:
        def look() -> float:
            found = self.server.follower.look()
            self._looked = time.monotonic()
            self._set_trouble("folders", "; ".join(found.troubles) or None)
            return self.server.settings.poll

        self._repeat(look)

    def _audit(self) -> None:
        def work() -> float:
            worked = self.server.auditor.work()
            if worked:
                self.server.bookkeeper.account()
            return 0.0 if worked else IDLE_SECONDS

        self._repeat(work)

    def _watch(self) -> None:
        def look() -> float:
            self.server.bookkeeper.account()
            self.server.watch.look()
            return IDLE_SECONDS

        self._repeat(look)

    def _deliver(self) -> None:
        self._repeat(lambda: 0.0 if self.server.courier.deliver() else IDLE_SECONDS)

    def _beats(self) -> None:
        def beat() -> float:
            self._beat()
            return self.server.settings.takeover / BEATS

        self._repeat(beat)

    def _beat(self) -> None:
        auditor, settings = self.server.auditor, self.server.settings
        troubles = [words for kind, words in sorted(dict(self._troubles).items()) if kind != "database"]
        self.server.presence.beat(
            tokens_per_second=auditor.tokens_per_second,
            compute_share=settings.compute_share,
            trouble="; ".join(troubles) or None,
        )

    def _repeat(self, work: Callable[[], float]) -> None:
        """Do work again and again; a failure is said, and it is tried again after a while."""
        while not self.stopping.is_set():
            try:
                wait = work()
                self._set_trouble("replay", self.server.auditor.trouble)
                self._set_trouble("database", None)
            except VerdictsUnusable as error:
                self._set_trouble("database", str(error))
                wait = RETRY_SECONDS
            except ReplayServerError as error:
                self._set_trouble("replay", str(error))
                wait = RETRY_SECONDS
            except Exception as error:  # a defect: said, and the other work goes on
                self.server.events.defect(error)
                wait = RETRY_SECONDS
            self.stopping.wait(wait)

    def _set_trouble(self, kind: str, words: str | None) -> None:
        if words is None:
            self._troubles.pop(kind, None)
        elif self._troubles.get(kind) != words:
            self._troubles[kind] = words
            self.server.events.say("trouble", kind=kind, why=words)


def serve(server: Opened, stopping: threading.Event) -> None:
    """Work and serve until SIGTERM or SIGINT; what was leased is given back.

    Raises:
        ServerSettingsError: it cannot listen where it should.
    """
    _quieten()
    daemon = Daemon(server, stopping)
    http = _Server(_uvicorn_config(server, daemon))
    http.bind()
    threads = daemon.start()
    server.events.say("opened", server=server.presence.name)
    try:
        asyncio.run(http.until(stopping))
    finally:
        stopping.set()
        for thread in threads:
            thread.join()
        server.presence.leave()
        server.events.say("stopped")


def drain(server: Opened, stopping: threading.Event) -> None:
    """Follow, audit and account until nothing is left, without serving.

    Raises:
        VerdictsUnusable, ReplayServerError.
    """
    server.presence.beat()
    beating = threading.Event()

    def beats() -> None:
        while not beating.wait(server.settings.takeover / BEATS):
            server.presence.beat(compute_share=server.settings.compute_share)

    thread = threading.Thread(target=beats, daemon=True)
    thread.start()
    try:
        server.follower.look()
        while not stopping.is_set() and server.auditor.work():
            server.bookkeeper.account()
        server.bookkeeper.account()
        server.watch.look()
        while server.courier.deliver():
            pass
    finally:
        beating.set()
        thread.join()
        server.presence.leave()


class _Server(uvicorn.Server):
    """uvicorn that is told to stop by an event, and whose address is known to be free before any work begins."""

    def bind(self) -> None:
        """Take the address.

        Raises:
            ServerSettingsError: it cannot be had.
        """
        family = socket.AF_INET6 if ":" in self.config.host else socket.AF_INET
        self._socket = socket.socket(family)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._socket.bind((self.config.host, self.config.port))
        except OSError as error:
            self._socket.close()
            raise ServerSettingsError(f"cannot listen there: {error.strerror or error}") from None

    async def until(self, stopping: threading.Event) -> None:
        """Serve until the event is set, or a signal sets it."""
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stopping.set)
        serving = asyncio.ensure_future(self.serve(sockets=[self._socket]))
        while not stopping.is_set() and not serving.done():
            await asyncio.sleep(0.1)
        self.should_exit = True
        await serving

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


def _uvicorn_config(server: Opened, daemon: Daemon) -> uvicorn.Config:
    settings, limits = server.settings, Limits(connections=256, body=65_536)
    try:
        config = uvicorn.Config(
            application(server, Metrics(server), daemon.ready),
            host=settings.listen.host,
            port=settings.listen.port,
            http=guarded(limits),
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=int(limits.idle),
            timeout_graceful_shutdown=5,
            ssl_certfile=settings.tls_certificate,
            ssl_keyfile=settings.tls_key,
        )
        config.load()
    except OSError as error:
        raise ServerSettingsError(
            f"TLS: certificate or key cannot be used: {error.strerror or type(error).__name__}"
        ) from None
    return config


def _quieten() -> None:
    """Libraries log what exceptions say; the server has a log of its own."""
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "asyncio", "httpx2", "httpcore2"):
        logging.getLogger(name).addHandler(logging.NullHandler())
        logging.getLogger(name).propagate = False
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
