"""HTTP servers of handlers, for tests that need a byte-simple one."""

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def serving(handler: type[BaseHTTPRequestHandler]) -> AbstractContextManager[str]:
    """The URL of a running server, a thread a connection."""
    return serving_on(handler, 0)


@contextmanager
def serving_on(handler: type[BaseHTTPRequestHandler], port: int) -> Iterator[str]:
    """The same, on a given port; 0: any."""
    server = ThreadingHTTPServer(("127.0.0.1", port), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
