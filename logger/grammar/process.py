"""Process that checks grammars and makes their masks, for one model folder. It can be killed at any time."""

import hashlib
import signal
import socket
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from weightwarden.logger.grammar.errors import GrammarRefused
from weightwarden.logger.grammar.fork_client import ForkClient
from weightwarden.logger.grammar.framing import Ended, receive, receive_bytes, send
from weightwarden.logger.grammar.masks import GrammarMasks, Words
from weightwarden.logger.grammar.turns import Turns
from weightwarden.logger.grammar.worker import MEMORY_BYTES
from weightwarden.logger.record import MAX_GRAMMAR_CHARACTERS

COMPILE_SECONDS = 2.0
"""Processor time in which a grammar must compile, seconds."""
MASK_SECONDS = 0.05
"""Processor time for each mask besides, seconds. llguidance's own limits end a mask before that."""
WALL_CLOCK = 10.0
"""Seconds that may pass for each second of processor time."""
KEPT_CHECKS = 1024
"""Number of grammars whose check is remembered."""

Result = TypeVar("Result")


class GrammarProcess:
    """A process that compiles grammars for one model folder.

    It starts at the first call. A grammar that takes too long or too much memory ends it, is refused, and costs the
    others no more than its own time: the next one finds a new process. Many threads may call; they wait in the order in
    which they came.
    """

    def __init__(
        self, folder: Path, vocabulary: int, *, seconds: float = COMPILE_SECONDS, extra: str = "replay"
    ) -> None:
        """The process of a model folder.

        Args:
            folder: the model folder.
            vocabulary: width of the model's logits, tokens.
            seconds: processor time in which a grammar must compile.
            extra: the extra of the package that llguidance belongs to here.
        """
        self._folder, self._vocabulary, self._seconds, self._extra = folder, vocabulary, seconds, extra
        self._turns = Turns()
        self._server: ForkClient | None = None
        self._worker: socket.socket | None = None
        self._checked: OrderedDict[bytes, str | None] = OrderedDict()
        self._checked_lock = threading.Lock()

    def start(self) -> None:
        """Start the process, so that the first grammar does not wait for it.

        Raises:
            ModelError: the tokenizer cannot be used.
            MissingExtra: llguidance is not installed.
        """
        with self._turns:
            self._ready()

    def check(self, kind: str, text: str) -> None:
        """Check a grammar by compiling it. A grammar is compiled once.

        Raises:
            GrammarRefused: it is invalid, or takes too long or too much memory.
            ModelError: the tokenizer cannot be used.
            MissingExtra: llguidance is not installed.
        """
        key = _key(kind, text)
        if self._known(key):
            return
        with self._turns:
            if self._known(key):  # another thread asked meanwhile
                return
            try:
                self._ask(kind, text, None, self._read_check)
            except _RefusedNow:
                raise
            except GrammarRefused as error:
                self._remember(key, str(error))
                raise
            self._remember(key, None)

    def masks(self, kind: str, text: str, ids: Sequence[int]) -> GrammarMasks:
        """The masks of an answer's positions, up to the first token that the grammar does not allow.

        Args:
            kind: kind of the grammar (`Grammar`).
            text: its text.
            ids: the answer's token ids.

        Raises:
            GrammarRefused: the grammar is invalid, or takes too long or too much memory.
            ModelError: the tokenizer cannot be used.
            MissingExtra: llguidance is not installed.
        """
        _key(kind, text)
        with self._turns:
            return self._ask(kind, text, list(map(int, ids)), self._read_masks)

    def close(self) -> None:
        """End the process. A later call starts a new one."""
        with self._turns:
            self._drop()

    def _known(self, key: bytes) -> bool:
        """True if a grammar is known to be valid.

        Raises:
            GrammarRefused: it is known to be refused.
        """
        with self._checked_lock:
            if key not in self._checked:
                return False
            self._checked.move_to_end(key)
            refused = self._checked[key]
        if refused is not None:
            raise GrammarRefused(refused)
        return True

    def _remember(self, key: bytes, refused: str | None) -> None:
        with self._checked_lock:
            self._checked[key] = refused
            if len(self._checked) > KEPT_CHECKS:
                self._checked.popitem(last=False)

    def _ask(self, kind: str, text: str, ids: list[int] | None, read: Callable[[socket.socket], Result]) -> Result:
        """The worker's reply. A worker that ends, or does not reply in time, is replaced."""
        seconds = self._seconds + MASK_SECONDS * len(ids or ())
        worker = self._ready()
        worker.settimeout(WALL_CLOCK * seconds)
        try:
            send(worker, {"kind": kind, "text": text, "ids": ids, "seconds": seconds})
            return read(worker)
        except GrammarRefused:
            raise
        except (OSError, Ended) as error:
            ended = self._replace(worker)
            if isinstance(error, TimeoutError) or ended == -signal.SIGKILL:
                raise _RefusedNow(_too_long(seconds)) from None
            if ended == -signal.SIGXCPU:
                raise GrammarRefused(_too_long(seconds)) from None
            raise GrammarRefused(
                f"the grammar needs more than {MEMORY_BYTES >> 20} MiB to compile, or ends its compiler"
            ) from None
        except BaseException:
            self._replace(worker)  # an interrupt leaves an unread reply
            raise

    def _ready(self) -> socket.socket:
        """The connection to the worker, which is started where there is none."""
        if self._worker is None:
            if self._server is None:
                self._server = ForkClient(self._folder, self._vocabulary, extra=self._extra)
            self._worker, _ = self._server.new_worker()
        return self._worker

    def _replace(self, worker: socket.socket) -> int | None:
        """Put a new worker in the place of one, and return the exit code of that one; None where it is unknown."""
        worker.close()
        self._worker = None
        assert self._server is not None
        try:
            self._worker, ended = self._server.new_worker()
        except Ended:
            self._drop()
            return None
        return ended

    def _drop(self) -> None:
        if self._worker is not None:
            self._worker.close()
        if self._server is not None:
            self._server.close()
        self._worker = self._server = None

    def _read_check(self, worker: socket.socket) -> None:
        _reply(worker)

    def _read_masks(self, worker: socket.socket) -> GrammarMasks:
        words = -(-self._vocabulary // 32)
        numbers: list[int] = []
        rows: list[Words] = [np.empty((0, words), np.uint32)]
        while "numbers" in (said := _reply(worker)):
            numbers += said["numbers"]
            rows.append(np.frombuffer(receive_bytes(worker), "<u4").reshape(-1, words))
        distinct_uw = np.concatenate(rows)
        if self._vocabulary % 32:
            distinct_uw[:, -1] &= np.uint32((1 << self._vocabulary % 32) - 1)
        return GrammarMasks(distinct_uw, np.asarray(numbers, np.uint32), said["outside_at"])


class _RefusedNow(GrammarRefused):
    """A refusal that depends on how busy the machine is. It is not remembered."""


def _reply(worker: socket.socket) -> dict[str, Any]:
    said = receive(worker)
    if "refused" in said:
        raise GrammarRefused(str(said["refused"]))
    return said


def _too_long(seconds: float) -> str:
    return f"the grammar takes longer than {seconds:g} s to compile"


def _key(kind: str, text: str) -> bytes:
    """The digest by which a check is remembered.

    Raises:
        GrammarRefused: the text is too long, or is not Unicode.
    """
    if len(text) > MAX_GRAMMAR_CHARACTERS:
        raise GrammarRefused(f"the grammar has {len(text)} characters, more than {MAX_GRAMMAR_CHARACTERS}")
    try:
        return hashlib.sha256(f"{kind}\0{text}".encode()).digest()
    except UnicodeEncodeError:
        raise GrammarRefused("the grammar is not Unicode text") from None
