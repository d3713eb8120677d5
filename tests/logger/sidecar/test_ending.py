"""Where answers end: the sidecar's rule, and the verifier's replay of it, agree."""

import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from logger.record import Engine, Record
from logger.sidecar.ending import Ending, Text
from logger.sidecar.stop_strings import StopStrings
from logger.sidecar.token_bytes import TokenBytes, load_tokenizer, token_bytes_of
from sampler.params import SamplingParams
from verifier.model_identity import ModelIdentity
from verifier.stopping import StoppingRule

EOS = 2


@given(
    text=st.text(alphabet="abc", max_size=30),
    stops=st.lists(st.text(alphabet="abc", min_size=1, max_size=4), max_size=3),
    cuts=st.lists(st.integers(0, 30), max_size=8),
    include=st.booleans(),
)
def test_stop_strings_are_found_however_the_text_is_cut(
    text: str, stops: list[str], cuts: list[int], include: bool
) -> None:
    bounds = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    strings = StopStrings(stops, include=include)
    released, found, end = "", None, len(text)
    for start, stop in itertools.pairwise(bounds):
        piece, found = strings.add(text[start:stop])
        released += piece
        assert text.startswith(released)
        if found is not None:
            end = stop
            break
    else:
        released += strings.end()
    if found is None:
        assert released == text
        assert not any(one in text for one in stops)
    else:
        at = min(text[:end].find(one) for one in stops if one in text[:end])
        assert text.startswith(found, at)
        assert released == text[: at + len(found) if include else at]


def test_nothing_is_held_back_that_cannot_become_a_stop_string() -> None:
    strings = StopStrings(["END", "stop"])
    assert strings.add("go on E") == ("go on ", None)
    assert strings.add("x and s") == ("Ex and ", None)
    assert strings.add("to") == ("", None)
    assert strings.add("ne") == ("stone", None)
    assert strings.end() == ""


@pytest.fixture(scope="module")
def tokenizer(model_folder: Path) -> Tokenizer:
    return load_tokenizer(model_folder)


@pytest.fixture(scope="module")
def table(tokenizer: Tokenizer) -> TokenBytes:
    return token_bytes_of(tokenizer, 49_152)


class _Tokenizer:
    """The verifier's view of the tokenizer."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer

    def decode(self, ids: list[int], *, skip_special_tokens: bool = False) -> str:
        text: str = self._tokenizer.decode(ids, skip_special_tokens=skip_special_tokens)
        return text

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=add_special_tokens).ids
        return ids


@given(
    ids=st.lists(st.sampled_from([EOS, 28, 30, 198, 253, 260, 284, 300, 5000, 198]), min_size=1, max_size=14),
    stop=st.lists(st.sampled_from(["\n", " the", ".", "e\n", "a", "zzz"]), max_size=2),
    stop_ids=st.lists(st.sampled_from([30, 284]), max_size=1),
    min_tokens=st.integers(0, 4),
    max_tokens=st.integers(4, 12),
    ignore_eos=st.booleans(),
    skip=st.booleans(),
)
def test_where_the_sidecar_ends_an_answer_the_verifier_finds_it_well_ended(
    tokenizer: Tokenizer,
    table: TokenBytes,
    ids: list[int],
    stop: list[str],
    stop_ids: list[int],
    min_tokens: int,
    max_tokens: int,
    ignore_eos: bool,
    skip: bool,
) -> None:
    sampling = SamplingParams(
        stop=stop,
        stop_token_ids=stop_ids,
        min_tokens=min_tokens,
        max_tokens=max_tokens,
        ignore_eos=ignore_eos,
        skip_special_tokens=skip,
    )
    if any(i in (EOS, *stop_ids) for i in ids[:min_tokens]):
        return  # masked: an engine never draws them there
    pieces, ending = Text(table, sampling, frozenset({EOS})).add(ids)
    kept = ids[: len(pieces)]
    if ending is None:
        ending = Ending("length")
        expected = ["early"] if len(ids) < max_tokens else []
    else:
        expected = []
    record = Record(
        engine=Engine(name="vllm", version="1", sampler="vllm-cpu"),
        model="m",
        prompt_token_ids=[1],
        output_token_ids=kept,
        seed=1,
        choice_index=0,
        sampling=sampling,
        finish_reason=ending.finish_reason,
        stop_reason=ending.stop_reason,
    )
    identity = ModelIdentity(
        path=Path("m"), digest="sha256:" + "0" * 64, vocabulary=49_152, context_length=64, eos_ids=(EOS,)
    )
    rule = StoppingRule(
        identity=identity,
        tokenizer=_Tokenizer(tokenizer),
        max_model_length=64,
        forced_margin=1.0,
        forced_rate=0.0,
    )
    assert [finding.kind for finding in rule.findings(record, 0.0)] == expected


def test_what_was_held_back_is_released_by_the_token_that_ends_the_answer(
    tokenizer: Tokenizer, table: TokenBytes
) -> None:
    ids = tokenizer.encode("Go EN", add_special_tokens=False).ids
    text = Text(table, SamplingParams(stop=["END"], max_tokens=len(ids)), frozenset())
    pieces, ending = text.add(ids)
    assert "".join(pieces) == "Go EN"
    assert ending == Ending("length")
    assert text.rest() == ""


def test_what_was_held_back_is_released_when_the_server_ends_the_answer(
    tokenizer: Tokenizer, table: TokenBytes
) -> None:
    ids = tokenizer.encode("Go EN", add_special_tokens=False).ids
    text = Text(table, SamplingParams(stop=["END"], max_tokens=90), frozenset())
    pieces, ending = text.add(ids)
    assert ending is None
    assert "".join(pieces) + text.rest() == "Go EN"


def test_tokens_after_the_end_are_left_out(table: TokenBytes) -> None:
    pieces, ending = Text(table, SamplingParams(max_tokens=90), frozenset({EOS})).add([28, EOS, 30, 30])
    assert len(pieces) == 2
    assert ending == Ending("stop")
