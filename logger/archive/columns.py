"""Typed columns of an archive, one row a record, and the canonical bytes of each row.

A row's canonical bytes are assembled from the columns without a Python object per token: the request fields (model,
engine, sampling) are encoded once for all rows that share them, and token ids are slices of the column's buffer.
"""

from collections.abc import Iterator, Sequence
from itertools import chain, repeat
from typing import Any, cast

import pyarrow as pa

from weightwarden.errors import WeightwardenError
from weightwarden.logger.formats.canonical import (
    TOKEN_DTYPE,
    RecordEncodingError,
    canonical_json,
    header_template,
    header_values,
)
from weightwarden.logger.record import Grammar, Reasoning, Record
from weightwarden.logger.release import Release
from weightwarden.sampler.params import SamplingParams
from weightwarden.text import printable

_TOKENS = pa.list_(pa.field("element", pa.int32(), nullable=False))
_TEXTS = pa.list_(pa.field("element", pa.string(), nullable=False))
_BIASES = pa.map_(pa.int32(), pa.float64())


def _field(name: str, kind: pa.DataType, *, nullable: bool = False) -> "pa.Field[Any]":
    return pa.field(name, kind, nullable=nullable)


_SAMPLING = (
    *(_field(name, pa.float64()) for name in ("temperature", "top_p", "min_p")),
    *(_field(f"{name}_penalty", pa.float64()) for name in ("repetition", "presence", "frequency")),
    _field("top_k", pa.int32()),
    _field("min_tokens", pa.int32()),
    _field("max_tokens", pa.int32(), nullable=True),
    _field("n", pa.int32(), nullable=True),
    *(_field(name, pa.bool_()) for name in ("ignore_eos", "include_stop_str_in_output")),
    *(_field(name, pa.bool_()) for name in ("skip_special_tokens", "spaces_between_special_tokens")),
    _field("stop", _TEXTS),
    _field("bad_words", _TEXTS),
    _field("stop_token_ids", _TOKENS),
    _field("allowed_token_ids", _TOKENS, nullable=True),
    _field("logit_bias", _BIASES),
)
"""Sampling parameters, by the names of `SamplingParams`."""

_WHO = tuple(_field(name, pa.string()) for name in ("model", "engine_name", "engine_version", "engine_sampler"))
_ANSWER = (
    _field("seed", pa.int64(), nullable=True),
    _field("choice_index", pa.int32()),
    _field("finish_reason", pa.string()),
    _field("stop_reason_token_id", pa.int32(), nullable=True),
    _field("stop_reason_text", pa.string(), nullable=True),
    _field("prompt_token_ids", _TOKENS),
    _field("output_token_ids", _TOKENS),
)
_GRAMMAR = tuple(
    _field(f"grammar_{name}", pa.string(), nullable=True) for name in ("kind", "text", "backend", "version")
)
_REASONING = (
    _field("reasoning_start", pa.string(), nullable=True),
    _field("reasoning_end", pa.string(), nullable=True),
    _field("reasoning_stops_inside", pa.bool_(), nullable=True),
    _field("reasoning_budget", pa.int32(), nullable=True),
    _field("reasoning_forced_end", pa.string(), nullable=True),
)
_SEGMENTS = _field("segment_tokens", _TOKENS, nullable=True)
"""Tokens of each segment, sampled and forced ones in turn."""
_CONSTRAINTS = (*_GRAMMAR, *_REASONING, _SEGMENTS)
_RELEASE = (
    *(_field(f"release_{name}", pa.int32(), nullable=True) for name in ("tokens", "milliseconds", "start_slot")),
    _field("release_streamed", pa.bool_(), nullable=True),
    _field("release_underruns", _TOKENS, nullable=True),
)
"""The pace, and the moments at which the answer left; the pairs of the underruns one after another."""
_FLEET = (
    *(_field(name, pa.string(), nullable=True) for name in ("engine_profile", "adapter_name", "adapter_digest")),
    _field("replica", pa.string(), nullable=True),
    _field("logprobs_top", pa.int32(), nullable=True),
    _field("logprobs_prompt", pa.bool_(), nullable=True),
)
"""What answered beside the model, and the log probabilities that were added to the answer."""
SCHEMA_1 = pa.schema([_field("index", pa.int64()), *_WHO, *_SAMPLING, *_ANSWER])
"""The columns of archives whose records all have version 1, written before 0.2."""
SCHEMA = pa.schema([*SCHEMA_1, *_CONSTRAINTS, *_RELEASE, *_FLEET])
"""The columns of archives. Those after the ones of `SCHEMA_1` are null in a record of version 1."""
SCHEMAS = (SCHEMA, SCHEMA_1)
OUTPUT_TOKENS = "output_token_ids"
TOKEN_COLUMNS = ("prompt_token_ids", OUTPUT_TOKENS)
_REQUEST = (
    *(field.name for field in _WHO),
    "finish_reason",
    *(field.name for field in (*_SAMPLING, *_CONSTRAINTS, *_FLEET)),
)
_TEMPLATES, _TEMPLATE_BYTES = 4096, 4096
"""Number of cached templates, and largest size of one."""


class ArchiveContentError(WeightwardenError, ValueError):
    """Rows of an archive that are no records."""


def to_batch(start: int, records: Sequence[Record]) -> pa.RecordBatch:
    """Records as one batch of `SCHEMA`. The first has index `start` in the log."""
    sampling = [record.sampling for record in records]
    reasons = [record.stop_reason for record in records]
    columns: dict[str, Sequence[Any]] = {
        "index": range(start, start + len(records)),
        "model": [record.model for record in records],
        **{f"engine_{name}": [getattr(r.engine, name) for r in records] for name in ("name", "version", "sampler")},
        **{field.name: [getattr(one, field.name) for one in sampling] for field in _SAMPLING},
        "logit_bias": [sorted(one.logit_bias.items()) for one in sampling],
        "seed": [record.seed for record in records],
        "choice_index": [record.choice_index for record in records],
        "finish_reason": [record.finish_reason for record in records],
        "stop_reason_token_id": [reason if isinstance(reason, int) else None for reason in reasons],
        "stop_reason_text": [reason if isinstance(reason, str) else None for reason in reasons],
        "prompt_token_ids": [record.prompt_token_ids for record in records],
        "output_token_ids": [record.output_token_ids for record in records],
        **{field.name: [_part(r.grammar, field.name, "grammar_") for r in records] for field in _GRAMMAR},
        **{field.name: [_part(r.reasoning, field.name, "reasoning_") for r in records] for field in _REASONING},
        _SEGMENTS.name: [r.segments and [segment.tokens for segment in r.segments] for r in records],
        **_release_columns([record.release for record in records]),
        "engine_profile": [record.engine.profile for record in records],
        "replica": [record.replica for record in records],
        **{f"adapter_{name}": [r.adapter and getattr(r.adapter, name) for r in records] for name in ("name", "digest")},
        "logprobs_top": [None if r.logprobs is None else r.logprobs.top for r in records],
        "logprobs_prompt": [None if r.logprobs is None else r.logprobs.prompt for r in records],
    }
    return pa.RecordBatch.from_arrays([pa.array(columns[f.name], f.type) for f in SCHEMA], schema=SCHEMA)


class RowEncoder:
    """Encoder of rows as canonical bytes, for one archive after another."""

    def __init__(self) -> None:
        self._templates: dict[tuple[Any, ...], bytes] = {}

    def encode(self, batch: pa.RecordBatch, start: int) -> Iterator[bytes]:
        """The canonical bytes of each row. The first row must have index `start`.

        Raises:
            ArchiveContentError: a forbidden null, an index that does not follow, or a value that no record has.
        """
        _check_indices_and_nulls(batch, start)
        prompts, prompt_at = _token_buffer(batch, "prompt_token_ids")
        outputs, output_at = _token_buffer(batch, "output_token_ids")
        rows = zip(
            zip(*(_values(batch, name) for name in _REQUEST), strict=True),
            _values(batch, "seed"),
            _values(batch, "choice_index"),
            _values(batch, "stop_reason_token_id"),
            _values(batch, "stop_reason_text"),
            zip(*(_values(batch, field.name) for field in _RELEASE), strict=True),
            strict=True,
        )
        try:
            for at, (request, seed, choice, stop_token, stop_text, released) in enumerate(rows):
                release = _release(released)
                key = (*request, bool(release))
                template = self._templates.get(key) or self._template(key)
                p0, p1, o0, o1 = prompt_at[at], prompt_at[at + 1], output_at[at], output_at[at + 1]
                reason = b"null" if stop_token is stop_text else _stop_reason(stop_token, stop_text)
                header = template % header_values(choice, (o1 - o0) // 4, (p1 - p0) // 4, seed, reason, release)
                yield b"".join((header, prompts[p0:p1], outputs[o0:o1]))
        except RecordEncodingError as error:
            raise ArchiveContentError(f"record {start + at}: {error}") from None

    def _template(self, key: tuple[Any, ...]) -> bytes:
        """The header template of a request, followed by whether its records have a release."""
        *request, released = key
        fields = dict(zip(_REQUEST, request, strict=True))
        sampling = {field.name: fields[field.name] for field in _SAMPLING}
        for name in ("stop", "bad_words", "stop_token_ids", "allowed_token_ids"):
            sampling[name] = None if sampling[name] is None else list(sampling[name])
        sampling["logit_bias"] = dict(sampling["logit_bias"])
        parts = ("name", "version", "sampler", "profile")
        engine = {name: fields[f"engine_{name}"] for name in parts if fields[f"engine_{name}"] is not None}
        template = header_template(
            engine, fields["finish_reason"], fields["model"], sampling, _additions(fields), released=released
        )
        if len(template) <= _TEMPLATE_BYTES:
            if len(self._templates) >= _TEMPLATES:
                self._templates.clear()
            self._templates[key] = template
        return template


def _part(whole: Grammar | Reasoning | None, column: str, prefix: str) -> Any:
    """A column's value of an optional part of a record."""
    return None if whole is None else getattr(whole, column.removeprefix(prefix))


def _release_columns(releases: list[Release | None]) -> dict[str, list[Any]]:
    """The columns of the records' releases."""
    return {
        "release_tokens": [one and one.pace.tokens for one in releases],
        "release_milliseconds": [one and one.pace.milliseconds for one in releases],
        "release_start_slot": [None if one is None else one.start_slot for one in releases],
        "release_streamed": [None if one is None else one.streamed for one in releases],
        "release_underruns": [None if one is None else list(chain(*one.underruns)) for one in releases],
    }


def _release(row: tuple[Any, ...]) -> bytes:
    """The canonical JSON of a row's release; empty if it has none."""
    tokens, milliseconds, start_slot, streamed, underruns = row
    if all(value is None for value in row):
        return b""
    if tokens is None or milliseconds is None or streamed is None or underruns is None or len(underruns) % 2:
        raise RecordEncodingError("release: a part is missing")
    pairs = list(zip(underruns[::2], underruns[1::2], strict=True))
    pace = {"milliseconds": milliseconds, "tokens": tokens}
    return canonical_json({"pace": pace, "start_slot": start_slot, "streamed": streamed, "underruns": pairs})


def _additions(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields of version 2 in a row, in the form of `additions_of`."""
    found: dict[str, Any] = {}
    for whole, names in (("adapter", ("name", "digest")), ("logprobs", ("top", "prompt"))):
        found_parts = {part: fields[f"{whole}_{part}"] for part in names}
        if any(value is not None for value in found_parts.values()):
            found[whole] = found_parts
    if fields["replica"] is not None:
        found["replica"] = fields["replica"]
    if any(fields[field.name] is not None for field in _GRAMMAR):
        found["grammar"] = {field.name.removeprefix("grammar_"): fields[field.name] for field in _GRAMMAR}
    if any(fields[field.name] is not None for field in _REASONING):
        parts = {field.name.removeprefix("reasoning_"): fields[field.name] for field in _REASONING}
        markers = ("start", "end")
        found["reasoning"] = {name: value for name, value in parts.items() if name in markers or value}
    if fields[_SEGMENTS.name] is not None:
        kinds = ("sampled", "forced")
        found["segments"] = [
            {"kind": kinds[at % 2], "tokens": tokens} for at, tokens in enumerate(fields[_SEGMENTS.name])
        ]
    return found


assert {field.name for field in _SAMPLING} == set(SamplingParams.model_fields)  # a new parameter needs a column


def _check_indices_and_nulls(batch: pa.RecordBatch, start: int) -> None:
    if batch.schema not in SCHEMAS:
        raise ArchiveContentError(schema_difference(batch.schema))
    batch.validate(full=True)
    for field in batch.schema:
        column = batch.column(field.name)
        inner = column.items if isinstance(column, pa.MapArray) else getattr(column, "values", None)
        if (column.null_count and not field.nullable) or (inner is not None and inner.null_count):
            raise ArchiveContentError(f"column {field.name} holds a null")
    indices = batch.column("index").to_numpy()
    if len(indices) and not (indices == range(start, start + len(indices))).all():
        raise ArchiveContentError(f"column index does not count from {start}")


def schema_difference(schema: pa.Schema) -> str:
    """The first difference between a file's columns and an archive's, as a message."""
    names, known = schema.names, SCHEMA.names
    if unknown := [name for name in names if name not in known]:
        return f"column {printable(unknown[0])} is not known here: a later version wrote it, or it is no archive"
    if missing := [name for name in known if name not in names]:
        return f"column {missing[0]} is missing"
    if wrong := [field.name for field in SCHEMA if not schema.field(field.name).equals(field)]:
        return f"column {wrong[0]} has type {printable(str(schema.field(wrong[0]).type))}"
    return "its columns are in another order"


def _stop_reason(token: int | None, text: str | None) -> bytes:
    if token is not None and text is not None:
        raise RecordEncodingError("stop_reason: a token id and a text at once")
    return canonical_json(text if token is None else token)


def _token_buffer(batch: pa.RecordBatch, name: str) -> tuple[memoryview, list[int]]:
    """All token ids of a column as bytes (int32, little-endian), and the byte offsets of the rows' ends."""
    column = cast("pa.ListArray[Any]", batch.column(name))
    tokens = column.values.to_numpy().astype(TOKEN_DTYPE, copy=False)
    return memoryview(tokens.tobytes()), (column.offsets.to_numpy() * TOKEN_DTYPE.itemsize).tolist()


def _values(batch: pa.RecordBatch, name: str) -> "Sequence[Any] | repeat[Any]":
    """A column as hashable Python values; nulls for a column that an older archive lacks."""
    if name not in batch.schema.names:
        return repeat(None, len(batch))
    column = batch.column(name)
    if column.null_count == len(column):
        return repeat(None, len(column))
    if isinstance(column, pa.ListArray):  # includes maps
        if column.null_count == 0 and len(column.values) == 0:
            return repeat((), len(column))
        return [None if value is None else tuple(value) for value in column.to_pylist()]
    if pa.types.is_primitive(column.type) and column.null_count == 0:
        return column.to_numpy(zero_copy_only=False).tolist()  # type: ignore[no-any-return]
    return column.to_pylist()
