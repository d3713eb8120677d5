"""An inference server written by an attacker: it sends given tokens, with given texts at given times, or fails."""

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from benchmarks.sidecar.token_source import HEAD, event


@dataclass(frozen=True)
class Said:
    """A token, its text, the seconds since the token before, and what the event states as usage."""

    token: int
    text: str = ""
    wait: float = 0.0
    usage: int | None = None


@dataclass(frozen=True)
class HostileAnswer:
    """The fate of a request.

    Attributes:
        said: the tokens.
        statuses: HTTP statuses that the first attempts get instead of tokens.
        ends: whether the answer has an end. Otherwise the connection is lost after the last token.
    """

    said: Sequence[Said] = ()
    statuses: Sequence[int] = ()
    ends: bool = True


@dataclass
class HostileSource:
    """An attacker's server.

    Attributes:
        answers: its answers. The first id of a prompt selects one.
        ready: whether its list of models holds the model.
        url: its URL, while it runs.
    """

    answers: Mapping[int, HostileAnswer]
    ready: bool = True
    url: str = ""
    _attempts: Counter[int] = field(default_factory=Counter)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection: one request."""
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
            if head.startswith("get "):
                body = json.dumps({"data": [{"id": "source"}] if self.ready else []}).encode()
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % len(body) + body)
                return
            length = int(head.split("content-length: ")[1].split("\r\n")[0])
            number = json.loads(await reader.readexactly(length))["prompt"][0]
            answer, attempt = self.answers[number], self._attempts[number]
            self._attempts[number] += 1
            if attempt < len(answer.statuses):
                status = answer.statuses[attempt]
                writer.write(b"HTTP/1.1 %d Status\r\ncontent-length: 0\r\nconnection: close\r\n\r\n" % status)
                return
            await _say(answer, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


async def _say(answer: HostileAnswer, writer: asyncio.StreamWriter) -> None:
    writer.write(HEAD)
    clock = asyncio.get_running_loop().time
    due = clock()
    for at, said in enumerate(answer.said):
        due += said.wait  # a late token does not delay the tokens after it
        if due > clock():
            await asyncio.sleep(due - clock())
        is_end = answer.ends and at == len(answer.said) - 1
        writer.write(event(said.token, "length" if is_end else None, said.text, said.usage))
        await writer.drain()
    if answer.ends:
        writer.write(b"data: [DONE]\n\n")


@contextmanager
def hostile_source(answers: Mapping[int, HostileAnswer]) -> Iterator[HostileSource]:
    """A running server."""
    source = HostileSource(answers)
    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(asyncio.start_server(source.serve, "127.0.0.1", 0, backlog=512))
    source.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield source
    finally:
        loop.call_soon_threadsafe(server.close)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
