"""Processes side by side on one address: the system gives each connection to one of them (SO_REUSEPORT)."""

import multiprocessing
import signal
import socket
import sys
from collections.abc import Callable

BACKLOG = 2048
"""Number of connections that may wait at each process."""


def serve_side_by_side(serve: Callable[[socket.socket], object], port: int, processes: int) -> None:
    """Serve a port of 127.0.0.1 until SIGTERM or the end of what serves. More than one process are this one's children.

    Args:
        serve: what serves a listening socket, until its process gets SIGTERM.
        port: the port.
        processes: number of processes. One is this process itself.
    """
    if processes == 1:
        serve(_listening(port, shared=False))
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # at the exit, the children get SIGTERM
    listening = [_listening(port, shared=True) for _ in range(processes)]
    fork = multiprocessing.get_context("fork")
    children = [fork.Process(target=_child, args=(serve, one), daemon=True) for one in listening]
    for child in children:
        child.start()
    for child in children:
        child.join()


def _child(serve: Callable[[socket.socket], object], listening: socket.socket) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    serve(listening)


def _listening(port: int, *, shared: bool) -> socket.socket:
    return socket.create_server(("127.0.0.1", port), backlog=BACKLOG, reuse_port=shared)
