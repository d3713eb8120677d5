"""The HTTP side of a verification server, served from a thread of the test's process."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from tests.verifier.server.running import Server
from weightwarden.verifier.server.api.app import application
from weightwarden.verifier.server.api.metrics import Metrics


@contextmanager
def served(server: Server) -> Iterator[str]:
    """The URL of a running API and dashboard."""
    listen = server.opened.settings.listen
    app = application(server.opened, Metrics(server.opened), lambda: None)
    http = uvicorn.Server(
        uvicorn.Config(app, host=listen.host, port=listen.port, log_config=None, lifespan="off", ws="none")
    )
    thread = threading.Thread(target=http.run, daemon=True)
    thread.start()
    while not http.started:
        assert thread.is_alive()
        time.sleep(0.01)
    try:
        yield f"http://{listen.host}:{listen.port}"
    finally:
        http.should_exit = True
        thread.join()
