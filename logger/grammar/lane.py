"""Lane of a grammar process: one worker, and the threads that wait for it."""

import signal
import socket
from collections.abc import Callable
from typing import Any, TypeVar

from weightwarden.logger.grammar.errors import GrammarRefused, GrammarTooSlow
from weightwarden.logger.grammar.fork_client import ForkClient
from weightwarden.logger.grammar.framing import Ended, receive, send
from weightwarden.logger.grammar.turns import Turns

WALL_CLOCK = 10.0
"""Seconds that may pass for each second of processor time."""

Result = TypeVar("Result")


class Lane:
    """A worker of a fork server, for one thread at a time. A worker that ends, or takes too long, is replaced."""

    def __init__(self, server: ForkClient, number: int, *, most: int | None = None) -> None:
        """The lane of a number. Its worker starts with its first request.

        Args:
            server: the fork server.
            number: number of the worker.
            most: largest number of threads in the lane, or None.
        """
        self._server, self._number = server, number
        self._turns = Turns(most)
        self._worker: socket.socket | None = None

    def start(self) -> None:
        """Start the worker.

        Raises:
            ModelError: the tokenizer cannot be used.
            MissingExtra: llguidance is not installed.
        """
        with self._turns:
            self._ready()

    def ask(self, request: dict[str, Any], seconds: float, read: Callable[[socket.socket], Result]) -> Result:
        """The worker's reply to a request.

        Args:
            request: the request.
            seconds: processor time that it may take.
            read: reads the reply.

        Raises:
            GrammarRefused: the grammar is invalid, or takes too much memory.
            GrammarTooSlow: it takes too long.
            GrammarsWaiting: too many threads are in the lane.
            ModelError: the tokenizer cannot be used.
            MissingExtra: llguidance is not installed.
        """
        with self._turns:
            worker = self._ready()
            worker.settimeout(WALL_CLOCK * seconds)
            try:
                send(worker, {**request, "seconds": seconds})
                return read(worker)
            except GrammarRefused:
                raise
            except (OSError, Ended) as error:
                ended = self._replace(worker)
                by_clock = isinstance(error, TimeoutError)
                if by_clock or ended == -signal.SIGPROF:
                    what = f"the grammar takes longer than {seconds:g} s to compile"
                    raise GrammarTooSlow(what, by_clock=by_clock) from None
                raise GrammarRefused("the grammar needs too much memory, or ends its compiler") from None
            except BaseException:
                self._replace(worker)  # an interrupt leaves an unread reply
                raise

    def close(self) -> None:
        """Give the worker up."""
        with self._turns:
            if self._worker is not None:
                self._worker.close()
            self._worker = None

    def _ready(self) -> socket.socket:
        if self._worker is None:
            self._worker, _ = self._server.new_worker(self._number)
        return self._worker

    def _replace(self, worker: socket.socket) -> int | None:
        """Put a new worker in the place of one, and return the exit code of that one; None if it is unknown."""
        worker.close()
        self._worker = None
        self._worker, ended = self._server.new_worker(self._number)
        return ended


def reply(worker: socket.socket) -> dict[str, Any]:
    """The next message of a worker.

    Raises:
        GrammarRefused: the worker refuses the grammar.
        Ended: there is none.
        TimeoutError: the connection's time has passed.
    """
    said = receive(worker)
    if "refused" in said:
        raise GrammarRefused(str(said["refused"]))
    return said
