"""The gate's process. Its only argument is JSON: a listening socket's descriptor, and the settings.

It ends when its standard input ends, at once. A line there lets it take no more connections.
"""

import asyncio
import json
import os
import signal
import socket
import ssl
import sys
from contextlib import suppress
from itertools import count

from weightwarden.logger.gate.connection import ClientSide, GateSettings
from weightwarden.logger.gate.tls import tls_context

NICENESS = -10
"""Priority of the process, where it may have it: the sidecar's load must not delay it."""


async def serve(listening: socket.socket, settings: GateSettings, tls: ssl.SSLContext | None) -> None:
    """Serve until the standard input ends."""
    loop = asyncio.get_running_loop()
    turns = count()
    server = await loop.create_server(
        lambda: ClientSide(settings, loop, next(turns)), sock=listening, ssl=tls, backlog=2048
    )
    commands = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    sys.stdout.write("listening\n")
    sys.stdout.flush()
    while await commands.readline():
        server.close()


def main() -> None:
    """Run."""
    given = json.loads(sys.argv[1])
    listening = socket.socket(fileno=given["descriptor"])
    settings = GateSettings(links=tuple(given["links"]), tick=given["tick"], send=given["send"])
    context = None if given["certificate"] is None else tls_context(given["certificate"], given["key"])
    with suppress(OSError):
        os.nice(NICENESS)
    for number in (signal.SIGINT, signal.SIGTERM):  # the sidecar decides when it ends
        signal.signal(number, signal.SIG_IGN)
    asyncio.run(serve(listening, settings, context))
    os._exit(0)  # connections that are left are dropped at once


if __name__ == "__main__":
    main()
