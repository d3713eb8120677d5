"""Messages between processes: JSON objects and bytes, each with its length before it. Nothing in them is executed."""

import json
import socket
import struct
from typing import Any

_LENGTH = struct.Struct("<Q")
MAX_MESSAGE_BYTES = 2**31
"""Largest message. A longer one is from no process of this package."""


class Ended(Exception):
    """The other process has closed its end, or has sent what is no message."""


def send(connection: socket.socket, message: dict[str, Any]) -> None:
    """Send a JSON object."""
    send_bytes(connection, json.dumps(message).encode())


def send_bytes(connection: socket.socket, content: bytes | bytearray) -> None:
    """Send bytes."""
    connection.sendall(_LENGTH.pack(len(content)))
    connection.sendall(content)


def receive(connection: socket.socket) -> dict[str, Any]:
    """The next message, a JSON object.

    Raises:
        Ended: there is none.
        TimeoutError: the connection's time has passed.
    """
    try:
        message = json.loads(receive_bytes(connection))
    except ValueError:
        raise Ended("not JSON") from None
    if not isinstance(message, dict):
        raise Ended("not an object")
    return message


def receive_bytes(connection: socket.socket) -> bytearray:
    """The next message, bytes.

    Raises:
        Ended: there is none.
        TimeoutError: the connection's time has passed.
    """
    (length,) = _LENGTH.unpack(_exactly(connection, _LENGTH.size))
    if length > MAX_MESSAGE_BYTES:
        raise Ended("too long")
    return _exactly(connection, length)


def _exactly(connection: socket.socket, count: int) -> bytearray:
    content = bytearray(count)
    view, at = memoryview(content), 0
    while at < count:
        try:
            got = connection.recv_into(view[at:])
        except ConnectionError:
            got = 0
        if not got:
            raise Ended("closed")
        at += got
    return content
