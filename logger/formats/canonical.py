"""The canonical encoding of a record, versions 1 and 2: exactly one accepted byte string for each record.

    header, one line of canonical JSON (RFC 8785), "\\n", prompt token ids, output token ids (int32, little-endian)

The header holds every field but the token ids, and the number of ids of each list. Sampling parameters with their
default value are omitted, so that a parameter set to its default and an absent one make the same record. The defaults
are part of the version. The seed is a string, since RFC 8785 numbers are doubles. A record with a grammar, reasoning,
segments, a release, an engine profile, an adapter, a replica or log probabilities has version 2; all others have
version 1, which lacks these fields.
"""

import struct
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import rfc8785
from pydantic import ValidationError

from weightwarden.errors import WeightwardenError
from weightwarden.logger.formats.strict_json import strict_object
from weightwarden.logger.record import Record
from weightwarden.sampler.params import SamplingParams
from weightwarden.sampler.validation_message import field_and_fault
from weightwarden.text import printable

VERSIONS = (1, 2)
MAX_RECORD_BYTES = 16 * 2**20
MAX_HEADER_BYTES = 2**20
TOKEN_DTYPE = np.dtype("<i4")

_DEFAULTS = SamplingParams().model_dump()


class RecordEncodingError(WeightwardenError, ValueError):
    """Bytes that are not the canonical encoding of a record, or a record that cannot be encoded."""


def encode_record(record: Record) -> bytes:
    """The record's canonical bytes.

    Raises:
        RecordEncodingError: the record is larger than `MAX_RECORD_BYTES`, or its header than `MAX_HEADER_BYTES`.
    """
    template = header_template(
        record.engine.model_dump(exclude_none=True),
        record.finish_reason,
        record.model,
        record.sampling.model_dump(),
        additions_of(record),
        released=record.release is not None,
    )
    header = template % header_values(
        record.choice_index,
        len(record.output_token_ids),
        len(record.prompt_token_ids),
        record.seed,
        canonical_json(record.stop_reason),
        b"" if record.release is None else canonical_json(record.release.model_dump()),
    )
    data = b"".join((header, token_bytes(record.prompt_token_ids), token_bytes(record.output_token_ids)))
    if len(header) > MAX_HEADER_BYTES or len(data) > MAX_RECORD_BYTES:
        raise RecordEncodingError(
            f"the record has {len(data)} bytes, {len(header)} of them header; at most {MAX_RECORD_BYTES} and"
            f" {MAX_HEADER_BYTES} are logged"
        )
    return data


def additions_of(record: Record) -> dict[str, Any]:
    """The fields of version 2 that a record has, but for its release, which few records share."""
    fields: dict[str, Any] = {}
    for name in ("adapter", "grammar", "logprobs"):
        if (part := getattr(record, name)) is not None:
            fields[name] = part.model_dump()
    if record.replica is not None:
        fields["replica"] = record.replica
    if record.reasoning is not None:
        fields["reasoning"] = record.reasoning.model_dump(exclude_defaults=True)
    if record.segments is not None:
        fields["segments"] = [segment.model_dump() for segment in record.segments]
    return fields


def header_template(
    engine: dict[str, str],
    finish_reason: str,
    model: str,
    sampling: dict[str, Any],
    additions: Mapping[str, Any] = MappingProxyType({}),
    *,
    released: bool = False,
) -> bytes:
    """The header line shared by all records with the same request. `%` with `header_values` fills in the rest.

    Args:
        engine: name, version and sampling scheme, and the digest of a profile.
        finish_reason: finish reason.
        model: the model's name.
        sampling: all fields of `SamplingParams`; those with their default value are omitted.
        additions: the fields of version 2 that the records have (`additions_of`).
        released: whether the records have a release.
    """
    said = {name: _plain(value) for name, value in sampling.items() if value != _DEFAULTS[name]}

    def field(name: bytes, value: Any) -> bytes:
        return b',"' + name + b'":' + canonical_json(value).replace(b"%", b"%%")

    def addition(name: str) -> bytes:
        return field(name.encode(), additions[name]) if name in additions else b""

    second = bool(additions) or released or "profile" in engine
    adapter = addition("adapter")
    return b"".join(
        (
            *(b"{", adapter[1:], b"," if adapter else b"", b'"choice_index":%d', field(b"engine", engine)),
            *(
                field(b"finish_reason", finish_reason),
                addition("grammar"),
                addition("logprobs"),
                field(b"model", model),
            ),
            *(b',"output_tokens":%d,"prompt_tokens":%d', addition("reasoning")),
            *(b',"release":%b' if released else b"%b", addition("replica"), field(b"sampling", said)),
            *(b',"seed":%b', addition("segments"), b',"stop_reason":%b'),
            b',"version":2}\n' if second else b',"version":1}\n',
        )
    )


def header_values(
    choice_index: int,
    output_tokens: int,
    prompt_tokens: int,
    seed: int | None,
    stop_reason: bytes,
    release: bytes = b"",
) -> tuple[int, int, int, bytes, bytes, bytes]:
    """The values for a header template.

    Args:
        choice_index: index of the choice.
        output_tokens: number of output tokens.
        prompt_tokens: number of prompt tokens.
        seed: seed of the request.
        stop_reason: canonical JSON of the stop reason.
        release: canonical JSON of the release; empty for records without.
    """
    said_seed = b"null" if seed is None else b'"%d"' % seed
    return choice_index, output_tokens, prompt_tokens, release, said_seed, stop_reason


def canonical_json(value: Any) -> bytes:
    """RFC 8785 JSON.

    Raises:
        RecordEncodingError: the value has no canonical form (NaN, text that is not Unicode).
    """
    try:
        return rfc8785.dumps(value)
    except (rfc8785.CanonicalizationError, UnicodeEncodeError) as error:
        raise RecordEncodingError(f"no canonical JSON: {printable(str(error))}") from None


def token_bytes(ids: list[int]) -> bytes:
    """Token ids as int32, little-endian."""
    return struct.pack(f"<{len(ids)}i", *ids)


def decode_record(data: bytes) -> Record:
    """The record with these canonical bytes.

    Raises:
        RecordEncodingError: the bytes are not canonical bytes of any record.
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
        field, what = field_and_fault(error)
        raise RecordEncodingError(f"{printable(field)}: {what}" if field else what) from None
    except RecordEncodingError:
        raise
    except ValueError as error:
        raise RecordEncodingError(f"the header is not strict JSON: {printable(str(error))}") from None
    if encode_record(record) != data:
        raise RecordEncodingError("not the canonical form of the record that it holds")
    return record


def count_tokens(data: bytes) -> tuple[int, int]:
    """The numbers of prompt and output tokens that the header of canonical bytes states. What follows may be cut off.

    Raises:
        RecordEncodingError: there is no header.
    """
    end = data.find(b"\n", 0, MAX_HEADER_BYTES)
    if end < 0:
        raise RecordEncodingError("no header line")
    try:
        fields = strict_object(data[:end].decode("utf-8"))
    except ValueError as error:
        raise RecordEncodingError(f"the header is not strict JSON: {printable(str(error))}") from None
    return _taken_counts(fields)


def _taken_counts(fields: dict[str, Any]) -> tuple[int, int]:
    """The numbers of prompt and output tokens, which are removed from a header's fields with its version."""
    version = fields.pop("version", None)
    if type(version) is int and version > max(VERSIONS):
        raise RecordEncodingError(f"version: {version}, written by a later version of weightwarden: upgrade")
    if type(version) is not int or version not in VERSIONS:
        raise RecordEncodingError("version: neither 1 nor 2, the ones that are known here")
    prompt, output = fields.pop("prompt_tokens", None), fields.pop("output_tokens", None)
    if type(prompt) is not int or type(output) is not int or min(prompt, output) < 0:
        raise RecordEncodingError("prompt_tokens, output_tokens: not two counts")
    return prompt, output


def _record_fields(header: dict[str, Any], tokens: bytes) -> dict[str, Any]:
    """The record's fields, from its header and the bytes after it."""
    fields = dict(header)
    counts = _taken_counts(fields)
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
    """A parameter in the form of JSON: no negative zero, and text for keys."""
    if isinstance(value, float):
        return value + 0.0
    if isinstance(value, dict):
        return {str(key): item + 0.0 for key, item in value.items()}
    return value
