"""The canonical encoding of a record, version 1: one byte string for each record, and no other accepted.

    header, one line of canonical JSON (RFC 8785), "\\n", prompt token ids, output token ids (int32, little-endian)

The header holds every field but the token ids, and how many of each there are. Sampling parameters that have their
default are left out, so that a parameter said and a parameter not said are one record; the defaults are part of the
version. The seed is a string, since RFC 8785 numbers are doubles.
"""

from typing import Any

import numpy as np
import rfc8785
from pydantic import ValidationError

from logger.complaint import first_complaint
from logger.record import Record
from logger.strict_json import strict_object
from sampler.errors import WeightwardenError, printable
from sampler.params import SamplingParams

VERSION = 1
MAX_RECORD_BYTES = 16 * 2**20
MAX_HEADER_BYTES = 2**20
TOKEN_DTYPE = np.dtype("<i4")

_HEADER = (
    b'{"choice_index":%d,"engine":%b,"finish_reason":%b,"model":%b,"output_tokens":%d,"prompt_tokens":%d,'
    b'"sampling":%b,"seed":%b,"stop_reason":%b,"version":1}\n'
)
"""Keys in RFC 8785 order."""

_DEFAULTS = SamplingParams().model_dump()


class RecordEncodingError(WeightwardenError, ValueError):
    """Bytes that are not the canonical encoding of a record."""


def encode_record(record: Record) -> bytes:
    """The record's canonical bytes.

    Raises:
        RecordEncodingError: larger than `MAX_RECORD_BYTES`, or its header than `MAX_HEADER_BYTES`.
    """
    header = encode_header(
        choice_index=record.choice_index,
        engine=canonical_json(record.engine.model_dump()),
        finish_reason=canonical_json(record.finish_reason),
        model=canonical_json(record.model),
        output_tokens=len(record.output_token_ids),
        prompt_tokens=len(record.prompt_token_ids),
        sampling=encode_sampling(record.sampling.model_dump()),
        seed=record.seed,
        stop_reason=canonical_json(record.stop_reason),
    )
    data = b"".join((header, token_bytes(record.prompt_token_ids), token_bytes(record.output_token_ids)))
    if len(header) > MAX_HEADER_BYTES or len(data) > MAX_RECORD_BYTES:
        raise RecordEncodingError(
            f"the record has {len(data)} bytes, {len(header)} of them header; at most {MAX_RECORD_BYTES} and"
            f" {MAX_HEADER_BYTES} are logged"
        )
    return data


def encode_header(
    *,
    choice_index: int,
    engine: bytes,
    finish_reason: bytes,
    model: bytes,
    output_tokens: int,
    prompt_tokens: int,
    sampling: bytes,
    seed: int | None,
    stop_reason: bytes,
) -> bytes:
    """The header line; arguments in bytes are canonical JSON already."""
    seed_text = b"null" if seed is None else b'"%d"' % seed
    return _HEADER % (
        *(choice_index, engine, finish_reason, model, output_tokens, prompt_tokens),
        *(sampling, seed_text, stop_reason),
    )


def encode_sampling(sampling: dict[str, Any]) -> bytes:
    """Canonical JSON of sampling parameters (all fields of `SamplingParams`), without those at their default."""
    fields = {name: _plain(value) for name, value in sampling.items() if value != _DEFAULTS[name]}
    return canonical_json(fields)


def canonical_json(value: Any) -> bytes:
    """RFC 8785 JSON.

    Raises:
        RecordEncodingError: the value has no such form (NaN, text that is not Unicode).
    """
    try:
        return rfc8785.dumps(value)
    except (rfc8785.CanonicalizationError, UnicodeEncodeError) as error:
        raise RecordEncodingError(f"no canonical JSON: {printable(str(error))}") from None


def token_bytes(ids: list[int]) -> bytes:
    """Token ids as int32, little-endian."""
    return np.array(ids, TOKEN_DTYPE).tobytes()


def decode_record(data: bytes) -> Record:
    """The record whose canonical bytes these are.

    Raises:
        RecordEncodingError: they are not those of any record.
    """
    if len(data) > MAX_RECORD_BYTES:
        raise RecordEncodingError(f"{len(data)} bytes, more than {MAX_RECORD_BYTES}")
    end = data.find(b"\n", 0, MAX_HEADER_BYTES)
    if end < 0:
        raise RecordEncodingError("no header line")
    try:
        fields = strict_object(data[:end].decode("utf-8"))
        record = Record.model_validate(_record_fields(fields, data[end + 1 :]))
    except ValidationError as error:
        field, what = first_complaint(error)
        raise RecordEncodingError(f"{printable(field)}: {what}" if field else what) from None
    except RecordEncodingError:
        raise
    except ValueError as error:
        raise RecordEncodingError(f"the header is not strict JSON: {printable(str(error))}") from None
    if encode_record(record) != data:
        raise RecordEncodingError("not the canonical form of the record that it holds")
    return record


def _record_fields(header: dict[str, Any], tokens: bytes) -> dict[str, Any]:
    """The record's fields, from its header and the bytes after it."""
    fields = dict(header)
    if fields.pop("version", None) != VERSION:
        raise RecordEncodingError(f"version: not {VERSION}, the only one that is known here")
    counts = [fields.pop("prompt_tokens", None), fields.pop("output_tokens", None)]
    if not all(type(count) is int and count >= 0 for count in counts):
        raise RecordEncodingError("prompt_tokens, output_tokens: not two counts")
    if sum(counts) * TOKEN_DTYPE.itemsize != len(tokens):
        raise RecordEncodingError(f"{sum(counts)} tokens announced, {len(tokens)} bytes of them there")
    ids = np.frombuffer(tokens, TOKEN_DTYPE).tolist()
    seed = fields.get("seed")
    if isinstance(seed, str):
        if not (seed.lstrip("-").isascii() and seed.lstrip("-").isdigit() and len(seed) <= 20):
            raise RecordEncodingError("seed: not a decimal integer")
        fields["seed"] = int(seed)
    elif seed is not None:
        raise RecordEncodingError("seed: not a string")
    return fields | {"prompt_token_ids": ids[: counts[0]], "output_token_ids": ids[counts[0] :]}


def _plain(value: Any) -> Any:
    """A parameter as JSON has it: no negative zero, and text for keys."""
    if isinstance(value, float):
        return value + 0.0
    if isinstance(value, dict):
        return {str(key): item + 0.0 for key, item in value.items()}
    return value
