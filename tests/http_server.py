"""HTTP servers of handlers, for tests that need a byte-simple one."""

import socketserver
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def serving(handler: type[BaseHTTPRequestHandler]) -> AbstractContextManager[str]:
    """The URL of a running server, a thread a connection."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    return _running(server, f"http://127.0.0.1:{server.server_address[1]}")


def serving_on_socket(handler: type[BaseHTTPRequestHandler], path: str) -> AbstractContextManager[str]:
    """The same, on a Unix socket."""
    return _running(_UnixServer(path, handler), "http://localhost")


class _UnixServer(socketserver.ThreadingUnixStreamServer):
    request_queue_size = 128  # a Unix socket refuses connections beyond it


@contextmanager
def _running(server: ThreadingHTTPServer | socketserver.ThreadingUnixStreamServer, url: str) -> Iterator[str]:
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield url
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
