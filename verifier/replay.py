"""What a replayer promises, and the candidate tables that come out of a replay."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

import numpy as np

from logger.record import Record
from sampler.types import IntArray
from verifier.candidate_table import CandidateTable, Draws, Window
from verifier.draws import DrawBuilder
from verifier.gumbel_candidates import gumbel_candidates
from verifier.inverse_candidates import inverse_cdf_candidates
from verifier.model_identity import ModelIdentity
from verifier.policy_base import KnownAnswer
from verifier.rows import LogitRows
from verifier.threads import in_threads
from verifier.types import Piece, Tokenizer

Reduce = Callable[[LogitRows, Draws, Window], CandidateTable]
Reduced = tuple[list[Piece], CandidateTable, float, float]


@dataclass(frozen=True)
class ReplayChunk:
    """Raw logits of some output positions, and whose they are."""

    rows: LogitRows
    pieces: list[Piece]


class ReplayFacts(Protocol):
    """What replays: `implementation` and `dtype` name what computes, and stand in policies: a tolerance holds for one
    pair of server and replayer. `device` is where, for reports.
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
    """A trusted copy of the model that says which logits an honest server would have had.

    `batches` says which records are replayed together, and every record is in exactly one batch. `replay` yields every
    output position of a batch's records exactly once, each row computed from the record's prompt and the claimed output
    before it (teacher forcing); chunks come in any order. A failure raises; it never yields rows that were not
    computed. `replay` may be called for `concurrency` batches at once, on threads of their own. `unit_tokens` is
    how many tokens, prompts included, records have together that keep it busy (`work_units`).
    `known_answer` is what tells this replayer's model and build from another's where its name cannot, else None.
    `close` ends what is under way and frees what is held.
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


@dataclass
class Timing:
    """Seconds spent waiting for the replayer, and reducing and scoring what came out; summed over threads."""

    forward: float = 0.0
    score: float = 0.0

    @classmethod
    def joined(cls, parts: "Sequence[Timing]") -> "Timing":
        """All of them together."""
        return cls(sum(part.forward for part in parts), sum(part.score for part in parts))


@dataclass(frozen=True)
class PlacedTable:
    """A candidate table, and the (record, output position) of each of its rows."""

    table: CandidateTable
    record_n: IntArray
    position_n: IntArray


@dataclass
class Replay:
    """Replay records and keep what scoring needs, one candidate table a chunk.

    Attributes:
        progress: called with the number of output tokens just replayed.
    """

    replayer: Replayer
    window: Window
    progress: Callable[[int], None] | None = None
    timing: Timing = field(default_factory=Timing)

    def tables(self, records: Sequence[Record]) -> Iterator[PlacedTable]:
        """Candidate tables that cover every output position of the records once.

        Records of different schemes are replayed apart, so that each chunk is drawn by one scheme.
        """
        for name in sorted({record.scheme_name for record in records}):
            indices = np.array([i for i, record in enumerate(records) if record.scheme_name == name])
            group = [records[i] for i in indices]
            builder = DrawBuilder(name, self.replayer.identity, self.replayer.tokenizer)
            reduce = inverse_cdf_candidates if name == "inverse-cdf" else gumbel_candidates
            work = partial(self._reduced, group=group, builder=builder, reduce=reduce)
            for reduced in in_threads(work, self.replayer.batches(group), self.replayer.concurrency):
                for chunk, table, forward, score in reduced:
                    self.timing.forward += forward
                    self.timing.score += score
                    if self.progress is not None:
                        self.progress(len(table))
                    yield PlacedTable(
                        table,
                        np.concatenate([np.full(piece.count, indices[piece.record]) for piece in chunk]),
                        np.concatenate([np.arange(piece.start, piece.start + piece.count) for piece in chunk]),
                    )

    def _reduced(
        self, batch: list[int], group: Sequence[Record], builder: DrawBuilder, reduce: Reduce
    ) -> list[Reduced]:
        """A batch's tables, each with its pieces and the seconds of waiting and of reducing.

        1. Draw: noise, filters and adjustments of the chunk's positions.
        2. Reduce the rows to candidates.
        3. While the rows contradict the claim, or something unseen could matter, and more can be learnt: ask, and
           reduce again.
        """
        reduced: list[Reduced] = []
        started = time.perf_counter()
        for chunk in self.replayer.replay(batch, group):
            received = time.perf_counter()
            waited = received - started
            draws = builder.draws(chunk.rows, chunk.pieces, group)  # 1
            table = reduce(chunk.rows, draws, self.window)  # 2
            while True:  # 3
                asked = time.perf_counter()
                learnt = _learnt(chunk.rows, table)
                waited += time.perf_counter() - asked
                if not learnt:
                    break
                table = reduce(chunk.rows, draws, self.window)
            ended = time.perf_counter()
            reduced.append((chunk.pieces, table, waited, ended - started - waited))
            started = time.perf_counter()
        return reduced


def _learnt(rows: LogitRows, table: CandidateTable) -> bool:
    """Whether asking further made a chunk's rows say more."""
    if table.contradicted_n.any() and rows.draw_again():
        return True
    return bool(table.open_n.any()) and rows.deepen(np.flatnonzero(table.open_n))
