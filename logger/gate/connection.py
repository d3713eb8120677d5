"""A client's connection in the gate, and the link to the sidecar that belongs to it."""

import asyncio
import json
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from typing import cast

from weightwarden.logger.gate.frames import Frame, FrameReader, Kind
from weightwarden.logger.gate.response import WHOLE_SLOT, GatedResponse
from weightwarden.logger.gate.schedule import Schedule


@dataclass(frozen=True, kw_only=True)
class GateSettings:
    """Settings of the gate.

    Attributes:
        links: paths of the Unix sockets on which the sidecar listens, one for each of its processes.
        tick: time between two ticks, seconds.
        send: seconds that a client may leave unread what it is sent.
    """

    links: tuple[str, ...]
    tick: float
    send: float


class ClientSide(asyncio.Protocol):
    """The side of a connection that faces the client.

    Bytes of the client go on at once. Bytes for the client leave on their moments.
    """

    def __init__(self, settings: GateSettings, loop: asyncio.AbstractEventLoop, turn: int = 0) -> None:
        """A connection that is not made yet.

        Args:
            settings: the gate's settings.
            loop: the event loop.
            turn: number of the connection. They take the links in turn, whatever load the server puts on them.
        """
        self._settings, self._loop, self._turn = settings, loop, turn
        self._client: asyncio.Transport | None = None
        self._link: asyncio.Transport | None = None
        self._early: list[bytes] = []
        self._responses: deque[GatedResponse] = deque()
        self._arrived: float | None = None
        self._last_left = loop.time()
        self._timer: asyncio.TimerHandle | None = None
        self._timed: float | None = None
        self._unread: asyncio.TimerHandle | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._finish, self._bye = False, False

    # The client's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._client = cast(asyncio.Transport, transport)
        address = self._client.get_extra_info("peername") or ("", 0)
        tls = self._client.get_extra_info("sslcontext") is not None
        self._to_sidecar(Frame(Kind.HELLO, json.dumps({"address": list(address[:2]), "tls": tls}).encode()))
        self._connecting = self._loop.create_task(self._connect())

    async def _connect(self) -> None:
        links = self._settings.links
        for after in range(len(links)):
            with suppress(OSError):  # nobody listens there: the next process has it
                link = links[(self._turn + after) % len(links)]
                await self._loop.create_unix_connection(lambda: _SidecarSide(self), link)
                return
        self.link_lost()

    def data_received(self, data: bytes) -> None:
        if self._arrived is None:
            self._arrived = self._loop.time()
        self._to_sidecar(Frame(Kind.DATA, data))

    def eof_received(self) -> bool:
        self._to_sidecar(Frame(Kind.EOF))
        return self._client is not None and self._client.get_extra_info("sslcontext") is None

    def connection_lost(self, exc: Exception | None) -> None:
        self._client = None
        for handle in (self._timer, self._unread):
            if handle is not None:
                handle.cancel()
        if self._responses:
            self._report(self._responses[0])
        if self._link is not None:
            self._link.close()

    def pause_writing(self) -> None:
        if self._unread is None and self._client is not None:
            self._unread = self._loop.call_later(self._settings.send, self._client.abort)

    def resume_writing(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    # The sidecar's side

    def link_made(self, link: asyncio.Transport) -> None:
        """Send the sidecar what the client sent meanwhile."""
        self._link = link
        if self._client is None:
            link.close()
            return
        link.write(b"".join(self._early))
        self._early.clear()

    def link_lost(self) -> None:
        """Close the client's connection: the sidecar closed it, or is gone."""
        self._link = None
        if self._client is not None:
            if self._bye and not self._responses:
                self._client.close()
            else:
                self._client.abort()

    def link_full(self, full: bool) -> None:
        """Read no more of the client while the sidecar does not read."""
        if self._client is not None and not self._client.is_closing():
            (self._client.pause_reading if full else self._client.resume_reading)()

    def taken(self, frame: Frame) -> None:
        """Take a frame of the sidecar."""
        now = self._loop.time()
        if frame.kind is Kind.INTERIM:
            arrived = self._last_left if self._arrived is None else self._arrived
            moment = Schedule(arrived, self._settings.tick, WHOLE_SLOT).due(now)
            self._loop.call_at(moment, self._leave_interim, frame.payload)
        elif frame.kind is Kind.FINISH:
            self._finish = True
        elif frame.kind is Kind.BYE:
            self._bye = True
            if self._responses and not self._responses[-1].ended:
                self._responses[-1].end(now)
        else:
            if not self._responses or self._responses[-1].ended:
                self._responses.append(GatedResponse(self._arrival(), self._settings.tick))
            if frame.kind is Kind.END:
                self._responses[-1].end(now)
            else:
                self._responses[-1].add(frame, now)

    def _leave_interim(self, data: bytes) -> None:
        """Let an interim response leave, unless the client did not wait for it."""
        if not self._responses and self._client is not None:
            self._client.write(data)

    def _arrival(self) -> float:
        """The moment of the first byte of the request that is answered: of the client's first byte since the last one.

        It never moves once it is known. Otherwise a client that goes on sending would keep the grid fine, and the
        server could choose among more moments than the record holds.
        """
        arrived = self._last_left if self._arrived is None else self._arrived
        self._arrived = None
        return arrived

    def schedule(self) -> None:
        """Set the timer for what leaves next; end the connection if nothing is to come."""
        if self._client is None:
            return
        if not self._responses:
            self._end_if_asked()
            return
        moment = self._responses[0].moment()
        if moment == self._timed:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timed = moment
        self._timer = None if moment is None else self._loop.call_at(moment, self._leave)

    def _leave(self) -> None:
        self._timer, self._timed = None, None
        if self._client is None:
            return
        response, now = self._responses[0], self._loop.time()
        leaving = response.leave(now)
        if leaving:
            self._client.write(leaving)
        if response.complete:
            self._responses.popleft()
            self._last_left = now
            self._report(response)
        self.schedule()

    def _end_if_asked(self) -> None:
        assert self._client is not None
        if self._finish and self._client.can_write_eof():
            self._finish = False
            self._client.write_eof()
        if self._bye:
            self._client.close()

    def _report(self, response: GatedResponse) -> None:
        self._to_sidecar(Frame(Kind.REPORT, json.dumps(response.report()).encode()))

    def _to_sidecar(self, frame: Frame) -> None:
        if self._link is None:
            self._early.append(frame.encode())
        elif not self._link.is_closing():
            self._link.write(frame.encode())


class _SidecarSide(asyncio.Protocol):
    """The side of a connection that faces the sidecar."""

    def __init__(self, side: ClientSide) -> None:
        self._side, self._frames = side, FrameReader()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._side.link_made(cast(asyncio.Transport, transport))

    def data_received(self, data: bytes) -> None:
        for frame in self._frames.feed(data):
            self._side.taken(frame)
        self._side.schedule()

    def connection_lost(self, exc: Exception | None) -> None:
        self._side.link_lost()

    def pause_writing(self) -> None:
        self._side.link_full(True)

    def resume_writing(self) -> None:
        self._side.link_full(False)
