"""Worker that compiles grammars, with limits on memory and processor time. It ends at the first limit."""

import ctypes
import os
import resource
import signal
import socket
import sys
from typing import Any

from weightwarden.logger.grammar.compiler import GrammarCompiler
from weightwarden.logger.grammar.errors import GrammarRefused
from weightwarden.logger.grammar.framing import Ended, receive, send, send_bytes

MEMORY_BYTES = 2**30
"""Memory that a worker may use besides what it begins with."""
BATCH = 256
"""Number of masks in one message."""
KEPT_ROWS = 1024
"""Number of different masks that a worker compares a new one with."""
_PR_SET_PDEATHSIG = 1


def serve(compiler: GrammarCompiler, connection: socket.socket) -> None:
    """Answer the requests of a connection until its end."""
    _limit_memory()
    while True:
        try:
            asked = receive(connection)
        except Ended:
            return
        _limit_seconds(asked["seconds"])
        try:
            if asked["ids"] is None:
                compiler.check(asked["kind"], asked["text"])
                send(connection, {})
            else:
                _send_masks(compiler, connection, asked)
        except GrammarRefused as error:
            send(connection, {"refused": str(error)})


def end_with_parent(parent: int) -> None:
    """Have the kernel kill this process when its parent ends, where it can."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)


def _send_masks(compiler: GrammarCompiler, connection: socket.socket, asked: dict[str, Any]) -> None:
    number_of: dict[bytes, int] = {}
    count, outside_at = 0, None
    numbers: list[int] = []
    new: list[bytes] = []
    for position, (mask, allowed) in enumerate(compiler.masks(asked["kind"], asked["text"], asked["ids"])):
        number = number_of.get(mask)
        if number is None:
            if len(number_of) == KEPT_ROWS:
                number_of.clear()
            number_of[mask] = number = count
            new.append(mask)
            count += 1
        numbers.append(number)
        if not allowed:
            outside_at = position
        if len(numbers) == BATCH:
            _send_batch(connection, numbers, new)
    _send_batch(connection, numbers, new)
    send(connection, {"outside_at": outside_at})


def _send_batch(connection: socket.socket, numbers: list[int], new: list[bytes]) -> None:
    send(connection, {"numbers": numbers})
    send_bytes(connection, b"".join(new))
    numbers.clear()
    new.clear()


def _limit_memory() -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    if sys.platform == "linux":
        with open("/proc/self/statm") as statm:  # noqa: PTH123  (no path of a file)
            pages = int(statm.read().split()[0])
        most = pages * resource.getpagesize() + MEMORY_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


def _limit_seconds(seconds: float) -> None:
    """End this process by SIGPROF after more processor time than that."""
    signal.setitimer(signal.ITIMER_PROF, seconds)
