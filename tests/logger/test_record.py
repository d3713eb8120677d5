import json
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.logger.examples import edited, fields
from weightwarden.logger.record import INT64_MAX, INT64_MIN, Record
from weightwarden.sampler.errors import UnreplayableRequest
from weightwarden.sampler.params import SamplingParams
from weightwarden.sampler.validation_message import validation_message

seeded = settings(deadline=None, derandomize=True, max_examples=100)


def parsed(**changes: Any) -> Record:
    return Record.model_validate(edited(**changes))


# Round trip

token_ids = st.integers(0, 2**31 - 1)
text = st.text(min_size=1, max_size=12)
# Also what needs 17 digits, and what is subnormal.
shares = st.floats(0, 1) | st.sampled_from([0.1, 1 / 3, 5e-324, 1 - 2**-53])


def sampling_fields(*, greedy: bool) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {"temperature": st.just(0.0) if greedy else st.floats(0.001, 100) | st.just(1)},
        optional={
            "top_p": st.floats(1e-6, 1),
            "top_k": st.integers(-1, 2**31 - 1),
            "min_p": shares,
            "repetition_penalty": st.floats(0.01, 100),
            "presence_penalty": st.floats(-2, 2),
            "frequency_penalty": st.floats(-2, 2),
            "min_tokens": st.integers(0, 2**31 - 1),
            "max_tokens": st.integers(20, 2**31 - 1) | st.none(),
            "n": st.integers(4, 2**16 - 1) | st.none(),
            "stop": text | st.lists(text, max_size=3),
            "stop_token_ids": st.lists(token_ids, max_size=3),
            "ignore_eos": st.booleans(),
            "logit_bias": st.dictionaries(token_ids.map(str), st.floats(-200, 200), max_size=4),
            "allowed_token_ids": st.lists(token_ids, min_size=1, max_size=4),
            "bad_words": st.lists(text, max_size=2),
            "skip_special_tokens": st.booleans(),
            "include_stop_str_in_output": st.booleans(),
            "spaces_between_special_tokens": st.booleans(),
        },
    )


@st.composite
def record_fields(draw: st.DrawFn) -> dict[str, Any]:
    greedy = draw(st.booleans())
    schemes = ["vllm-cpu", "vllm-v1", "vllm-v1-h100", "vllm-v2-fp64", *(["greedy"] if greedy else [])]
    choice_index = draw(st.integers(0, 3))
    seeds = st.integers(INT64_MIN, INT64_MAX - 3)
    seed = draw(seeds | st.none() if greedy else seeds)
    assume(seed is None or greedy or seed + choice_index != -1)
    return {
        "engine": {"name": draw(text), "version": draw(text), "sampler": draw(st.sampled_from(schemes))},
        "model": draw(text),
        "prompt_token_ids": draw(st.lists(token_ids, min_size=1, max_size=20)),
        "output_token_ids": draw(st.lists(token_ids, min_size=1, max_size=20)),
        "seed": seed,
        "choice_index": choice_index,
        "sampling": draw(sampling_fields(greedy=greedy)),
        "finish_reason": draw(st.sampled_from(["stop", "length", "abort", "repetition"])),
        "stop_reason": draw(st.none() | token_ids | st.text(max_size=12)),
    }


@seeded
@given(given_fields=record_fields())
def test_record_dumped_as_json_and_parsed_again_is_equal(given_fields: dict[str, Any]) -> None:
    record = Record.model_validate(given_fields)
    assert Record.model_validate(json.loads(record.model_dump_json())) == record
    assert Record.model_validate(json.loads(json.dumps(record.model_dump(mode="json")))) == record


@seeded
@given(given_fields=record_fields())
def test_record_holds_what_it_was_given(given_fields: dict[str, Any]) -> None:
    record = Record.model_validate(given_fields)
    for name in ("model", "prompt_token_ids", "output_token_ids", "seed", "choice_index", "finish_reason"):
        assert getattr(record, name) == given_fields[name]
    assert record.stop_reason == given_fields["stop_reason"]
    assert type(record.stop_reason) is type(given_fields["stop_reason"])
    assert record.sampling.temperature == given_fields["sampling"]["temperature"]
    assert record.engine.sampler == given_fields["engine"]["sampler"]


def test_record_is_immutable() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        parsed().seed = 5  # type: ignore[misc]


# Seeds


@pytest.mark.parametrize(
    ("seed", "choice_index", "drawn_with"), [(42, 0, 42), (42, 2, 44), (-3, 1, -2), (INT64_MAX - 1, 1, INT64_MAX)]
)
def test_choice_is_drawn_with_seed_plus_index(seed: int, choice_index: int, drawn_with: int) -> None:
    assert parsed(seed=seed, choice_index=choice_index).choice_seed() == drawn_with


@pytest.mark.parametrize(("seed", "choice_index"), [(-1, 0), (-2, 1), (INT64_MAX, 1), (INT64_MAX - 3, 4)])
def test_seed_that_no_choice_can_be_drawn_with_is_refused(seed: int, choice_index: int) -> None:
    with pytest.raises(ValidationError, match=f"seed {seed} with choice index {choice_index}"):
        parsed(seed=seed, choice_index=choice_index)


@pytest.mark.parametrize("seed", [None, -1, 7])
def test_greedy_record_needs_no_seed(seed: int | None) -> None:
    record = parsed(seed=seed, sampling={"temperature": 0.0})
    assert record.seed == seed
    assert record.scheme_name == "greedy"


def test_seed_of_an_unseeded_record_is_an_error_and_no_number() -> None:
    with pytest.raises(UnreplayableRequest, match="unseeded"):
        parsed(seed=None, sampling={"temperature": 0}).choice_seed()


@pytest.mark.parametrize("seed", [-1, -7, 2**32 - 1, 2**32])
def test_inverse_cdf_record_needs_a_seed_of_32_bits(seed: int) -> None:
    engine = {"name": "llama.cpp", "version": "b1", "sampler": "inverse-cdf"}
    assert parsed(engine=engine, seed=2**32 - 2, sampling={}).choice_seed() == 2**32 - 2
    with pytest.raises(ValidationError, match="outside the range of scheme inverse-cdf"):
        parsed(engine=engine, seed=seed, sampling={})


# Schemes


def test_scheme_of_a_sampled_record_is_its_engines() -> None:
    record = parsed()
    assert (record.scheme_name, record.engine.scheme.name) == ("vllm-cpu", "vllm-cpu")


def test_scheme_greedy_with_temperature_zero_is_accepted() -> None:
    engine = {"name": "vllm", "version": "0.32.0", "sampler": "greedy"}
    assert parsed(engine=engine, sampling={"temperature": 0}).scheme_name == "greedy"


@pytest.mark.parametrize(
    "penalty", [{"repetition_penalty": 1.1}, {"presence_penalty": 0.5}, {"frequency_penalty": -0.5}]
)
def test_penalties_are_refused_where_their_scheme_cannot_replay_them(penalty: dict[str, float]) -> None:
    assert parsed(sampling=penalty).sampling.has_penalties
    with pytest.raises(ValidationError, match="penalties of scheme inverse-cdf cannot be replayed"):
        parsed(engine={"name": "llama.cpp", "version": "b1", "sampler": "inverse-cdf"}, sampling=penalty)


SGLANG = {"name": "sglang", "version": "0.5.23"}
CUT = {"top_k": 20}


@pytest.mark.parametrize(
    ("scheme", "sampling", "why"),
    [
        ("sglang", {"top_k": 20}, "sampling.top_k: cannot be replayed: SGLang draws filtered requests from sorted"),
        ("sglang", {"top_p": 0.9}, "scheme sglang-ranked"),
        ("sglang", {"min_p": 0.1}, "SGLang refuses min_p with a seed"),
        ("sglang-ranked", {**CUT, "min_p": 0.1}, "SGLang refuses min_p with a seed"),
        ("sglang-ranked", {**CUT, "bad_words": ["x"]}, "sampling.bad_words: cannot be replayed: SGLang has no such"),
        ("sglang", {"allowed_token_ids": [1]}, "SGLang has no such parameter"),
        ("sglang-ranked", {"temperature": 0.5}, "sglang-ranked cannot be replayed without top_k or top_p"),
    ],
)
def test_what_sglang_cannot_replay_is_refused_with_the_reason(scheme: str, sampling: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError) as caught:
        parsed(engine=SGLANG | {"sampler": scheme}, sampling=sampling)
    assert why in validation_message(caught.value)


def test_what_sglang_replays_is_accepted() -> None:
    for scheme, sampling in (
        ("sglang", {"top_k": -1, "top_p": 1, "min_p": 0, "repetition_penalty": 1.2}),
        ("sglang", {"temperature": 0, "top_k": 5}),
        ("sglang-ranked", {"temperature": 0}),
        ("sglang-ranked", {"top_p": 0.9}),
    ):
        engine = SGLANG | {"sampler": scheme}
        assert parsed(engine=engine, sampling=sampling, seed=-1, choice_index=2).choice_seed() == -1


@pytest.mark.parametrize("off", [None, False, {}, []])
def test_speculative_decoding_may_be_named_and_off(off: object) -> None:
    engine = {**fields()["engine"], "speculative_decoding": off}
    assert parsed(engine=engine) == parsed()


def test_speculation_at_temperature_0_is_greedy_decoding() -> None:
    engine = {**fields()["engine"], "speculative_decoding": {"method": "ngram"}}
    assert parsed(engine=engine, sampling={"temperature": 0}) == parsed(sampling={"temperature": 0})
    assert SamplingParams.model_validate({"temperature": 0, "speculative_decoding": True}).is_greedy
    with pytest.raises(ValidationError, match="above temperature 0"):
        parsed(engine=engine, sampling={"temperature": 0.1})


# Limits


def test_output_as_long_as_the_limit_is_accepted_and_one_longer_is_not() -> None:
    assert len(parsed(output_token_ids=[5] * 128).output_token_ids) == 128
    with pytest.raises(ValidationError, match=r"129 tokens, more than sampling\.max_tokens = 128"):
        parsed(output_token_ids=[5] * 129)


def test_choice_index_is_below_the_number_of_choices() -> None:
    assert parsed(choice_index=3, sampling={"n": 4}).choice_index == 3
    with pytest.raises(ValidationError, match=r"4 is not below sampling\.n = 4"):
        parsed(choice_index=4, sampling={"n": 4})


def test_choice_index_is_not_bounded_where_n_is_not_given() -> None:
    assert parsed(choice_index=2**16 - 1, sampling={}).choice_index == 2**16 - 1


# Vocabulary


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"prompt_token_ids": [1, 100, 5]}, "prompt_token_ids"),
        ({"output_token_ids": [1, 100]}, "output_token_ids"),
        ({"sampling": {"stop_token_ids": [100]}}, "sampling.stop_token_ids"),
        ({"sampling": {"logit_bias": {"100": 1.0}}}, "sampling.logit_bias"),
        ({"sampling": {"allowed_token_ids": [3, 100]}}, "sampling.allowed_token_ids"),
    ],
)
def test_first_id_outside_the_vocabulary_is_named_with_its_field(changes: dict[str, Any], field: str) -> None:
    record = parsed(**{"prompt_token_ids": [1], "output_token_ids": [2], **changes})
    assert record.out_of_vocabulary(101) is None
    assert record.out_of_vocabulary(100) == (field, 100)
