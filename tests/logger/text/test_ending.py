"""Where answers end: the sidecar's rule, and the verifier's replay of it, agree."""

import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weightwarden.logger.record import Engine, Record
from weightwarden.logger.text.ending import Ending, Text, first_end
from weightwarden.logger.text.stop_strings import StopStrings
from weightwarden.logger.text.tokenizer import ModelTokenizer, read_tokenizer
from weightwarden.sampler.params import SamplingParams
from weightwarden.verifier.model.identity import ModelIdentity
from weightwarden.verifier.scoring.stopping import ForcedEndLimits, StoppingRule

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
        ends = [text.index(one) + len(one) for one in stops if one in text[:end]]
        assert found == next(one for one in stops if text[: min(ends)].endswith(one))
        at = min(ends) - len(found)
        assert released == text[: at + len(found) if include else at]


def test_nothing_is_held_back_that_cannot_become_a_stop_string() -> None:
    strings = StopStrings(["END", "stop"])
    assert strings.add("go on E") == ("go on ", None)
    assert strings.add("x and s") == ("Ex and ", None)
    assert strings.add("to") == ("", None)
    assert strings.add("ne") == ("stone", None)
    assert strings.end() == ""


@pytest.fixture(scope="module")
def tokenizer(model_folder: Path) -> ModelTokenizer:
    return ModelTokenizer.of(read_tokenizer(model_folder), 49_152)


def text_of(tokenizer: ModelTokenizer, sampling: SamplingParams, eos_ids: tuple[int, ...] = (EOS,)) -> Text:
    return Text(tokenizer.detokenizer(sampling, [1]), sampling, frozenset(eos_ids))


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
    tokenizer: ModelTokenizer,
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
    pieces, ending = text_of(tokenizer, sampling).add(ids)
    without = sampling.model_copy(update={"stop": []})
    tokens, found = first_end(ids, without, frozenset({EOS}))
    expected_pieces, expected_ending = text_of(tokenizer, without).add(ids)
    assert (tokens, found) == (len(expected_pieces), expected_ending)
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
        tokenizer=tokenizer,
        max_model_length=64,
        forced_end=ForcedEndLimits(margin=1.0, rate=0.0),
    )
    assert [finding.kind for finding in rule.findings(record, 0.0)] == expected


def test_what_was_held_back_is_released_by_the_token_that_ends_the_answer(
    tokenizer: ModelTokenizer,
) -> None:
    ids = tokenizer.encode("Go EN", add_special_tokens=False)
    text = text_of(tokenizer, SamplingParams(stop=["END"], max_tokens=len(ids)), ())
    pieces, ending = text.add(ids)
    assert "".join(pieces) == "Go EN"
    assert ending == Ending("length")
    assert text.rest() == ""


def test_what_was_held_back_is_released_when_the_server_ends_the_answer(
    tokenizer: ModelTokenizer,
) -> None:
    ids = tokenizer.encode("Go EN", add_special_tokens=False)
    text = text_of(tokenizer, SamplingParams(stop=["END"], max_tokens=90), ())
    pieces, ending = text.add(ids)
    assert ending is None
    assert "".join(pieces) + text.rest() == "Go EN"


def test_tokens_after_the_end_are_left_out(tokenizer: ModelTokenizer) -> None:
    pieces, ending = text_of(tokenizer, SamplingParams(max_tokens=90)).add([28, EOS, 30, 30])
    assert len(pieces) == 2
    assert ending == Ending("stop")


@pytest.mark.parametrize(("include", "expected"), [(False, "Go"), (True, "Go<|im_end|>")])
def test_the_text_of_a_token_that_ends_an_answer_is_left_out_unless_it_is_asked_for(
    tokenizer: ModelTokenizer, include: bool, expected: str
) -> None:
    sampling = SamplingParams(max_tokens=90, skip_special_tokens=False, include_stop_str_in_output=include)
    (go,) = tokenizer.encode("Go", add_special_tokens=False)
    for ids, stop_ids in (([go, EOS], []), ([go, EOS], [EOS])):
        asked = sampling.model_copy(update={"stop_token_ids": stop_ids})
        pieces, ending = text_of(tokenizer, asked, () if stop_ids else (EOS,)).add(ids)
        assert "".join(pieces) == expected
        assert ending == Ending("stop", EOS if stop_ids else None)


class Letters:
    """Text of tokens: token 1 is "a", and so on."""

    def add(self, token: int) -> str:
        return chr(96 + token)

    def end(self) -> str:
        return ""


@given(
    ids=st.lists(st.integers(1, 6), min_size=1, max_size=12),
    cuts=st.lists(st.integers(0, 12), max_size=6),
    max_tokens=st.integers(1, 12),
    min_tokens=st.integers(0, 3),
    stop_ids=st.lists(st.integers(4, 6), max_size=2),
)
def test_an_answer_ends_alike_however_its_tokens_come(
    ids: list[int], cuts: list[int], max_tokens: int, min_tokens: int, stop_ids: list[int]
) -> None:
    sampling = SamplingParams(max_tokens=max_tokens, min_tokens=min(min_tokens, max_tokens), stop_token_ids=stop_ids)
    text = Text(Letters(), sampling, frozenset({EOS}))
    pieces: list[str] = []
    ending = None
    bounds = sorted({0, len(ids), *(cut for cut in cuts if cut < len(ids))})
    for start, stop in itertools.pairwise(bounds):
        some, ending = text.add(ids[start:stop])
        pieces += some
        if ending is not None:
            break
    assert (len(pieces), ending) == first_end(ids, sampling, frozenset({EOS}))
    kept = ids[: len(pieces) - (ending is not None and ending.finish_reason == "stop")]
    assert "".join(pieces) == "".join(map(Letters().add, kept))
