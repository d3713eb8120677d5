import json
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.places import DATA
from weightwarden.logger.archive.columns import RowEncoder, to_batch
from weightwarden.logger.formats.canonical import (
    MAX_HEADER_BYTES,
    MAX_RECORD_BYTES,
    RecordEncodingError,
    decode_record,
    encode_record,
)
from weightwarden.logger.formats.traffic_file import read_traffic
from weightwarden.logger.record import Record
from weightwarden.logger.release import SLOTS
from weightwarden.sampler.params import SamplingParams
from weightwarden.sampler.validation_message import field_and_fault

RECORDS = [p.record for path in sorted(DATA.glob("*.jsonl")) for p in read_traffic(path)]
DEFAULTS_OF_VERSION_1: dict[str, Any] = {
    "temperature": 1.0,
    "top_p": 1.0,
    "top_k": 0,
    "min_p": 0.0,
    "repetition_penalty": 1.0,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
    "min_tokens": 0,
    "max_tokens": None,
    "n": None,
    "stop": [],
    "stop_token_ids": [],
    "ignore_eos": False,
    "logit_bias": {},
    "allowed_token_ids": None,
    "bad_words": [],
    "include_stop_str_in_output": False,
    "skip_special_tokens": True,
    "spaces_between_special_tokens": True,
}

TOKENS = st.integers(0, 2**31 - 1)
FLOATS = st.floats(-1e9, 1e9)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6)
SAMPLING = st.fixed_dictionaries(
    {},
    optional={
        "temperature": st.floats(0, 100),
        "top_p": st.floats(0, 1, exclude_min=True),
        "top_k": st.integers(-1, 2**31 - 1),
        "presence_penalty": st.floats(-2, 2),
        "n": st.integers(1, 5),
        "stop": st.lists(TEXT, max_size=2),
        "stop_token_ids": st.lists(TOKENS, max_size=2),
        "ignore_eos": st.booleans(),
        "logit_bias": st.dictionaries(TOKENS, FLOATS, max_size=3),
        "allowed_token_ids": st.lists(TOKENS, min_size=1, max_size=3),
        "bad_words": st.lists(TEXT, max_size=2),
    },
)


GRAMMARS = st.fixed_dictionaries(
    {"kind": st.sampled_from(["json", "regex", "choice", "grammar"]), "text": TEXT, "version": TEXT},
).map(lambda fields: fields | {"backend": "guidance"})


@st.composite
def releases(draw: st.DrawFn) -> dict[str, Any]:
    """Releases of answers of at least one token."""
    start_slot = draw(st.none() | st.integers(0, SLOTS - 1))
    streamed = draw(st.booleans())
    misses = streamed and start_slot is not None and draw(st.booleans())
    return {
        "pace": {"tokens": 1, "milliseconds": draw(st.integers(1, 60_000))},
        "streamed": streamed,
        "start_slot": start_slot,
        "underruns": [[1, draw(st.integers(1, 99))]] if misses else [],
    }


@st.composite
def released(draw: st.DrawFn) -> Record:
    """A record with a release, and perhaps with constraints."""
    record = draw(records() | constrained()).model_dump()
    ids = [*record["output_token_ids"], 1, 1][: max(2, len(record["output_token_ids"]))]
    if record["segments"] is not None:
        ids = record["output_token_ids"]
    return Record.model_validate(record | {"output_token_ids": ids, "release": draw(releases())})


DIGESTS = st.integers(0, 2**256 - 1).map(lambda value: f"sha256:{value:064x}")
ADAPTERS = st.fixed_dictionaries({"name": TEXT, "digest": DIGESTS})
LOGPROBS = st.fixed_dictionaries({"top": st.integers(0, 20), "prompt": st.booleans()})


@st.composite
def of_fleet(draw: st.DrawFn) -> Record:
    """A record that names a profile, an adapter, a replica or log probabilities, and perhaps more of version 2."""
    record = draw(records() | constrained() | released()).model_dump()
    parts = ("profile", "adapter", "replica", "logprobs")
    named = draw(st.lists(st.sampled_from(parts), min_size=1, unique=True))
    if "profile" in named:
        record["engine"] |= {"profile": draw(DIGESTS)}
    drawn = {"adapter": ADAPTERS, "replica": TEXT, "logprobs": LOGPROBS}
    return Record.model_validate(record | {name: draw(drawn[name]) for name in drawn if name in named})


@st.composite
def constrained(draw: st.DrawFn) -> Record:
    """A record of version 2: with a grammar, with reasoning, or with a forced end of it."""
    record = draw(records()).model_dump()
    kind = draw(st.sampled_from(["grammar", "reasoning", "budget"]))
    if kind == "grammar":
        record["sampling"] |= {"min_tokens": 0, "ignore_eos": False, "allowed_token_ids": None, "bad_words": []}
        return Record.model_validate(record | {"grammar": draw(GRAMMARS)})
    end = draw(TEXT)
    reasoning = {"start": draw(st.just("") | TEXT), "end": end, "stops_inside": draw(st.booleans())}
    if kind == "budget":
        sampled, forced, rest = (draw(st.integers(low, 3)) for low in (1, 1, 0))
        ids = draw(st.lists(TOKENS, min_size=sampled + forced + rest, max_size=sampled + forced + rest))
        reasoning |= {"budget": sampled, "forced_end": draw(st.just("") | TEXT) + end}
        segments = [("sampled", sampled), ("forced", forced), ("sampled", rest)]
        record |= {
            "output_token_ids": ids,
            "segments": [{"kind": name, "tokens": tokens} for name, tokens in segments if tokens],
        }
        record["sampling"] |= {"max_tokens": 100}
    return Record.model_validate(record | {"reasoning": reasoning})


@st.composite
def records(draw: st.DrawFn) -> Record:
    return Record.model_validate(
        {
            "engine": {"name": draw(TEXT), "version": draw(TEXT), "sampler": "vllm-cpu"},
            "model": draw(TEXT),
            "prompt_token_ids": draw(st.lists(TOKENS, min_size=1, max_size=4)),
            "output_token_ids": draw(st.lists(TOKENS, min_size=1, max_size=4)),
            "seed": draw(st.integers(-(2**62), 2**62)),
            "choice_index": 0,
            "sampling": draw(SAMPLING),
            "finish_reason": draw(st.sampled_from(["stop", "length", "abort"])),
            "stop_reason": draw(st.none() | TOKENS | TEXT),
        }
    )


def parts(data: bytes) -> tuple[dict[str, Any], bytes]:
    header, _, tokens = data.partition(b"\n")
    return json.loads(header), tokens


def joined(header: dict[str, Any], tokens: bytes) -> bytes:
    return json.dumps(header, separators=(",", ":"), sort_keys=True).encode() + b"\n" + tokens


GREEDY = next(r for r in RECORDS if r.sampling.is_greedy)


def test_the_bytes_are_a_line_of_sorted_json_and_little_endian_token_ids() -> None:
    header, tokens = parts(encode_record(GREEDY))
    ids = [*GREEDY.prompt_token_ids, *GREEDY.output_token_ids]
    assert tokens == struct.pack(f"<{len(ids)}i", *ids)
    assert (header["prompt_tokens"], header["output_tokens"]) == (
        len(GREEDY.prompt_token_ids),
        len(GREEDY.output_token_ids),
    )
    assert header["seed"] == str(GREEDY.seed)
    assert header["version"] == 1
    assert encode_record(GREEDY).split(b"\n")[0] == json.dumps(header, separators=(",", ":"), sort_keys=True).encode()


@given(constrained() | released() | of_fleet())
def test_a_record_with_a_field_of_version_2_is_of_version_2_in_a_file_and_in_an_archive(record: Record) -> None:
    data = encode_record(record)
    assert parts(data)[0]["version"] == 2
    assert decode_record(data) == record
    assert list(RowEncoder().encode(to_batch(7, [record, GREEDY]), 7)) == [data, encode_record(GREEDY)]


@pytest.mark.parametrize(
    ("release", "field"),
    [
        ({"start_slot": SLOTS}, "release.start_slot"),
        ({"start_slot": None, "underruns": [[1, 1]]}, "release.underruns"),
        ({"streamed": False, "underruns": [[1, 1]]}, "release.underruns"),
        ({"underruns": [[2, 1], [1, 1]]}, "release.underruns"),
        ({"underruns": [[0, 1]]}, "release.underruns"),
        ({"underruns": [[1, 0]]}, "release.underruns"),
        ({"underruns": [[999, 1]]}, "release.underruns"),
        ({"pace": {"tokens": 0, "milliseconds": 1}}, "release.pace.tokens"),
    ],
)
def test_a_release_that_cannot_have_been_is_refused(release: dict[str, Any], field: str) -> None:
    whole = {"pace": {"tokens": 8, "milliseconds": 200}, "streamed": True, "start_slot": 3, "underruns": []}
    with pytest.raises(ValidationError) as error:
        Record.model_validate(GREEDY.model_dump() | {"release": whole | release})
    assert str(field_and_fault(error.value)[0]).startswith(field)


def test_recorded_traffic_comes_back_equal() -> None:
    assert [decode_record(encode_record(record)) for record in RECORDS] == RECORDS


@given(records())
def test_any_record_comes_back_equal(record: Record) -> None:
    assert decode_record(encode_record(record)) == record


@given(records(), st.data())
def test_a_changed_byte_is_refused_or_another_record(record: Record, data: st.DataObject) -> None:
    encoded = bytearray(encode_record(record))
    at = data.draw(st.integers(0, len(encoded) - 1))
    encoded[at] ^= data.draw(st.integers(1, 255))
    try:
        decoded = decode_record(bytes(encoded))
    except RecordEncodingError:
        return
    assert decoded != record
    assert encode_record(decoded) == encoded


@given(st.binary(max_size=200) | st.binary(max_size=60).map(lambda tail: encode_record(GREEDY) + tail))
def test_arbitrary_bytes_are_refused_or_canonical(data: bytes) -> None:
    try:
        record = decode_record(data)
    except RecordEncodingError:
        return
    assert encode_record(record) == data


def test_every_truncation_is_refused() -> None:
    encoded = encode_record(GREEDY)
    for length in range(len(encoded)):
        with pytest.raises(RecordEncodingError):
            decode_record(encoded[:length])


def test_said_and_unsaid_defaults_are_one_record_with_the_same_bytes() -> None:
    fields = GREEDY.model_dump()
    said = Record.model_validate(fields | {"sampling": SamplingParams().model_dump() | GREEDY.sampling.model_dump()})
    assert encode_record(said) == encode_record(GREEDY)


def test_the_defaults_are_those_of_version_1() -> None:
    assert SamplingParams().model_dump() == DEFAULTS_OF_VERSION_1  # another default needs another version


def test_zeros_of_either_sign_are_one_record_with_the_same_bytes() -> None:
    zeros = [
        GREEDY.model_copy(update={"sampling": SamplingParams(temperature=zero, logit_bias={7: zero})})
        for zero in (0.0, -0.0)
    ]
    assert zeros[0] == zeros[1]
    assert encode_record(zeros[0]) == encode_record(zeros[1])


@pytest.mark.parametrize("value", [1, 1.0, 0.1 + 0.2, 1e-7, 5e-324, 1e22, 2**31])
def test_numbers_come_back_equal(value: float) -> None:
    biased = GREEDY.model_copy(update={"sampling": SamplingParams(temperature=0.0, logit_bias={1: float(value)})})
    assert decode_record(encode_record(biased)) == biased


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"version": 2}, "canonical"),
        ({"version": 3}, "later version"),
        ({"version": True}, "version"),
        ({"prompt_tokens": 10**9}, "announced"),
        ({"prompt_tokens": -1}, "counts"),
        ({"output_tokens": 1.5}, "counts"),
        ({"output_tokens": True}, "counts"),
        ({"seed": 5}, "seed"),
        ({"seed": "05"}, "canonical"),
        ({"seed": "٣"}, "seed"),
        ({"seed": "--3"}, "seed|JSON"),
        ({"seed": "9" * 5000}, "seed"),
        ({"seed": str(2**64)}, "seed"),
        ({"sampling": {"temperature": 0, "top_p": 1}}, "canonical"),
        ({"sampling": {"temperature": 0.0}}, "canonical"),
        ({"sampling": {"magic": 1}}, "magic"),
        ({"model": ""}, "model"),
        ({"prompt_token_ids": [1]}, "."),
        ({"extra": 1}, "extra"),
        ({"choice_index": None}, "choice_index"),
    ],
)
def test_headers_that_are_not_canonical_are_refused_by_field(change: dict[str, Any], complaint: str) -> None:
    header, tokens = parts(encode_record(GREEDY))
    with pytest.raises(RecordEncodingError, match=complaint):
        decode_record(joined(header | change, tokens))


def test_other_spellings_of_the_same_header_are_refused() -> None:
    header, tokens = parts(encode_record(GREEDY))
    for text in (
        json.dumps(header, sort_keys=True),
        json.dumps(dict(reversed(header.items())), separators=(",", ":")),
        json.dumps(header, separators=(",", ":"), sort_keys=True).replace("SmolLM2", "\\u0053molLM2"),
        json.dumps(header, separators=(",", ":"), sort_keys=True).replace('"version":1', '"version":1,"version":1'),
        "\ufeff" + json.dumps(header, separators=(",", ":"), sort_keys=True),
        "[]",
        "[" * 100_000,
        "\udc80",
    ):
        with pytest.raises(RecordEncodingError):
            decode_record(text.encode("utf-8", "surrogatepass") + b"\n" + tokens)


def test_too_large_records_are_refused_on_both_ways() -> None:
    tokens = [1] * (MAX_RECORD_BYTES // 4)
    with pytest.raises(RecordEncodingError, match="at most"):
        encode_record(GREEDY.model_copy(update={"prompt_token_ids": tokens}))
    with pytest.raises(RecordEncodingError, match="at most"):
        encode_record(GREEDY.model_copy(update={"sampling": SamplingParams(stop=["x" * MAX_HEADER_BYTES])}))
    with pytest.raises(RecordEncodingError, match="more than"):
        decode_record(bytes(MAX_RECORD_BYTES + 1))
    with pytest.raises(RecordEncodingError, match="no header line"):
        decode_record(b" " * MAX_RECORD_BYTES)
