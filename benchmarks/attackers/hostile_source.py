"""An inference server written by an attacker: it sends given tokens, with given texts at given times."""

import asyncio
import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from benchmarks.sidecar.token_source import HEAD, event


@dataclass(frozen=True)
class Said:
    """A token, its text, and the seconds since the token before."""

    token: int
    text: str = ""
    wait: float = 0.0


@contextmanager
def hostile_source(answers: Mapping[int, Sequence[Said]]) -> Iterator[str]:
    """The URL of a running server. The first id of a prompt selects its answer."""
    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(
        asyncio.start_server(lambda reader, writer: _serve(answers, reader, writer), "127.0.0.1", 0)
    )
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        loop.call_soon_threadsafe(server.close)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _serve(
    answers: Mapping[int, Sequence[Said]], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        if head.startswith("get "):
            body = json.dumps({"data": [{"id": "source"}]}).encode()
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % len(body) + body)
            return
        length = int(head.split("content-length: ")[1].split("\r\n")[0])
        asked = json.loads(await reader.readexactly(length))
        answer = answers[asked["prompt"][0]]
        writer.write(HEAD)
        clock = asyncio.get_running_loop().time
        due = clock()
        for at, said in enumerate(answer):
            due += said.wait  # a late token does not delay the tokens after it
            await asyncio.sleep(due - clock())
            writer.write(event(said.token, "length" if at == len(answer) - 1 else None, said.text))
            await writer.drain()
        writer.write(b"data: [DONE]\n\n")
    except (ConnectionError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()
