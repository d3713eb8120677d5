"""A free port for a server that must be given one."""

import random
import socket

_PORTS = range(20_000, 32_000)
"""Ports below those that systems give to outgoing connections, which could take the port before the server does."""
_random = random.SystemRandom()


def free_port() -> int:
    """A free TCP port of 127.0.0.1; another server may take it before it is used."""
    while True:
        port = _random.choice(_PORTS)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
