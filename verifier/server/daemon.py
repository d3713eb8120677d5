"""The verification server as a process: it follows, audits and watches on separate threads, until told to stop."""

import asyncio
import json
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import uvicorn

from weightwarden.logger.serving.address import exposures
from weightwarden.logger.serving.connection_limits import ConnectionLimits
from weightwarden.logger.serving.limited_protocol import limited_protocol
from weightwarden.logger.serving.refusal import Refusal
from weightwarden.verifier.server.api.app import application
from weightwarden.verifier.server.api.metrics import Metrics
from weightwarden.verifier.server.audit.task_queue import backlog, held_by_others
from weightwarden.verifier.server.errors import (
    LeaseLost,
    ReplayTrouble,
    ServerSettingsError,
    Unfinished,
    VerdictsUnusable,
)
from weightwarden.verifier.server.startup import ServerParts

IDLE_SECONDS = 1.0
"""Seconds between two searches for work, after one without result."""
RETRY_SECONDS = 5.0
"""Seconds to wait after a failure of the database or of the replay, or a defect."""
BEATS = 4
"""Signs of life within the lease timeout, after which other servers take over."""
RETENTION_SECONDS = 60.0
"""Seconds between two searches for verdicts that are older than the retention."""
STOP_SECONDS = 120.0
"""Seconds after a signal for work under way to end. Unfinished work is aborted, and taken over by other servers."""
_WORDS = {
    "audit": "nothing can be replayed",
    "follow": "archives cannot be followed",
    "egress": "the reports of taps cannot be followed",
    "account": "verdicts cannot be accounted for",
    "retain": "old verdicts cannot be removed",
    "watch": "incidents cannot be kept",
    "deliver": "notices cannot be sent",
    "beat": "the database cannot be used",
}
"""Reasons in /ready for each kind of failing work."""


class DatabaseClock:
    """The database's clock, from the last sign of life: the clocks of servers may differ."""

    def __init__(self) -> None:
        self._offset = 0.0

    def __call__(self) -> float:
        return time.time() + self._offset

    def set(self, now: float) -> None:
        """Set the clock to the database's time."""
        self._offset = now - time.time()


@dataclass
class Daemon:
    """The work of one server, each kind on a separate thread."""

    server: ServerParts
    stopping: threading.Event
    clock: DatabaseClock
    stuck: bool = False
    _troubles: dict[str, str] = field(default_factory=dict)
    _progress: dict[str, float] = field(default_factory=dict)

    def start(self) -> list[threading.Thread]:
        """Start to work. The threads end after `stopping` is set."""
        self._beat()
        server = self.server
        works: dict[str, Callable[[], float]] = {
            "follow": self._follow,
            "egress": self._follow_egress,
            "audit": lambda: 0.0 if server.auditor.work() else IDLE_SECONDS,
            "account": self._account,
            "retain": lambda: 0.0 if server.retention.remove() else RETENTION_SECONDS,
            "watch": self._watch,
            "deliver": lambda: 0.0 if server.notifier.deliver() else IDLE_SECONDS,
            "beat": self._beat,
        }
        threads = [
            threading.Thread(target=self._repeat, args=(name, work), daemon=True, name=name)
            for name, work in works.items()
        ]
        for thread in threads:
            thread.start()
        return threads

    def ready(self) -> str | None:
        """The reason why the work cannot go on now, in fixed words; None if it can."""
        if self.stopping.is_set():
            return "stopping"
        for work, words in _WORDS.items():
            if work in self._troubles:
                return words
        return None if "follow" in self._progress else "starting"

    def _follow(self) -> float:
        found = self.server.follower.look()
        if found.troubles:
            self._set_trouble("folders", "; ".join(found.troubles[:3]))
        elif found.following:
            self._set_trouble("folders", None)
        return self.server.settings.poll_interval

    def _follow_egress(self) -> float:
        troubles = self.server.egress.look()
        if troubles is not None:
            self._set_trouble("egress folders", "; ".join(troubles[:3]) or None)
        return self.server.settings.poll_interval

    def _account(self) -> float:
        return 0.0 if self.server.bookkeeper.account() else IDLE_SECONDS

    def _watch(self) -> float:
        self.server.watch.look()
        return IDLE_SECONDS

    def _beat(self) -> float:
        """Give a sign of life, unless work hangs: then other servers take over, and this process ends."""
        auditor, settings = self.server.auditor, self.server.settings
        seconds = max(auditor.hang_detector.seconds, self.server.follower.hang_detector.seconds)
        if seconds > settings.stuck_after:
            self.server.events.say("stuck", seconds=round(seconds))
            self.stuck = True
            self.stopping.set()
            return RETRY_SECONDS
        now = self.server.membership.beat(
            tokens_per_second=auditor.tokens_per_second,
            compute_share=settings.compute_share,
            trouble="; ".join(words for _, words in sorted(dict(self._troubles).items())) or None,
        )
        self.clock.set(now)
        return settings.lease_timeout / BEATS

    def _repeat(self, name: str, work: Callable[[], float]) -> None:
        """Repeat work. A failure is reported, and the work is tried again after a while."""
        while not self.stopping.is_set():
            try:
                wait = work()
                self._progress[name] = time.monotonic()
                self._set_trouble(name, None)
            except LeaseLost as error:
                self.server.events.say("lease lost", work=name, why=str(error))
                wait = IDLE_SECONDS
            except (VerdictsUnusable, ReplayTrouble) as error:
                self._set_trouble(name, str(error))
                wait = RETRY_SECONDS
            except Exception as error:  # a defect: reported, and the other work goes on
                self.server.events.defect(error)
                self._set_trouble(name, f"{name}: an internal error: {type(error).__name__}")
                wait = RETRY_SECONDS
            self.stopping.wait(wait)

    def _set_trouble(self, kind: str, words: str | None) -> None:
        if words is None:
            self._troubles.pop(kind, None)
        elif self._troubles.get(kind) != words:
            self._troubles[kind] = words
            self.server.events.say("trouble", kind=kind, why=words)


def serve(server: ServerParts, stopping: threading.Event, clock: DatabaseClock) -> None:
    """Work and serve until SIGTERM or SIGINT; then give the leases back.

    Raises:
        ServerSettingsError: the server cannot listen at its address.
        Unfinished: work hung.
    """
    _quieten()
    daemon = Daemon(server, stopping, clock)
    http = _Server(_uvicorn_config(server, daemon))
    http.bind()
    threads = daemon.start()
    server.events.say("opened", server=server.membership.name)
    for warning in exposures(server.settings.listen, keys=True, tls=server.settings.tls_key is not None):
        server.events.say("warning", why=warning)
    try:
        asyncio.run(http.until(stopping))
    finally:
        stopping.set()
        deadline = time.monotonic() + (0.0 if daemon.stuck else STOP_SECONDS)
        for thread in threads:
            thread.join(max(deadline - time.monotonic(), 0.0))
        with suppress(VerdictsUnusable):
            server.membership.leave()
        hanging = [thread.name for thread in threads if thread.is_alive()]
        server.events.say("stopped", hanging=", ".join(hanging) or None)
        if hanging:
            os._exit(exit_code_of(daemon))  # a thread that hangs cannot be told to end
    if daemon.stuck:
        raise Unfinished("work hung")


def exit_code_of(daemon: Daemon) -> int:
    """2 if work hung, so that the supervisor restarts the process; 0 after a normal stop."""
    return 2 if daemon.stuck else 0


def drain(server: ServerParts, stopping: threading.Event, clock: DatabaseClock) -> None:
    """Follow, audit and account until nothing is left, without serving.

    What another server holds is waited for, until this server has seen for long enough whether that one is alive.

    Raises:
        VerdictsUnusable: the database fails.
        ReplayTrouble: nothing can be replayed.
        Unfinished: something was not audited.
    """
    beating = threading.Event()

    def beats() -> None:
        while not beating.wait(server.settings.lease_timeout / BEATS):
            with suppress(VerdictsUnusable):
                server.membership.beat(compute_share=server.settings.compute_share)

    clock.set(server.membership.beat())
    thread = threading.Thread(target=beats, daemon=True)
    thread.start()
    try:
        deadline = time.monotonic() + server.settings.lease_timeout + IDLE_SECONDS
        while True:
            looked = server.follower.look()
            unread = server.egress.look() or []
            while not stopping.is_set() and server.auditor.work():
                server.bookkeeper.account()
            server.bookkeeper.account()
            with server.database.reading() as connection:
                held = not looked.following or held_by_others(connection, server.membership.name)
            if not held or time.monotonic() > deadline or stopping.wait(server.settings.lease_timeout / BEATS):
                break
        server.watch.look()
        while not stopping.is_set() and server.retention.remove():
            pass
        while server.notifier.deliver():
            pass
        with server.database.reading() as connection:
            left = backlog(connection).records
    finally:
        beating.set()
        thread.join()
        server.membership.leave()
    if troubles := [*looked.troubles, *unread]:
        raise Unfinished("; ".join(troubles))
    if not looked.following:
        raise Unfinished("another server follows the archives at this moment")
    if left:
        raise Unfinished(f"{left} records have no verdict yet: another server works on them, or they are tried later")


class _Server(uvicorn.Server):
    """uvicorn that an event stops, and that binds its address before any work begins."""

    def bind(self) -> None:
        """Bind the address.

        Raises:
            ServerSettingsError: the address is not available.
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


def _uvicorn_config(server: ServerParts, daemon: Daemon) -> uvicorn.Config:
    settings, limits = server.settings, ConnectionLimits(connections=256)
    try:
        config = uvicorn.Config(
            application(server, Metrics(server), daemon.ready),
            host=settings.listen.host,
            port=settings.listen.port,
            http=limited_protocol(limits, Refusal(lambda _, __, words: json.dumps({"detail": words}).encode())),
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
    """Silence libraries that log the text of exceptions; the server has a separate log."""
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "asyncio", "httpx2", "httpcore2"):
        logging.getLogger(name).addHandler(logging.NullHandler())
        logging.getLogger(name).propagate = False
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
