"""Process that checks grammars and makes their masks, for one model folder. It can be killed at any time."""

import hashlib
import socket
import threading
import weakref
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from weightwarden.logger.grammar.errors import GrammarRefused, GrammarTooSlow
from weightwarden.logger.grammar.fork_client import ForkClient
from weightwarden.logger.grammar.framing import receive_bytes
from weightwarden.logger.grammar.lane import Lane, reply
from weightwarden.logger.grammar.masks import GrammarMasks, Words
from weightwarden.logger.record import MAX_GRAMMAR_CHARACTERS

COMPILE_SECONDS = 2.0
"""Processor time in which a grammar must compile, seconds."""
QUICK_SECONDS = 0.25
"""Processor time of the first attempt to check a grammar, seconds. Nearly all compile in less."""
MASKS_SECONDS, MASK_SECONDS = 30.0, 0.5
"""Processor time in which a grammar must compile for masks, and for each mask besides, seconds: a sidecar has compiled
it, and an engine has made as many masks, perhaps on a faster machine.
"""
MOST_SLOW = 8
"""Largest number of grammars that have exceeded the first attempt and wait for the second."""
KEPT_CHECKS = 1024
"""Number of grammars whose check is remembered."""


class GrammarProcess:
    """A process that compiles grammars for one model folder.

    It starts at the first call. A grammar that takes too long or too much memory ends its worker and is refused; the
    next one finds a new worker. Many threads may call; they wait in the order in which they came. A grammar that does
    not compile quickly waits for a second attempt in a lane of its own, so that quick ones wait for quick ones only.
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
        self._vocabulary, self._seconds = vocabulary, seconds
        self._server = ForkClient(folder, vocabulary, extra=extra)
        self._quick, self._slow = Lane(self._server, 0), Lane(self._server, 1, most=MOST_SLOW)
        self._closing = weakref.finalize(self, _close, self._server, self._quick, self._slow)
        self._checked: OrderedDict[bytes, str | None] = OrderedDict()
        self._checked_lock = threading.Lock()

    def start(self) -> None:
        """Start the process, so that the first grammar does not wait for it.

        Raises:
            ModelError: the tokenizer cannot be used.
            MissingExtra: llguidance is not installed.
        """
        self._quick.start()

    def is_checked(self, kind: str, text: str) -> bool:
        """True if a grammar has been checked and is valid. Returns at once.

        Raises:
            GrammarRefused: it has been refused.
        """
        key = _key(kind, text)
        with self._checked_lock:
            if key not in self._checked:
                return False
            self._checked.move_to_end(key)
            refused = self._checked[key]
        if refused is not None:
            raise GrammarRefused(refused)
        return True

    def check(self, kind: str, text: str) -> None:
        """Check a grammar by compiling it for the tokenizer. The result is remembered.

        Raises:
            GrammarRefused: it is invalid, or takes too long or too much memory.
            GrammarsWaiting: too many costly grammars wait.
            ModelError: the tokenizer cannot be used.
            MissingExtra: llguidance is not installed.
        """
        if self.is_checked(kind, text):
            return
        request = {"kind": kind, "text": text, "ids": None}
        try:
            try:
                self._quick.ask(request, min(QUICK_SECONDS, self._seconds), reply)
            except GrammarTooSlow:
                self._slow.ask(request, self._seconds, reply)
        except GrammarRefused as error:
            if not (isinstance(error, GrammarTooSlow) and error.by_clock):
                self._remember(kind, text, str(error))
            raise
        self._remember(kind, text, None)

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
        request = {"kind": kind, "text": text, "ids": [int(token) for token in ids]}
        return self._quick.ask(request, max(MASKS_SECONDS, self._seconds) + MASK_SECONDS * len(ids), self._masks)

    def close(self) -> None:
        """End the process, for good: calls that wait, and later ones, raise GrammarsClosed."""
        self._closing()

    def _remember(self, kind: str, text: str, refused: str | None) -> None:
        with self._checked_lock:
            self._checked[_key(kind, text)] = refused
            if len(self._checked) > KEPT_CHECKS:
                self._checked.popitem(last=False)

    def _masks(self, worker: socket.socket) -> GrammarMasks:
        words = -(-self._vocabulary // 32)
        numbers: list[int] = []
        rows: list[Words] = [np.empty((0, words), np.uint32)]
        while "numbers" in (said := reply(worker)):
            numbers += said["numbers"]
            rows.append(np.frombuffer(receive_bytes(worker), "<u4").reshape(-1, words))
        distinct_uw = np.concatenate(rows)
        if self._vocabulary % 32:
            distinct_uw[:, -1] &= np.uint32((1 << self._vocabulary % 32) - 1)
        return GrammarMasks(distinct_uw, np.asarray(numbers, np.uint32), said["outside_at"])


def _close(server: ForkClient, *lanes: Lane) -> None:
    server.close()
    for lane in lanes:
        lane.close()


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
