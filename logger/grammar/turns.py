"""Lock whose waiting threads get it in the order in which they came."""

import threading
from collections import deque
from types import TracebackType

from weightwarden.logger.grammar.errors import GrammarsWaiting


class Turns:
    """A lock, first come, first served."""

    def __init__(self, most: int | None = None) -> None:
        """A free lock.

        Args:
            most: largest number of threads that hold it or wait for it, or None.
        """
        self._most = most
        self._state = threading.Lock()
        self._taken = False
        self._waiting: deque[threading.Lock] = deque()

    def __len__(self) -> int:
        """The number of threads that hold the lock or wait for it."""
        with self._state:
            return int(self._taken) + len(self._waiting)

    def __enter__(self) -> None:
        """Take the lock.

        Raises:
            GrammarsWaiting: too many threads wait for it.
        """
        with self._state:
            if not self._taken:
                self._taken = True
                return
            if self._most is not None and len(self._waiting) + 1 >= self._most:
                raise GrammarsWaiting("too many costly grammars wait for their check; try again")
            mine = threading.Lock()
            mine.acquire()
            self._waiting.append(mine)
        mine.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._state:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._taken = False
