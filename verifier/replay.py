"""What a replayer promises, and the candidate tables that come out of a replay."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from logger.record import Record
from sampler.types import IntArray
from verifier.candidate_table import CandidateTable, Window
from verifier.draws import DrawBuilder
from verifier.gumbel_candidates import gumbel_candidates
from verifier.inverse_candidates import inverse_cdf_candidates
from verifier.model_identity import ModelIdentity
from verifier.rows import LogitRows
from verifier.types import Piece, Tokenizer


@dataclass(frozen=True)
class ReplayChunk:
    """Raw logits of some output positions, and whose they are."""

    rows: LogitRows
    pieces: list[Piece]


class Replayer(Protocol):
    """A trusted copy of the model that says which logits an honest server would have had.

    `replay` yields every output position of every given record exactly once, each row computed from the record's
    prompt and the claimed output before it (teacher forcing); chunks come in any order. A failure raises; it never
    yields rows that were not computed. Not safe for concurrent use. `implementation` and `dtype` name what computes,
    and stand in policies: a tolerance holds for one pair of server and replayer.
    """

    implementation: str
    dtype: str
    identity: ModelIdentity

    @property
    def tokenizer(self) -> Tokenizer: ...

    def replay(self, records: Sequence[Record]) -> Iterator[ReplayChunk]: ...


@dataclass
class Timing:
    """Seconds spent in the replayer's forward passes, and in reducing and scoring what came out of them."""

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
            indices = [i for i, record in enumerate(records) if record.scheme_name == name]
            builder = DrawBuilder(name, self.replayer.identity, self.replayer.tokenizer)
            group = [records[i] for i in indices]
            chunks = self.replayer.replay(group)
            while True:
                started = time.perf_counter()
                chunk = next(chunks, None)
                received = time.perf_counter()
                self.timing.forward += received - started
                if chunk is None:
                    break
                draws = builder.draws(chunk.rows, chunk.pieces, group)
                reduce = inverse_cdf_candidates if name == "inverse-cdf" else gumbel_candidates
                table = reduce(chunk.rows, draws, self.window)
                self.timing.score += time.perf_counter() - received
                if self.progress is not None:
                    self.progress(len(table))
                yield PlacedTable(
                    table,
                    np.concatenate([np.full(piece.count, indices[piece.record]) for piece in chunk.pieces]),
                    np.concatenate([np.arange(piece.start, piece.start + piece.count) for piece in chunk.pieces]),
                )
