"""HTTP server of a process: uvicorn, which ends once all answers are on record."""

import socket
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager

import uvicorn

from weightwarden.logger.serving.event_log import Events
from weightwarden.logger.serving.limited_protocol import limited_protocol
from weightwarden.logger.serving.refusal import Refusal
from weightwarden.logger.sidecar.app import Dependencies, application
from weightwarden.logger.sidecar.errors import SettingsError
from weightwarden.logger.sidecar.gated_protocol import gated_protocol
from weightwarden.logger.sidecar.service import Service
from weightwarden.logger.sidecar.settings import Settings
from weightwarden.logger.sidecar.wire.error_forms import refusal_body


class HttpServer(uvicorn.Server):
    """uvicorn without its signal handling, which would raise the signals again before all answers are on record."""

    def __init__(
        self, config: uvicorn.Config, service: Service, events: Events, listening: Callable[[], Awaitable[object]]
    ) -> None:
        """A server that does not listen yet.

        Args:
            config: uvicorn's settings (`server_config`).
            service: the service behind it, which is told to stop.
            events: the operator's log.
            listening: is called once the server listens.
        """
        super().__init__(config)
        self._service, self._events, self._listening = service, events, listening

    def stop(self) -> None:
        """Let answers end. The second call cuts them off."""
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
        await self._listening()


def server_config(settings: Settings, front: Dependencies, link: str | None) -> uvicorn.Config:
    """The settings of uvicorn.

    Args:
        settings: the sidecar's settings.
        front: what the endpoints use.
        link: path of the Unix socket to which the gate connects, or None without a gate.

    Raises:
        SettingsError: the TLS files cannot be used.
    """
    limits = settings.limits
    protocol = limited_protocol if link is None else gated_protocol
    try:
        config = uvicorn.Config(
            application(front),
            host=settings.listen.host,
            port=settings.listen.port,
            uds=link,
            http=protocol(limits, Refusal(refusal_body, front.service.next_tick)),
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=link is None,  # with a pace, the moments at which bytes leave are all that is told
            timeout_keep_alive=max(1, int(limits.idle)),
            timeout_graceful_shutdown=max(1, int(limits.drain_timeout)),
            ssl_certfile=settings.tls_certificate if link is None else None,
            ssl_keyfile=settings.tls_key if link is None else None,
        )
        config.load()
    except OSError as error:
        raise SettingsError(
            f"TLS: certificate or key cannot be used: {error.strerror or type(error).__name__}"
        ) from None
    return config
