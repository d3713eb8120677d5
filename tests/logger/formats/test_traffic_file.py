import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from dataclasses import field as defaulted
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.logger.examples import edited, fields, line_of, of_engine, sampled, without
from tests.places import ROOT
from weightwarden.errors import WeightwardenError
from weightwarden.logger.errors import TrafficError
from weightwarden.logger.formats.traffic_file import parse_record, read_traffic
from weightwarden.logger.record import Record

TRAFFIC = {
    "smollm2-vllm0.32-greedy.jsonl": 40,
    "smollm2-vllm0.32-t1.0-p0.95-k50.jsonl": 110,
    "smollm2-vllm0.32-t1.0-unfiltered.jsonl": 70,
}
GOOD = line_of(fields())
seeded = settings(deadline=None, derandomize=True, max_examples=200)


@dataclass(frozen=True)
class Malformed:
    """A file that is refused, and what the refusal says; `line` is 1-based, None for the file as a whole."""

    name: str
    content: bytes
    field: str | None
    says: str = ""
    line: int | None = defaulted(default=2, kw_only=True)


def second_line(name: str, line: bytes, field: str | None, says: str = "") -> Malformed:
    """A file whose second of three lines is refused."""
    return Malformed(name, GOOD + line + GOOD, field, says)


def with_text(old: str, new: str) -> bytes:
    """The good line with one piece of its text replaced."""
    text = GOOD.decode()
    assert text.count(old) == 1
    return text.replace(old, new).encode()


def malformed() -> Iterator[Malformed]:
    # Numbers that are too large.
    yield second_line(
        "temperature overflows", with_text('"temperature":1.0', '"temperature":1e999'), "sampling.temperature"
    )
    yield second_line("seed of 5000 digits", with_text('"seed":10000', '"seed":' + "9" * 5000), None, "digits")
    yield second_line("seed of 400 digits", with_text('"seed":10000', '"seed":' + "9" * 400), "seed")
    yield second_line("temperature of 400 digits", line_of(sampled(temperature=10**400)), "sampling.temperature")
    # Duplicate keys.
    yield second_line("seed twice", with_text('"seed":10000', '"seed":10000,"seed":10000'), None, "'seed' appears")
    yield second_line("top_p twice", with_text('"top_k":50', '"top_k":50,"top_p":0.5'), None, "'top_p' appears twice")
    yield second_line(
        "scheme twice", with_text('"name":"vllm"', '"name":"vllm","sampler":"greedy"'), None, "'sampler' appears twice"
    )
    yield second_line(
        "logit bias key twice", with_text('"top_k":50', '"logit_bias":{"7":1,"7":2}'), None, "'7' appears twice"
    )
    yield second_line(
        "key twice by an escape", with_text('"seed":10000', '"seed":10000,"\\u0073eed":1'), None, "'seed' appears twice"
    )
    # Unknown fields at each level.
    yield second_line("unknown field", line_of(edited(timestamp=1)), "timestamp", "unknown field")
    yield second_line("unknown sampling field", line_of(sampled(top_P=1.0)), "sampling.top_P", "unknown field")
    yield second_line("unknown engine field", line_of(of_engine(build="x")), "engine.build", "unknown field")
    yield second_line("unknown field that is no name", line_of(edited(**{"": 1})), None, "unknown field")
    yield second_line("unknown field with a lone surrogate", with_text('"seed"', '"\\ud800":1,"seed"'), None, "")
    # Missing fields.
    for name in fields():
        yield second_line(f"no {name}", line_of(without(name)), name, "missing")
    for name in ("name", "version", "sampler"):
        engine = {key: value for key, value in fields()["engine"].items() if key != name}
        yield second_line(f"no engine {name}", line_of(edited(engine=engine)), f"engine.{name}", "missing")
    # Wrong types.
    yield second_line("seed is true", line_of(edited(seed=True)), "seed")
    yield second_line("choice index is false", line_of(edited(choice_index=False)), "choice_index")
    yield second_line("top_k is true", line_of(sampled(top_k=True)), "sampling.top_k")
    yield second_line("temperature is true", line_of(sampled(temperature=True)), "sampling.temperature")
    yield second_line("ignore_eos is 1", line_of(sampled(ignore_eos=1)), "sampling.ignore_eos")
    yield second_line("temperature is a string", line_of(sampled(temperature="1.0")), "sampling.temperature")
    yield second_line("top_p is a string", line_of(sampled(top_p="0.95")), "sampling.top_p")
    yield second_line("seed is a string", line_of(edited(seed="10000")), "seed")
    yield second_line("seed is a float", line_of(edited(seed=10000.0)), "seed")
    yield second_line("top_k is a float", line_of(sampled(top_k=50.0)), "sampling.top_k")
    yield second_line("max_tokens is a float", line_of(sampled(max_tokens=128.0)), "sampling.max_tokens")
    yield second_line("token id is a float", line_of(edited(output_token_ids=[1, 2.0])), "output_token_ids.1")
    yield second_line("token id is a string", line_of(edited(prompt_token_ids=["1"])), "prompt_token_ids.0")
    yield second_line("token id is true", line_of(edited(prompt_token_ids=[True])), "prompt_token_ids.0")
    yield second_line("prompt is text", line_of(edited(prompt_token_ids="Hello")), "prompt_token_ids")
    yield second_line("output is null", line_of(edited(output_token_ids=None)), "output_token_ids")
    yield second_line("sampling is a list", line_of(edited(sampling=[])), "sampling")
    yield second_line("engine is a name", line_of(edited(engine="vllm")), "engine")
    yield second_line("model is null", line_of(edited(model=None)), "model")
    yield second_line("model is empty", line_of(edited(model="")), "model")
    yield second_line("model name of 257 characters", line_of(edited(model="m" * 257)), "model")
    yield second_line("stop_reason is a float", line_of(edited(stop_reason=2.5)), "stop_reason")
    yield second_line("stop_reason is true", line_of(edited(stop_reason=True)), "stop_reason")
    yield second_line("stop_reason is a list", line_of(edited(stop_reason=["\n"])), "stop_reason")
    # Seeds and choices.
    yield second_line("seed above 64 bits", line_of(edited(seed=2**63)), "seed")
    yield second_line("seed below 64 bits", line_of(edited(seed=-(2**63) - 1)), "seed")
    yield second_line("seed -1", line_of(edited(seed=-1)), "seed", "is -1, which means no seed")
    yield second_line("child seed -1", line_of(edited(seed=-3, choice_index=2)), "seed", "is -1, which means no seed")
    yield second_line(
        "child seed above 64 bits", line_of(edited(seed=2**63 - 2, choice_index=2)), "seed", "outside the range"
    )
    yield second_line("no seed at a temperature", line_of(edited(seed=None)), "seed", "cannot be replayed")
    yield second_line("choice index negative", line_of(edited(choice_index=-1)), "choice_index")
    yield second_line("choice index 2**16", line_of(edited(choice_index=2**16)), "choice_index")
    yield second_line(
        "choice index not below n", line_of({**sampled(n=2), "choice_index": 2}), "choice_index", "not below sampling.n"
    )
    yield second_line(
        "inverse-cdf seed that asks for a random one",
        line_of({**of_engine(sampler="inverse-cdf"), "seed": 2**32 - 1}),
        "seed",
        "outside the range",
    )
    # Tokens.
    yield second_line("prompt token negative", line_of(edited(prompt_token_ids=[1, -1])), "prompt_token_ids.1")
    yield second_line("output token negative", line_of(edited(output_token_ids=[-5])), "output_token_ids.0")
    yield second_line("output token 2**31", line_of(edited(output_token_ids=[2**31])), "output_token_ids.0")
    yield second_line("prompt empty", line_of(edited(prompt_token_ids=[])), "prompt_token_ids")
    yield second_line("output empty", line_of(edited(output_token_ids=[])), "output_token_ids", "finish reason")
    yield second_line("stop token negative", line_of(sampled(stop_token_ids=[-2])), "sampling.stop_token_ids.0")
    yield second_line("stop_reason token negative", line_of(edited(stop_reason=-2)), "stop_reason")
    yield second_line("more output than max_tokens", line_of(sampled(max_tokens=2)), "output_token_ids", "3 tokens")
    # Sampling parameters outside their domain.
    yield second_line("top_p 0", line_of(sampled(top_p=0)), "sampling.top_p")
    yield second_line("top_p 1.5", line_of(sampled(top_p=1.5)), "sampling.top_p")
    yield second_line("min_p 1.5", line_of(sampled(min_p=1.5)), "sampling.min_p")
    yield second_line("min_p negative", line_of(sampled(min_p=-0.1)), "sampling.min_p")
    yield second_line("top_k -2", line_of(sampled(top_k=-2)), "sampling.top_k")
    yield second_line("temperature negative", line_of(sampled(temperature=-0.5)), "sampling.temperature")
    yield second_line("repetition_penalty 0", line_of(sampled(repetition_penalty=0)), "sampling.repetition_penalty")
    yield second_line("presence_penalty 3", line_of(sampled(presence_penalty=3)), "sampling.presence_penalty")
    yield second_line("min_tokens negative", line_of(sampled(min_tokens=-1)), "sampling.min_tokens")
    yield second_line("max_tokens 0", line_of(sampled(max_tokens=0)), "sampling.max_tokens")
    yield second_line("n 0", line_of(sampled(n=0)), "sampling.n")
    yield second_line("stop string empty", line_of(sampled(stop=["x", ""])), "sampling.stop.1")
    yield second_line("no token allowed", line_of(sampled(allowed_token_ids=[])), "sampling.allowed_token_ids")
    for key in ("-1", "01", "1.0", "the", "", "\u0661"):
        says = f"key {key!r} is not a token id"
        yield second_line(f"logit bias key {key!a}", line_of(sampled(logit_bias={key: 1})), "sampling.logit_bias", says)
    yield second_line("logit bias is a list", line_of(sampled(logit_bias=[1])), "sampling.logit_bias")
    # What cannot be replayed.
    why = "cannot be replayed"
    for name in ("structured_outputs", "response_format", "guided_json", "tool_choice", "logits_processors"):
        yield second_line(name, line_of(sampled(**{name: {"type": "json"}})), f"sampling.{name}", why)
    yield second_line("beam search", line_of(sampled(use_beam_search=True)), "sampling.use_beam_search", why)
    yield second_line("watermark", line_of(sampled(watermarking=True)), "sampling.watermarking", why)
    yield second_line(
        "speculative sampling", line_of(sampled(speculative_decoding=True)), "sampling.speculative_decoding", why
    )
    yield second_line(
        "speculative engine",
        line_of(of_engine(speculative_decoding={"method": "ngram"})),
        "engine.speculative_decoding",
        why,
    )
    yield second_line(
        "penalty of inverse-cdf",
        line_of({**sampled(presence_penalty=1), "engine": of_engine(sampler="inverse-cdf")["engine"]}),
        "sampling",
        why,
    )
    yield second_line(
        "unknown scheme", line_of(of_engine(sampler="vllm-v9")), "engine.sampler", "unknown sampling scheme 'vllm-v9'"
    )
    yield second_line(
        "greedy at a temperature", line_of(of_engine(sampler="greedy")), "sampling.temperature", "means temperature 0"
    )
    # How it ended.
    for reason in ("error", "tool_calls", "STOP", "", None, 1):
        yield second_line(f"finish_reason {reason!r}", line_of(edited(finish_reason=reason)), "finish_reason")
    # Lines that are not records.
    yield second_line("list", b"[1,2]\n", None, "not a JSON object")
    yield second_line("number", b"12\n", None, "not a JSON object")
    yield second_line("string", b'"record"\n', None, "not a JSON object")
    yield second_line("null", b"null\n", None, "not a JSON object")
    yield second_line("empty object", b"{}\n", "engine", "missing")
    yield second_line("text", b"hello\n", None, "not JSON")
    yield second_line("single quotes", GOOD.replace(b'"', b"'"), None, "not JSON")
    yield second_line("trailing comma", GOOD.replace(b"null}", b"null,}"), None, "not JSON")
    yield second_line("comment", GOOD.replace(b"null}", b"null /* eos */}"), None, "not JSON")
    yield second_line("two records in a line", GOOD.rstrip() + GOOD, None, "not JSON")
    yield second_line("half a record", GOOD[:80] + b"\n", None, "not JSON")
    yield second_line("byte order mark", b"\xef\xbb\xbf" + GOOD, None, "BOM")
    yield second_line("Latin-1", with_text("SmolLM2", "Sm\u00f6lLM2").decode().encode("latin-1"), None, "not UTF-8")
    yield second_line("overlong encoding", GOOD.replace(b"Smol", b"Sm\xc0\xafl"), None, "not UTF-8 at byte")
    yield second_line("UTF-16", GOOD.decode().encode("utf-16-le"), None, "")
    yield second_line("NUL byte", GOOD.replace(b"Smol", b"Sm\x00l"), None, "not JSON")
    yield second_line("deeply nested", b'{"engine":' + b"[" * 100_000 + b"]" * 100_000 + b"}\n", None, "too deeply")
    yield second_line("deeply nested objects", b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"\n", None, "too deeply")
    yield second_line("blank line in the middle", b"\n", None, "empty line")
    yield second_line("white space in the middle", b" \t\r\n", None, "empty line")
    # Where files end.
    yield Malformed("empty file", b"", None, "holds no records", line=None)
    yield Malformed("only a blank line", b"\n", None, "empty line", line=1)
    yield Malformed("blank line at the end", GOOD + b"\n", None, "empty line")
    yield Malformed("truncated last line", GOOD + GOOD[:-20], None, "truncated last line")
    yield Malformed("truncated only line", GOOD[:30], None, "truncated last line", line=1)
    yield Malformed("bad record in the last line", GOOD * 4 + line_of(edited(seed=-1)), "seed", line=5)
    yield Malformed("first of two bad records", line_of(edited(model="")) + line_of(edited(seed=-1)), "model", line=1)
    yield Malformed("gzip", b"\x1f\x8b\x08\x00" + bytes(range(200)), None, "", line=1)


CASES = list(malformed())


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in CASES])
def test_malformed_traffic_is_refused_with_file_line_and_field(case: Malformed, tmp_path: Path) -> None:
    path = tmp_path / "traffic.jsonl"
    path.write_bytes(case.content)
    with pytest.raises(TrafficError) as caught:
        read_traffic(path)
    error, message = caught.value, str(caught.value)
    assert (error.path, error.line, error.field) == (path, case.line, case.field)
    place = str(path) if case.line is None else f"{path}:{case.line}"
    assert message.startswith(f"{place}: {case.field}: " if case.field else f"{place}: ")
    assert case.says in message
    assert message.isprintable()
    assert isinstance(error, WeightwardenError)
    assert isinstance(error, ValueError)


def test_names_of_malformed_files_are_distinct_and_many() -> None:
    assert len({case.name for case in CASES}) == len(CASES) > 100


NOT_NUMBERS = [
    (with_text('"temperature":1.0', '"temperature":NaN'), "sampling.temperature"),
    (with_text('"top_p":0.95', '"top_p":Infinity'), "sampling.top_p"),
    (with_text('"top_p":0.95', '"top_p":-Infinity'), "sampling.top_p"),
    (with_text('"seed":10000', '"seed":NaN'), "seed"),
    (with_text('"stop_reason":null', '"stop_reason":NaN'), "stop_reason"),
    (with_text('"top_k":50', '"logit_bias":{"1":NaN}'), "sampling.logit_bias.1"),
]


@pytest.mark.parametrize(("line", "field"), NOT_NUMBERS)
def test_number_that_json_does_not_have_is_refused(line: bytes, field: str) -> None:
    del field
    with pytest.raises(TrafficError, match=r"^f\.jsonl:4: "):
        parse_record(line, path=Path("f.jsonl"), line=4)


@pytest.mark.parametrize(("line", "field"), NOT_NUMBERS)
def test_number_that_json_does_not_have_is_refused_with_its_field(line: bytes, field: str) -> None:
    with pytest.raises(TrafficError) as caught:
        parse_record(line, path=Path("f.jsonl"), line=4)
    assert caught.value.field == field


@pytest.mark.parametrize("name", ["a\nb", "\x1b[2J", "\u202egnp", "x" * 100_000])
def test_message_about_a_hostile_field_name_is_one_short_printable_line(name: str) -> None:
    with pytest.raises(TrafficError, match="unknown field") as caught:
        parse_record(line_of(edited(**{name: 1})), path=Path("f.jsonl"), line=1)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1000


def test_error_counts_the_other_complaints_of_the_line() -> None:
    with pytest.raises(TrafficError, match=r"f\.jsonl:7: model: .* \(and 2 more\)$"):
        parse_record(line_of(edited(model="", choice_index=-1, finish_reason="x")), path=Path("f.jsonl"), line=7)


def test_line_longer_than_the_limit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "traffic.jsonl"
    path.write_bytes(GOOD + line_of(edited(model="Another-Model-With-A-Longer-Name")))
    monkeypatch.setattr("weightwarden.logger.formats.traffic_file.MAX_LINE_BYTES", len(GOOD))
    with pytest.raises(TrafficError, match=f"line is longer than {len(GOOD)} bytes") as caught:
        read_traffic(path)
    assert (caught.value.path, caught.value.line) == (path, 2)


def test_line_of_exactly_the_limit_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "traffic.jsonl"
    path.write_bytes(GOOD * 3)
    monkeypatch.setattr("weightwarden.logger.formats.traffic_file.MAX_LINE_BYTES", len(GOOD))
    assert len(read_traffic(path)) == 3


def test_directory_and_missing_file_are_refused_by_name(tmp_path: Path) -> None:
    for path, why in ((tmp_path, "a folder"), (tmp_path / "missing.jsonl", "cannot be read: No such file")):
        with pytest.raises(TrafficError) as caught:
            read_traffic(path)
        assert str(caught.value).startswith(f"{path}: {why}")
        assert (caught.value.path, caught.value.line, caught.value.field) == (path, None, None)


# What is accepted


@pytest.mark.parametrize("name", TRAFFIC)
def test_recorded_traffic_parses(name: str) -> None:
    path = ROOT / "tests" / "data" / name
    placed = read_traffic(path)
    assert len(placed) == TRAFFIC[name]
    assert [p.number for p in placed] == list(range(1, len(placed) + 1))
    assert {p.source for p in placed} == {str(path)}
    for at, line in zip(placed, path.read_bytes().splitlines(), strict=True):
        raw = json.loads(line)
        assert at.record.output_token_ids == raw["output_token_ids"]
        assert at.record.prompt_token_ids == raw["prompt_token_ids"]
        assert (at.record.seed, at.record.stop_reason) == (raw["seed"], raw["stop_reason"])
        assert at.record.sampling.model_dump(include=set(raw["sampling"])) == raw["sampling"]


def test_path_may_be_a_string(tmp_path: Path) -> None:
    path = tmp_path / "traffic.jsonl"
    path.write_bytes(GOOD)
    assert read_traffic(str(path)) == read_traffic(path)


@pytest.mark.parametrize(
    "content", [GOOD.rstrip(b"\n"), GOOD.replace(b"\n", b"\r\n"), b"  " + GOOD, GOOD.replace(b":", b" : ")]
)
def test_white_space_around_json_and_a_missing_last_line_end_are_accepted(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "traffic.jsonl"
    path.write_bytes(GOOD + content)
    first, second = read_traffic(path)
    assert first.record == second.record
    assert (first.number, second.number) == (1, 2)


# Every damaged byte


def recorded_lines() -> list[bytes]:
    """Some lines of the recorded traffic, the shortest of each file: damage is spread over more of their structure."""
    lines = []
    for name in TRAFFIC:
        with (ROOT / "tests" / "data" / name).open("rb") as stream:
            lines += sorted(stream, key=len)[:3]
    return lines


LINES = [GOOD, line_of(sampled(logit_bias={"5": 1.5}, stop=["\u00e9"], n=2)), *recorded_lines()]
positions = st.integers(0, 10**6)


def parsed_or_refused(line: bytes) -> Record | None:
    try:
        return parse_record(line, path=Path("f.jsonl"), line=3)
    except TrafficError as error:
        message = str(error)
    assert message.startswith("f.jsonl:3: ")
    return None


def check_reads_back(record: Record | None) -> None:
    """What was accepted is a record like any other."""
    if record is not None:
        assert parse_record(record.model_dump_json().encode(), path=Path("f.jsonl"), line=1) == record


@seeded
@given(line=st.sampled_from(LINES), at=positions)
def test_line_without_one_of_its_bytes_is_a_record_or_refused(line: bytes, at: int) -> None:
    at %= len(line)
    check_reads_back(parsed_or_refused(line[:at] + line[at + 1 :]))


# Bytes that mean something to JSON are drawn more often than others.
byte_values = st.sampled_from(b'"{}[],:\\-+.eE0129\n\r \x00\x7f\x80\xc3\xff') | st.integers(0, 255)


@seeded
@given(line=st.sampled_from(LINES), at=positions, byte=byte_values)
def test_line_with_one_byte_changed_is_a_record_or_refused(line: bytes, at: int, byte: int) -> None:
    at %= len(line)
    check_reads_back(parsed_or_refused(line[:at] + bytes([byte]) + line[at + 1 :]))


@seeded
@given(line=st.sampled_from(LINES), at=positions, byte=byte_values)
def test_line_with_one_byte_more_is_a_record_or_refused(line: bytes, at: int, byte: int) -> None:
    at %= len(line) + 1
    check_reads_back(parsed_or_refused(line[:at] + bytes([byte]) + line[at:]))


@seeded
@given(line=st.sampled_from(LINES), at=positions)
def test_line_that_is_cut_off_is_refused(line: bytes, at: int) -> None:
    assert parsed_or_refused(line[: at % (len(line) - 1)]) is None


@seeded
@given(line=st.binary(max_size=60))
def test_any_bytes_are_a_record_or_refused(line: bytes) -> None:
    assert parsed_or_refused(line) is None


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([2**31, 2**63, -(2**63) - 1, 10**400])
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)
places = st.sampled_from(
    [(name,) for name in fields()]
    + [("engine", name) for name in fields()["engine"]]
    + [("sampling", name) for name in ("temperature", "top_k", "logit_bias", "stop", "structured_outputs", "n")]
)


@seeded
@given(place=places, value=json_values)
def test_record_with_any_json_in_one_field_is_a_record_or_refused(place: tuple[str, ...], value: object) -> None:
    record = fields()
    if len(place) == 1:
        record[place[0]] = value
    else:
        record[place[0]] = {**record[place[0]], place[1]: value}
    check_reads_back(parsed_or_refused(line_of(record)))


# What the logger needs


@pytest.mark.parametrize(
    "module",
    [
        "weightwarden.logger.formats.traffic_file",
        "weightwarden.logger.sealing",
        "weightwarden.logger.store.writer",
        "weightwarden.sampler.noise",
    ],
)
def test_import_needs_no_torch(module: str) -> None:
    code = f"import sys; import {module}; print(sorted({{'torch', 'transformers', 'verifier'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
