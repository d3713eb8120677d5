"""Sockets that listen for clients."""

import socket
from typing import Any

from weightwarden.logger.sidecar.errors import SettingsError
from weightwarden.logger.sidecar.settings import Settings

BACKLOG = 2048
"""Number of connections that may wait to be taken."""


def listening_socket(settings: Settings, *, shared: bool = False, address: Any = None) -> socket.socket:
    """A socket that listens on the sidecar's address.

    Args:
        settings: the sidecar's settings.
        shared: let others of this user listen there too: the kernel gives each connection to one of them.
        address: the socket address, or None for that of the settings.

    Raises:
        SettingsError: the address is taken, or is none of this host.
    """
    host, port = settings.listen.host, settings.listen.port
    try:
        family, _, _, _, found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address or found, family=family, backlog=BACKLOG, reuse_port=shared)
    except OSError:
        raise SettingsError("cannot listen there: the address is taken, or not one of this host") from None
