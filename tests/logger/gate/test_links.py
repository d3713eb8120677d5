"""The links of the gate: which process of the sidecar has a client's connection."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from weightwarden.logger.gate.connection import ClientSide, GateSettings

LIVES = ("link-0", "link-2")
"""The links that somebody listens on, of three."""
SECONDS = 20.0
"""Longest time of what a test waits for."""


@dataclass
class Clients:
    """Clients of a gate, and the connections that came to each link."""

    came: dict[str, list[asyncio.StreamWriter]]
    port: int = 0
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    async def connected(self) -> asyncio.StreamReader:
        """A new connection, once a process has it."""
        before = sum(map(len, self.came.values()))
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.writers.append(writer)
        while sum(map(len, self.came.values())) == before:
            await asyncio.sleep(0.001)
        return reader

    async def close(self) -> None:
        for writer in (*self.writers, *self.came["link-0"], *self.came["link-2"]):
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()


async def ended(reader: asyncio.StreamReader) -> None:
    """Wait until a connection has ended without a byte."""
    with suppress(ConnectionError):
        assert await asyncio.wait_for(reader.read(), 10) == b""


async def gated(folder: Path, work: Callable[[Clients], Awaitable[None]]) -> None:
    """A gate before three links, of which two live."""
    loop, turns = asyncio.get_running_loop(), count()
    came: dict[str, list[asyncio.StreamWriter]] = {name: [] for name in LIVES}
    clients = Clients(came)

    def taking(name: str) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], None]:
        return lambda _, writer: came[name].append(writer)

    behind = [await asyncio.start_unix_server(taking(name), str(folder / name)) for name in LIVES]
    settings = GateSettings(links=tuple(str(folder / f"link-{at}") for at in range(3)), tick=0.05, send=5)
    server = await loop.create_server(lambda: ClientSide(settings, loop, next(turns)), "127.0.0.1", 0)
    try:
        clients.port = server.sockets[0].getsockname()[1]
        async with asyncio.timeout(SECONDS):
            await work(clients)
    finally:
        await clients.close()
        for one in (server, *behind):
            one.close()


def test_connections_take_the_links_in_turn_and_pass_over_one_that_nobody_listens_on(tmp_path: Path) -> None:
    async def work(clients: Clients) -> None:
        for _ in range(9):
            await clients.connected()
        assert {name: len(here) for name, here in clients.came.items()} == {"link-0": 3, "link-2": 6}

    asyncio.run(gated(tmp_path, work))


def test_a_link_that_is_lost_closes_its_own_client_alone(tmp_path: Path) -> None:
    async def work(clients: Clients) -> None:
        readers = [await clients.connected() for _ in range(2)]
        clients.came["link-0"][0].transport.abort()
        await ended(readers[0])
        assert not readers[1].at_eof()
        clients.came["link-2"][0].transport.abort()
        await ended(readers[1])

    asyncio.run(gated(tmp_path, work))


def test_without_any_link_the_client_is_closed(tmp_path: Path) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        settings = GateSettings(links=(str(tmp_path / "a"), str(tmp_path / "b")), tick=0.05, send=5)
        server = await loop.create_server(lambda: ClientSide(settings, loop), "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection("127.0.0.1", server.sockets[0].getsockname()[1])
        await ended(reader)
        writer.close()
        server.close()

    asyncio.run(main())
