"""The gate's process before several processes of a sidecar: which of them has a client's connection."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.logger.sidecar.running import settings_in
from weightwarden.logger.gate.frames import Frame, FrameReader, Kind
from weightwarden.logger.release import Pace
from weightwarden.logger.sidecar.gate_process import GateProcess, gate
from weightwarden.logger.sidecar.settings import Settings

SECONDS = 20.0
"""Longest time of what a test waits for."""


class Link(asyncio.Protocol):
    """The end of a link in a process of the sidecar."""

    def __init__(self, behind: "Behind") -> None:
        self._behind, self._frames = behind, FrameReader()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        for frame in self._frames.feed(data):
            if frame.kind is Kind.HELLO:
                self._behind.links.append(self)
                self._behind.came.put_nowait(json.loads(frame.payload)["address"][1])
            elif frame.kind is Kind.DATA:
                self.transport.write(Frame(Kind.TEXT, frame.payload).encode() + Frame(Kind.END).encode())


@dataclass
class Behind:
    """A process of the sidecar that answers what it receives with the same.

    Attributes:
        links: its links.
        came: ports of the clients whose links came, in their order.
    """

    path: str
    links: list[Link] = field(default_factory=list)
    came: "asyncio.Queue[int]" = field(default_factory=asyncio.Queue)
    server: asyncio.Server | None = None

    async def listen(self, *, busy: bool = False) -> None:
        """Listen. While it is busy, links wait to be taken."""
        Path(self.path).unlink(missing_ok=True)
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(self.path)
        listening.listen()
        loop = asyncio.get_running_loop()
        self.server = await loop.create_unix_server(lambda: Link(self), sock=listening, start_serving=not busy)

    def end(self) -> None:
        """End, with all links."""
        if self.server is not None:
            self.server.close()
        for link in self.links:
            link.transport.abort()


@dataclass
class Client:
    """A connection of a client."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @property
    def port(self) -> int:
        return int(self.writer.get_extra_info("sockname")[1])

    async def is_served(self) -> bool:
        """Whether it is answered. False once the connection has ended."""
        with suppress(ConnectionError):
            self.writer.write(b"said")
            return await self.reader.read(100) == b"said"
        return False


@dataclass
class Site:
    """A gate, and the processes behind it, of which none listens yet."""

    settings: Settings
    gated: GateProcess
    behind: list[Behind]
    clients: list[Client] = field(default_factory=list)

    async def connect(self) -> Client:
        """A new client's connection."""
        listen = self.settings.listen
        self.clients.append(Client(*await asyncio.open_connection(listen.host, listen.port)))
        return self.clients[-1]

    async def taken_by(self, process: int) -> Client:
        """A new client, once that process has its link."""
        client = await self.connect()
        assert await self.behind[process].came.get() == client.port
        return client


@asynccontextmanager
async def site(folder: Path, processes: int) -> AsyncIterator[Site]:
    settings = settings_in(folder, folder, "http://127.0.0.1:9")
    async with gate(settings, Pace(tokens=4, milliseconds=40), processes) as gated:
        found = Site(settings, gated, [Behind(path) for path in gated.links])
        await gated.start()
        try:
            yield found
        finally:
            for client in found.clients:
                client.writer.close()
                with suppress(ConnectionError):
                    await client.writer.wait_closed()
            for one in found.behind:
                one.end()


def before(folder: Path, processes: int, work: Callable[[Site], Awaitable[None]]) -> None:
    """Work with a gate before so many processes."""

    async def main() -> None:
        async with asyncio.timeout(SECONDS), site(folder, processes) as one:
            await work(one)

    asyncio.run(main())


def test_each_process_has_a_socket_of_its_own_in_a_private_folder(tmp_path: Path) -> None:
    async def work(one: Site) -> None:
        paths = [Path(path) for path in one.gated.links]
        assert [path.name for path in paths] == ["link-0", "link-1", "link-2"]
        assert paths[0].parent.stat().st_mode & 0o777 == 0o700

    before(tmp_path, 3, work)


def test_connections_go_from_one_process_to_the_next(tmp_path: Path) -> None:
    async def work(one: Site) -> None:
        for behind in one.behind:
            await behind.listen()
        for process in (0, 1, 2, 0, 1, 2, 0):
            assert await (await one.taken_by(process)).is_served()

    before(tmp_path, 3, work)


def test_a_busy_process_keeps_its_turns(tmp_path: Path) -> None:
    async def work(one: Site) -> None:
        busy, idle = one.behind
        await busy.listen(busy=True)
        await idle.listen()
        waiting = []
        for _ in range(5):
            waiting.append((await one.connect()).port)
            await one.taken_by(1)
        assert busy.came.empty()
        assert busy.server is not None
        await busy.server.start_serving()
        assert [await busy.came.get() for _ in waiting] == waiting

    before(tmp_path, 2, work)


@pytest.mark.parametrize("left", [False, True], ids=["no file", "file of a killed process"])
def test_the_next_process_stands_in_for_one_that_is_replaced(tmp_path: Path, left: bool) -> None:
    async def work(one: Site) -> None:
        replaced, other = one.behind
        await other.listen()
        if left:
            with socket.socket(socket.AF_UNIX) as killed:
                killed.bind(replaced.path)
                killed.listen()
        for _ in range(3):
            assert await (await one.taken_by(1)).is_served()
        await replaced.listen()
        for process in (1, 0, 1, 0):
            await one.taken_by(process)

    before(tmp_path, 2, work)


def test_a_client_whom_no_process_takes_is_let_go_and_a_later_one_is_served(tmp_path: Path) -> None:
    async def work(one: Site) -> None:
        assert await (await one.connect()).reader.read() == b""
        await one.behind[1].listen()
        assert await (await one.taken_by(1)).is_served()

    before(tmp_path, 2, work)


def test_a_process_that_ends_takes_its_own_clients_along_alone(tmp_path: Path) -> None:
    async def work(one: Site) -> None:
        for behind in one.behind:
            await behind.listen()
        clients = [await one.taken_by(process) for process in (0, 1, 0, 1)]
        one.behind[0].end()
        for client in clients[::2]:
            assert await client.reader.read() == b""
        assert [await client.is_served() for client in clients] == [False, True, False, True]

    before(tmp_path, 2, work)
