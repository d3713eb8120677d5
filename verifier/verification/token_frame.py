"""Scores and verdicts of every token of a run, as an Arrow table or a Parquet file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Protocol, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from weightwarden.logger.record import Record
from weightwarden.verifier.scoring.token_verdicts import Verdict
from weightwarden.verifier.verification.record_verdict import TokenDetail

if TYPE_CHECKING:
    from weightwarden.verifier.verification.judgement import Judgement

_TYPES: dict[str, pa.DataType] = {
    "record": pa.int64(),
    "position": pa.int64(),
    "token": pa.int64(),
    "margin": pa.float64(),
    "exact": pa.bool_(),
    "logit_rank": pa.int64(),
    "gumbel_rank": pa.int64(),
    "admissible": pa.int64(),
    "verdict": pa.string(),
    "charged_bits": pa.float64(),
    "likelihood": pa.float64(),
    "unsteady": pa.bool_(),
    "outside_grammar": pa.bool_(),
    "forced": pa.bool_(),
    "flagged": pa.bool_(),
}
SCHEMA = pa.schema(_TYPES)
"""Columns of tokens, one row an output token, in the order of the records.

    record: number of the record in the input.
    position: of the token in the output, from 0.
    token: id.
    margin: margin in logits; 0 where the token is the replay's own choice; null outside the support.
    exact: whether the token is the replay's own choice.
    logit_rank: 1 for the largest logit; null for a forced token.
    gumbel_rank: 1 for the largest perturbed logit; null for a forced token.
    admissible: size of the admissible set, this token included.
    verdict: safe, suspicious or dangerous.
    charged_bits: bits that the position could carry unseen.
    likelihood: GM-LS or IPT-LS, nats, larger is more plausible; null in exact replay.
    unsteady: whether rounding errors decide the position. It is charged as scored, and counts as the replay's own
        choice (margin 0, exact, safe).
    outside_grammar: whether the request's grammar excludes the token. It is dangerous, and its logit rank is the
        vocabulary's size plus 1. Later tokens of the record are judged as if there was no grammar.
    forced: whether the sidecar put the token in (`Segment`). It is not replayed: its ranks and likelihood are null.
    flagged: whether the record is flagged.
"""
GROUP_ROWS = 1 << 17
"""Rows of a row group of a Parquet file, about."""
_NAMES = np.array([verdict.name.lower() for verdict in sorted(Verdict)])


@dataclass(frozen=True)
class RecordTokens:
    """The tokens of one record.

    Attributes:
        detail: scores and verdicts.
        output: token ids.
        flagged: whether the record is flagged.
    """

    detail: TokenDetail
    output: Sequence[int]
    flagged: bool

    def __len__(self) -> int:
        """Number of tokens with a verdict."""
        return len(self.detail.margin)


class TokenSink(Protocol):
    """A receiver of the tokens of judged records, in any order. Each place comes once, to `add` or to `skip`."""

    def add(self, places: Sequence[int], records: Sequence[Record], judged: "Judgement") -> None: ...

    def skip(self, place: int) -> None: ...


def token_table(numbers: Sequence[int], records: Sequence[RecordTokens]) -> pa.Table:
    """The tokens of records as a table (`SCHEMA`).

    Args:
        numbers: numbers of the records.
        records: their tokens.
    """
    lengths = [len(record) for record in records]

    def whole(name: str) -> np.ndarray:
        return np.concatenate([getattr(record.detail, name) for record in records]) if records else np.empty(0)

    margin, likelihood = whole("margin"), whole("likelihood_score")
    forced = whole("forced").astype(np.bool_)
    columns = {
        "record": np.repeat(np.array(numbers, np.int64), lengths),
        "position": np.concatenate([np.arange(length) for length in lengths]) if records else [],
        "token": [token for record in records if len(record) for token in record.output],
        "margin": pa.array(margin, pa.float64(), mask=~np.isfinite(margin)),
        "exact": whole("exact").astype(np.bool_),
        "logit_rank": pa.array(whole("logit_rank"), pa.int64(), mask=forced),
        "gumbel_rank": pa.array(whole("gumbel_rank"), pa.int64(), mask=forced),
        "admissible": whole("admissible"),
        "verdict": _NAMES[whole("verdict").astype(np.int64)].tolist(),
        "charged_bits": whole("charged_bits"),
        "likelihood": pa.array(likelihood, pa.float64(), mask=np.isnan(likelihood)),
        "unsteady": whole("unsteady").astype(np.bool_),
        "outside_grammar": whole("outside_grammar").astype(np.bool_),
        "forced": forced,
        "flagged": np.repeat(np.array([record.flagged for record in records], np.bool_), lengths),
    }
    return pa.table({field.name: pa.array(columns[field.name], field.type) for field in SCHEMA}, schema=SCHEMA)


class TokenFrame:
    """The `TokenSink` that keeps all tokens, for `Run.tokens_frame`. Records are numbered by their places."""

    def __init__(self) -> None:
        self._records: dict[int, RecordTokens] = {}

    def add(self, places: Sequence[int], records: Sequence[Record], judged: "Judgement") -> None:
        """Keep the tokens of judged records. Records without a verdict have none."""
        self._records.update(_tokens_of(places, records, judged))

    def skip(self, place: int) -> None:
        """Note that a record has no verdict."""

    def table(self) -> pa.Table:
        """The table (`SCHEMA`)."""
        places = sorted(self._records)
        return token_table(places, [self._records[place] for place in places])


class TokenWriter:
    """The `TokenSink` that writes a Parquet file, in the order of the records, whatever the order of their arrival.

    It holds only records that arrived before an earlier one, and one row group. It is a context, whose end releases the
    file.
    """

    def __init__(self, stream: BinaryIO, numbers: Sequence[int]) -> None:
        """A writer to a file that is open for writing.

        Args:
            stream: the file.
            numbers: number of the record at each place.
        """
        self._file = pq.ParquetWriter(stream, SCHEMA, compression="zstd")
        self._numbers = numbers
        self._ahead: dict[int, RecordTokens | None] = {}
        self._next = self._rows = 0
        self._group: list[tuple[int, RecordTokens]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, places: Sequence[int], records: Sequence[Record], judged: "Judgement") -> None:
        """Write the tokens of judged records. Records without a verdict have none."""
        self._ahead.update(_tokens_of(places, records, judged))
        self._drain()

    def skip(self, place: int) -> None:
        """Note that a record has no verdict."""
        self._ahead[place] = None
        self._drain()

    def finish(self, metadata: Mapping[str, str]) -> None:
        """Finish the file, after the last record.

        Args:
            metadata: entries of the file's metadata.

        Raises:
            ValueError: a record did not arrive.
        """
        if self._ahead or self._next != len(self._numbers):
            raise ValueError(f"the tokens of record {self._next} did not arrive")
        self._flush()
        self._file.add_key_value_metadata(dict(metadata))

    def _drain(self) -> None:
        """Take the records that are next in order."""
        while self._next in self._ahead:
            record = self._ahead.pop(self._next)
            if record is not None and len(record):
                self._group.append((self._numbers[self._next], record))
                self._rows += len(record)
            self._next += 1
            if self._rows >= GROUP_ROWS:
                self._flush()

    def _flush(self) -> None:
        """Write the row group."""
        if self._group:
            self._file.write_table(
                token_table([number for number, _ in self._group], [record for _, record in self._group])
            )
        self._group, self._rows = [], 0


def _tokens_of(places: Sequence[int], records: Sequence[Record], judged: "Judgement") -> dict[int, RecordTokens]:
    """The tokens of judged records by place."""
    return {
        place: RecordTokens(verdict.tokens, record.output_token_ids, verdict.flagged)
        for place, record, verdict in zip(places, records, judged.records, strict=True)
    }
