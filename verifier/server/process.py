"""The verification server as a process, of one model or of several: it works and serves until it is told to stop."""

import asyncio
import json
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress

import uvicorn
from starlette.types import ASGIApp

from weightwarden.logger.serving.address import exposures
from weightwarden.logger.serving.connection_limits import ConnectionLimits
from weightwarden.logger.serving.event_log import Events
from weightwarden.logger.serving.limited_protocol import limited_protocol
from weightwarden.logger.serving.refusal import Refusal
from weightwarden.verifier.server.api.app import application
from weightwarden.verifier.server.api.fleet import fleet_application
from weightwarden.verifier.server.api.metrics import Metrics
from weightwarden.verifier.server.daemon import IDLE_SECONDS, Daemon, DatabaseClock, exit_code_of
from weightwarden.verifier.server.errors import ServerSettingsError, Unfinished, VerdictsUnusable
from weightwarden.verifier.server.fleet import Fleet
from weightwarden.verifier.server.settings import Settings
from weightwarden.verifier.server.startup import ServerParts

STOP_SECONDS = 120.0
"""Seconds after a signal for work under way to end. Unfinished work is aborted, and taken over by other servers."""


def serve(server: ServerParts, stopping: threading.Event, clock: DatabaseClock) -> None:
    """Work and serve until SIGTERM or SIGINT; then give the leases back.

    Raises:
        ServerSettingsError: the server cannot listen at its address.
        Unfinished: work hung.
    """
    daemon = Daemon(server, stopping, clock)
    app = application(server, Metrics(server), daemon.ready)
    _serve(app, [daemon], [], stopping, server.settings, server.events)


def serve_fleet(fleet: Fleet, stopping: threading.Event, clocks: Mapping[str, DatabaseClock]) -> None:
    """Work on the series of all models, and serve, until SIGTERM or SIGINT; then give the leases back.

    Args:
        clocks: the models' clocks by name.

    Raises:
        ServerSettingsError: the server cannot listen at its address.
        Unfinished: work hung.
    """
    daemons = {model: Daemon(server, stopping, clocks[model], audits=False) for model, server in fleet.servers.items()}

    def ready() -> str | None:
        found = ((model, daemon.ready()) for model, daemon in daemons.items())
        return next((f"{model}: {why}" for model, why in found if why is not None), None)

    audit = threading.Thread(target=audit_in_turns, args=(fleet, daemons, stopping), daemon=True, name="audit")
    _serve(fleet_application(fleet, ready), list(daemons.values()), [audit], stopping, fleet.settings, fleet.events)


def audit_in_turns(fleet: Fleet, daemons: Mapping[str, Daemon], stopping: threading.Event) -> None:
    """Audit the records of all models, a batch at a time, until told to stop. A model that fails rests for a while."""
    while not stopping.is_set():
        model = fleet.turns.next()
        if model is None:
            stopping.wait(IDLE_SECONDS)
            continue
        wait = daemons[model].attempt("audit", _turn_of(fleet, model))
        if wait:
            fleet.turns.rest(model, wait)


def _turn_of(fleet: Fleet, model: str) -> Callable[[], float]:
    return lambda: 0.0 if fleet.turns.work(model) else IDLE_SECONDS


def _serve(
    app: ASGIApp,
    daemons: Sequence[Daemon],
    others: Sequence[threading.Thread],
    stopping: threading.Event,
    settings: Settings,
    events: Events,
) -> None:
    """Start the work of all, serve until told to stop, and wait for the work to end.

    Args:
        others: further threads of work, to start.
    """
    _quieten()
    http = _Server(_uvicorn_config(app, settings))
    http.bind()
    threads = [thread for daemon in daemons for thread in daemon.start()]
    for thread in others:
        thread.start()
    threads += others
    for daemon in daemons:
        daemon.server.events.say("opened", server=daemon.server.membership.name)
    for warning in exposures(settings.listen, keys=True, tls=settings.tls_key is not None):
        events.say("warning", why=warning)
    try:
        asyncio.run(http.until(stopping))
    finally:
        stopping.set()
        stuck = [daemon for daemon in daemons if daemon.stuck]
        deadline = time.monotonic() + (0.0 if stuck else STOP_SECONDS)
        for thread in threads:
            thread.join(max(deadline - time.monotonic(), 0.0))
        for daemon in daemons:
            with suppress(VerdictsUnusable):
                daemon.server.membership.leave()
        hanging = [thread.name for thread in threads if thread.is_alive()]
        events.say("stopped", hanging=", ".join(hanging) or None)
        if hanging:
            os._exit(max(map(exit_code_of, daemons)))  # a thread that hangs cannot be told to end
    if stuck:
        raise Unfinished("work hung")


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


def _uvicorn_config(app: ASGIApp, settings: Settings) -> uvicorn.Config:
    limits = ConnectionLimits(connections=256)
    try:
        config = uvicorn.Config(
            app,
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
