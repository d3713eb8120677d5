"""Token masks of the records of a replay, made by their grammars, each once."""

import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

import numpy as np

from weightwarden.logger.grammar.errors import GrammarRefused, GrammarTooSlow
from weightwarden.logger.grammar.masks import GrammarMasks
from weightwarden.logger.record import Record
from weightwarden.verifier.logits.token_masks import EVERYTHING, TokenMasks, words_of
from weightwarden.verifier.types import RowSpan


class GrammarSource(Protocol):
    """A maker of masks (`logger.grammar.process.GrammarProcess`), for any number of threads."""

    def masks(self, kind: str, text: str, ids: Sequence[int]) -> GrammarMasks:
        """The masks of an answer's positions, up to the first token that the grammar does not allow.

        Raises:
            GrammarRefused: the grammar cannot be used.
        """
        ...

    def close(self) -> None:
        """Free the resources."""
        ...


def masks_of(source: GrammarSource, record: Record) -> GrammarMasks | None:
    """The masks of a record's positions, up to the first token outside its grammar; None without a grammar.

    Raises:
        GrammarRefused: the grammar cannot be used.
    """
    grammar = record.grammar
    if grammar is None:
        return None
    try:
        return source.masks(grammar.kind, grammar.text, record.output_token_ids)
    except GrammarTooSlow as error:
        if not error.by_clock:
            raise
        return source.masks(grammar.kind, grammar.text, record.output_token_ids)  # the machine was busy


class RecordMasks:
    """The masks of some records. A thread of its own makes those that are asked for in advance.

    A record whose grammar cannot be used has no masks, and is refused. It takes no other record with it.

    Attributes:
        refused: reasons why grammars cannot be used, by record.
        outside: the first position outside its grammar, by record.
    """

    def __init__(self, source: GrammarSource, records: Sequence[Record], vocabulary: int) -> None:
        self._source, self._records, self._vocabulary = source, records, vocabulary
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="masks")
        self._lock = threading.Lock()
        self._made: dict[int, Future[GrammarMasks | None]] = {}
        self._left = {index: len(record.output_token_ids) for index, record in enumerate(records) if record.grammar}
        self.refused: dict[int, str] = {}
        self.outside: dict[int, int] = {}

    def begin(self, batch: Sequence[int]) -> None:
        """Begin to make the masks of some records. They are kept until all of their positions were asked for."""
        for index in batch:
            if index in self._left:
                self._future(index)

    def of(self, pieces: Sequence[RowSpan]) -> tuple[int, TokenMasks] | None:
        """The masks of a chunk: its first row with one, and the masks from there on to the last. None without any.

        Rows between these that have no mask get one that allows everything. To be called once for every position.
        """
        found = []
        for piece in pieces:
            masks = self._masks_of(piece)
            if masks is not None and (count := min(piece.count, len(masks) - piece.start)) > 0:
                found.append((piece.row, masks, piece.start, count))
        if not found:
            return None
        first = min(row for row, *_ in found)
        mask_of_n = np.zeros(max(row + count for row, _, _, count in found) - first, np.int64)
        distinct = [np.full((1, words_of(self._vocabulary)), EVERYTHING)]
        size = 1
        for row, masks, start, count in found:
            used, index_n = np.unique(masks.mask_of_n[start : start + count], return_inverse=True)
            mask_of_n[row - first : row - first + count] = size + index_n
            distinct.append(masks.distinct_uw[used])
            size += len(used)
        return first, TokenMasks(np.concatenate(distinct), mask_of_n)

    def close(self) -> None:
        """End the thread. Masks that nobody waits for are not made."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _masks_of(self, piece: RowSpan) -> GrammarMasks | None:
        """The masks of a piece's record, or None; waits for them."""
        index = piece.record
        if index not in self._left:
            return None
        masks = self._future(index).result()
        with self._lock:
            self._left[index] -= piece.count
            if not self._left[index]:
                del self._made[index]
        return masks

    def _future(self, index: int) -> "Future[GrammarMasks | None]":
        with self._lock:
            if index not in self._made:
                self._made[index] = self._pool.submit(self._make, index)
            return self._made[index]

    def _make(self, index: int) -> GrammarMasks | None:
        try:
            masks = masks_of(self._source, self._records[index])
        except GrammarRefused as error:
            self.refused[index] = str(error)
            return None
        if masks is not None and masks.outside_at is not None:
            self.outside[index] = masks.outside_at
        return masks
