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

CHECK_BYTES, MASK_BYTES = 2**30, 4 * 2**30
"""Memory that a check, and the masks of an answer, may take besides what a worker begins with. llguidance's own limits
end a mask at about 2 GiB.
"""
BATCH = 256
"""Number of masks in one message."""
KEPT_ROWS = 1024
"""Number of different masks that a worker compares a new one with."""
_PR_SET_PDEATHSIG = 1


def serve(compiler: GrammarCompiler, connection: socket.socket) -> None:
    """Answer the requests of a connection until its end."""
    begun = _address_space()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    while True:
        try:
            asked = receive(connection)
        except Ended:
            return
        is_check = asked["ids"] is None
        _limit(asked["seconds"], begun + (CHECK_BYTES if is_check else MASK_BYTES))
        try:
            if is_check:
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


def _address_space() -> int:
    """The size of this process's address space, bytes; 0 where the system does not say."""
    if sys.platform != "linux":
        return 0
    with open("/proc/self/statm") as statm:  # noqa: PTH123  (no path of a file)
        return int(statm.read().split()[0]) * resource.getpagesize()


def _limit(seconds: float, most: int) -> None:
    """Limit the next request: SIGPROF ends this process after that processor time, and its memory is at most that."""
    signal.setitimer(signal.ITIMER_PROF, seconds)
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_AS, (most, resource.RLIM_INFINITY))
