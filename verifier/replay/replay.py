"""The replayer protocol, and the candidate tables of a replay."""

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Protocol, runtime_checkable

import numpy as np

from weightwarden.logger.grammar.masks import GrammarMasks
from weightwarden.logger.grammar.process import GrammarProcess
from weightwarden.logger.record import Record
from weightwarden.sampler.schemes import scheme
from weightwarden.sampler.types import FloatArray, IntArray
from weightwarden.verifier.candidates.draw_builder import DrawBuilder
from weightwarden.verifier.candidates.draws import Draws
from weightwarden.verifier.candidates.gumbel import gumbel_candidates
from weightwarden.verifier.candidates.inverse_cdf import inverse_cdf_candidates
from weightwarden.verifier.candidates.one_hot import one_hot_candidates
from weightwarden.verifier.candidates.pending import PartTable, PendingTables, SelfReducing, concat
from weightwarden.verifier.candidates.record_masks import GrammarSource, RecordMasks
from weightwarden.verifier.candidates.table import CandidateTable, Standing
from weightwarden.verifier.candidates.window import Window
from weightwarden.verifier.columns import Sums
from weightwarden.verifier.logits.rows import LogitRows
from weightwarden.verifier.model.identity import ModelIdentity
from weightwarden.verifier.policy.base import KnownAnswer
from weightwarden.verifier.replay.threads import map_unordered
from weightwarden.verifier.types import RowSpan, Tokenizer

Reduce = Callable[[LogitRows, Draws, Window], list[PartTable]]
Reduced = tuple[list[RowSpan], list[PartTable], float, float]

AHEAD = 3
"""Number of chunks whose reduction may be under way on a device while an earlier one is scored. Their logits stay
there.
"""


@dataclass(frozen=True)
class ReplayChunk:
    """Raw logits of some output positions, and the records of these positions."""

    rows: LogitRows
    pieces: list[RowSpan]


class ReplayFacts(Protocol):
    """Facts about a replayer.

    `implementation` and `dtype` identify the arithmetic, and are part of policies: a tolerance holds for one pair of
    server and replayer. `device` is for reports.
    """

    @property
    def implementation(self) -> str: ...

    @property
    def dtype(self) -> str: ...

    @property
    def device(self) -> str: ...

    @property
    def identity(self) -> ModelIdentity: ...

    @property
    def tokenizer(self) -> Tokenizer: ...


class Replayer(ReplayFacts, Protocol):
    """A trusted copy of the model that computes the logits of an honest server.

    `batches` groups the records that are replayed together; every record is in exactly one batch. `replay` yields every
    output position of a batch's records exactly once, each row computed from the record's prompt and the claimed output
    before it (teacher forcing). Chunks come in any order. A failure raises; rows that were not computed are never
    yielded. `replay` may be called for `concurrency` batches at once, on separate threads. `unit_tokens` is the number
    of tokens, prompts included, that a work unit needs to keep the replayer busy (`work_units`). `known_answer`
    distinguishes this replayer's model and build from others where the name cannot; None otherwise. `close` ends all
    work under way and frees the resources.
    """

    implementation: str
    dtype: str
    identity: ModelIdentity
    concurrency: int

    @property
    def unit_tokens(self) -> int: ...

    def batches(self, records: Sequence[Record]) -> list[list[int]]: ...

    def replay(self, batch: Sequence[int], records: Sequence[Record]) -> Iterator[ReplayChunk]: ...

    def known_answer(self) -> KnownAnswer | None: ...

    def close(self) -> None: ...


@runtime_checkable
class SwayingReplayer(Replayer, Protocol):
    """A replayer that can measure how rounding errors move the model's logits.

    `sway` returns, for every output token of records that have some, by how many logits rounding errors of a server's
    size move it against the likely tokens. Larger is less steady. `masks` are those of the records' grammars, None for
    a record without one; omitted: no record has one.
    """

    def sway(
        self, records: Sequence[Record], masks: Sequence[GrammarMasks | None] | None = None
    ) -> list[FloatArray]: ...


@dataclass(kw_only=True)
class ReplaySeconds(Sums):
    """Seconds of a replay, summed over threads.

    Attributes:
        forward: time spent waiting for the replayer.
        score: time spent reducing and scoring.
    """

    forward: float = 0.0
    score: float = 0.0


@dataclass(frozen=True)
class PlacedTable:
    """A candidate table, and the (record, output position) of each of its rows."""

    table: CandidateTable
    record_n: IntArray
    position_n: IntArray


@dataclass
class Replay:
    """Replay of records that keeps only the input of scoring, one candidate table a chunk.

    Attributes:
        progress: called with the number of output tokens just replayed.
        grammars: maker of the masks of records with a grammar. If omitted: a process for the replayer's model folder,
            started when it is needed.
        refused: reasons why a record's grammar cannot be used, by record. Its tables are those of a record without
            grammar, and prove nothing.
    """

    replayer: Replayer
    window: Window
    progress: Callable[[int], None] | None = None
    timing: ReplaySeconds = field(default_factory=ReplaySeconds)
    grammars: GrammarSource | None = None
    refused: dict[int, str] = field(default_factory=dict)

    def tables(self, records: Sequence[Record]) -> Iterator[PlacedTable]:
        """Candidate tables that cover every output position of the records once, except forced ones.

        Each request of a record is replayed by itself (`Record.requests`). Requests of different schemes are replayed
        separately, so that each chunk has one scheme.
        """
        requests = [(i, first, one) for i, record in enumerate(records) for first, one in record.requests()]
        for name in sorted({record.scheme_name for record in records}):
            found = [request for request in requests if request[2].scheme_name == name]
            record_g, first_g = np.array([i for i, _, _ in found]), np.array([first for _, first, _ in found])
            group = [request for _, _, request in found]
            masks = self._masks(group)
            builder = DrawBuilder(name, self.replayer.identity, self.replayer.tokenizer, masks)
            reduce = reduction(name)
            if self.replayer.concurrency > 1:
                tables = self._in_threads(group, builder, reduce)
            else:
                tables = self._ahead(group, builder, reduce)
            for placed in tables:
                if self.progress is not None:
                    self.progress(len(placed.table))
                at_n = placed.record_n
                yield PlacedTable(placed.table, record_g[at_n], first_g[at_n] + placed.position_n)
            if masks is not None:
                masks.close()
                self.refused |= {int(record_g[at]): why for at, why in masks.refused.items()}
        forced = sum(end - start for record in records for start, end in record.forced())
        if forced and self.progress is not None:
            self.progress(forced)

    def _masks(self, group: Sequence[Record]) -> RecordMasks | None:
        """Masks of records; None where none has a grammar."""
        if all(record.grammar is None for record in group):
            return None
        identity = self.replayer.identity
        if self.grammars is None:
            self.grammars = GrammarProcess(identity.path, identity.vocabulary)
        return RecordMasks(self.grammars, group, identity.vocabulary)

    def _in_threads(self, group: Sequence[Record], builder: DrawBuilder, reduce: Reduce) -> Iterator[PlacedTable]:
        """Tables of batches that are replayed and reduced in parallel."""
        work = partial(self._reduced, group=group, builder=builder, reduce=reduce)
        for reduced in map_unordered(work, self.replayer.batches(group), self.replayer.concurrency):
            for pieces, parts, forward, score in reduced:
                self.timing.forward += forward
                self.timing.score += score
                yield from _placed(parts, *_places(pieces))

    def _ahead(self, group: Sequence[Record], builder: DrawBuilder, reduce: Reduce) -> Iterator[PlacedTable]:
        """Tables of the batches, one batch after another.

        1. Begin the reduction of a chunk on its device. If that is not possible, reduce it here at once.
        2. While the device has later chunks to reduce, take the finished parts of the earliest.
        """
        under_way: deque[tuple[IntArray, IntArray, PendingTables]] = deque()
        for batch in self.replayer.batches(group):
            builder.expect(batch)
            chunks = self.replayer.replay(batch, group)
            while True:
                started = time.perf_counter()
                chunk = next(chunks, None)
                if chunk is None:
                    self.timing.forward += time.perf_counter() - started
                    break
                received = time.perf_counter()
                draws = builder.draws(chunk.rows, chunk.pieces, group)
                pending = chunk.rows.begin(draws, self.window) if isinstance(chunk.rows, SelfReducing) else None  # 1
                self.timing.forward += received - started
                if pending is not None:
                    self.timing.score += time.perf_counter() - received
                    under_way.append((*_places(chunk.pieces), pending))
                    while len(under_way) > AHEAD:  # 2
                        yield from self._taken(under_way)
                    continue
                finished, waited = self._settled(chunk, draws, reduce)
                self.timing.forward += waited
                self.timing.score += time.perf_counter() - received - waited
                yield from _placed(finished, *_places(chunk.pieces))
        while under_way:
            yield from self._taken(under_way)

    def _taken(self, under_way: deque[tuple[IntArray, IntArray, PendingTables]]) -> list[PlacedTable]:
        """The finished parts of the earliest reduction. A restarted reduction goes to the end of the queue."""
        started = time.perf_counter()
        record_n, position_n, pending = under_way.popleft()
        parts, left = pending.take()
        if left is not None:
            under_way.append((record_n, position_n, left))
        placed = _placed(parts, record_n, position_n)
        self.timing.score += time.perf_counter() - started
        return placed

    def _reduced(
        self, batch: list[int], group: Sequence[Record], builder: DrawBuilder, reduce: Reduce
    ) -> list[Reduced]:
        """A batch's tables, each with its row spans and the seconds of waiting and of reducing."""
        reduced: list[Reduced] = []
        started = time.perf_counter()
        for chunk in self.replayer.replay(batch, group):
            received = time.perf_counter()
            parts, waited = self._settled(chunk, builder.draws(chunk.rows, chunk.pieces, group), reduce)
            waited += received - started
            ended = time.perf_counter()
            reduced.append((chunk.pieces, parts, waited, ended - started - waited))
            started = time.perf_counter()
        return reduced

    def _settled(self, chunk: ReplayChunk, draws: Draws, reduce: Reduce) -> tuple[list[PartTable], float]:
        """A chunk's tables, and the seconds of waiting for the replayer.

        1. Reduce the rows to candidates.
        2. While the rows contradict the claim, or unseen tokens could matter, and the replayer can learn more: ask it,
           and reduce again.
        3. Keep the first table for each position that it settled: later answers, asked for other positions, change
           nothing there.
        """
        waited = 0.0
        parts = reduce(chunk.rows, draws, self.window)  # 1
        if chunk.rows.whole:
            return parts, waited
        first = table = concat(parts)
        while True:  # 2
            asked = time.perf_counter()
            learnt = _learnt(chunk.rows, table)
            waited += time.perf_counter() - asked
            if not learnt:
                table = table if table is first else settled_tables(first, table, chunk.rows.drawn())  # 3
                return [PartTable(np.arange(len(table)), table)], waited
            table = concat(reduce(chunk.rows, draws, self.window))


def reduction(scheme_name: str) -> Reduce:
    """The reduction of a scheme's rows to candidates. Every row is in one of its tables."""
    if scheme(scheme_name).speculates:
        return one_hot_candidates
    whole = inverse_cdf_candidates if scheme_name == "inverse-cdf" else gumbel_candidates
    return lambda rows, draws, window: [PartTable(np.arange(len(rows)), whole(rows, draws, window))]


def settled_tables(first: CandidateTable, last: CandidateTable, drawn_n: IntArray) -> CandidateTable:
    """The first table where it settled a position, else the last, marked with the evidence that settled it.

    So the tokens that could have been claimed at a position depend neither on the claimed token there, nor on later
    ones. Where the first table left the position open, the engine's draw decides, if it was observed.

    Args:
        drawn_n: tokens that the engine was observed to draw, -1 where none was.
    """
    early = ~first.open_n & ~first.contradicted_n
    kept, others = np.flatnonzero(early), np.flatnonzero(~early)
    other_n = first.open_n & (drawn_n >= 0) & (last.standing_n != Standing.DRAWN)
    against = ~first.open_n & (last.standing_n == Standing.DRAWN)
    last = replace(
        last,
        contradicted_n=last.contradicted_n | other_n,
        standing_n=np.where(against, Standing.DRAWN_AGAINST, last.standing_n).astype(np.int8),
    )
    return concat([PartTable(kept, first.take(kept)), PartTable(others, last.take(others))])


def _places(pieces: Sequence[RowSpan]) -> tuple[IntArray, IntArray]:
    """The record and the output position of each row of a chunk."""
    return (
        np.concatenate([np.full(piece.count, piece.record) for piece in pieces]),
        np.concatenate([np.arange(piece.start, piece.start + piece.count) for piece in pieces]),
    )


def _placed(parts: Sequence[PartTable], record_n: IntArray, position_n: IntArray) -> list[PlacedTable]:
    """Tables of some rows of a chunk, from the places of all of its rows."""
    return [PlacedTable(part.table, record_n[part.rows], position_n[part.rows]) for part in parts]


def _learnt(rows: LogitRows, table: CandidateTable) -> bool:
    """True if a chunk's rows learnt more from the replayer."""
    if table.contradicted_n.any() and rows.draw_again():
        return True
    return bool(table.open_n.any()) and rows.deepen(np.flatnonzero(table.open_n))
