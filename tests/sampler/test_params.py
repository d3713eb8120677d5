from typing import Any

import pytest
from pydantic import ValidationError

from weightwarden.sampler.params import UNREPLAYABLE_FIELDS, SamplingParams


def parsed(**fields: Any) -> SamplingParams:
    return SamplingParams.model_validate(fields)


def test_nothing_given_means_the_engines_neutral_values() -> None:
    params = parsed()
    assert (params.temperature, params.top_p, params.top_k, params.min_p) == (1.0, 1.0, 0, 0.0)
    assert (params.repetition_penalty, params.presence_penalty, params.frequency_penalty) == (1.0, 0.0, 0.0)
    assert (params.min_tokens, params.max_tokens, params.n, params.allowed_token_ids) == (0, None, None, None)
    assert (params.stop, params.stop_token_ids, params.logit_bias, params.bad_words) == ([], [], {}, [])
    assert not params.ignore_eos


def test_null_means_the_same_as_absent() -> None:
    assert parsed(**dict.fromkeys(SamplingParams.model_fields)) == parsed()


@pytest.mark.parametrize(
    "fields",
    [
        {"temperature": 0},
        {"temperature": 0.0},
        {"temperature": 100.0},
        {"top_p": 1},
        {"top_p": 1e-9},
        {"top_k": -1},
        {"top_k": 0},
        {"top_k": 2**31 - 1},
        {"min_p": 0},
        {"min_p": 1.0},
        {"repetition_penalty": 0.01},
        {"presence_penalty": -2},
        {"frequency_penalty": 2.0},
        {"min_tokens": 0},
        {"max_tokens": 1},
        {"n": 1},
        {"stop": []},
        {"stop_token_ids": [0, 2**31 - 1]},
        {"logit_bias": {}},
        {"logit_bias": {"0": -100}},
        {"allowed_token_ids": [5]},
    ],
)
def test_values_at_the_ends_of_their_domain_are_accepted(fields: dict[str, Any]) -> None:
    params = parsed(**fields)
    for name, value in fields.items():
        if name != "logit_bias":
            assert getattr(params, name) == value


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("temperature", -0.1),
        ("temperature", 100.5),
        ("temperature", "1.0"),
        ("temperature", True),
        ("temperature", float("nan")),
        ("temperature", float("inf")),
        ("temperature", 10**400),
        ("top_p", 0),
        ("top_p", 1.01),
        ("top_p", float("nan")),
        ("top_k", -2),
        ("top_k", 1.0),
        ("top_k", True),
        ("top_k", 2**31),
        ("min_p", -0.1),
        ("min_p", 1.1),
        ("repetition_penalty", 0),
        ("repetition_penalty", -1.0),
        ("presence_penalty", 2.5),
        ("frequency_penalty", -2.5),
        ("frequency_penalty", float("-inf")),
        ("min_tokens", -1),
        ("min_tokens", 1.5),
        ("max_tokens", 0),
        ("max_tokens", "120"),
        ("n", 0),
        ("n", 2**16),
        ("stop", [""]),
        ("stop", ""),
        ("stop", [1]),
        ("stop", 5),
        ("stop_token_ids", [-1]),
        ("stop_token_ids", [1.0]),
        ("stop_token_ids", (1, 2)),
        ("ignore_eos", 0),
        ("logit_bias", [1.0]),
        ("logit_bias", {"-1": 1.0}),
        ("logit_bias", {"01": 1.0}),
        ("logit_bias", {"1.0": 1.0}),
        ("logit_bias", {" 1": 1.0}),
        ("logit_bias", {"one": 1.0}),
        ("logit_bias", {"": 1.0}),
        ("logit_bias", {"\u0661": 1.0}),
        ("logit_bias", {"\u00b2": 1.0}),
        ("logit_bias", {"2147483648": 1.0}),
        ("logit_bias", {"9" * 5000: 1.0}),
        ("logit_bias", {"1": "1"}),
        ("logit_bias", {"1": None}),
        ("logit_bias", {"1": float("nan")}),
        ("allowed_token_ids", []),
        ("allowed_token_ids", [-1]),
        ("bad_words", [""]),
        ("bad_words", "word"),
        ("skip_special_tokens", "yes"),
        ("guided_decoding", {}),
        ("Temperature", 1.0),
    ],
)
def test_malformed_field_is_refused_by_name(field: str, value: object) -> None:
    with pytest.raises(ValidationError) as caught:
        parsed(**{field: value})
    first = caught.value.errors()[0]
    assert first["loc"][0] == field


@pytest.mark.parametrize("value", [None, 1, "temperature", [], [["temperature", 1.0]]])
def test_anything_but_an_object_is_refused(value: object) -> None:
    with pytest.raises(ValidationError):
        SamplingParams.model_validate(value)


@pytest.mark.parametrize("field", UNREPLAYABLE_FIELDS)
@pytest.mark.parametrize("value", [{"on": 1}, True, "required", [1]])
def test_field_that_a_seed_does_not_determine_is_refused_with_the_reason(field: str, value: object) -> None:
    with pytest.raises(ValidationError, match="cannot be replayed") as caught:
        parsed(**{field: value})
    assert caught.value.errors()[0]["ctx"]["at"] == field
    assert UNREPLAYABLE_FIELDS[field] in str(caught.value)


@pytest.mark.parametrize("field", UNREPLAYABLE_FIELDS)
@pytest.mark.parametrize("value", [None, False, [], {}])
def test_field_that_a_seed_does_not_determine_may_be_present_and_off(field: str, value: object) -> None:
    assert parsed(**{field: value}) == parsed()


def test_one_stop_string_is_a_list_of_one() -> None:
    assert parsed(stop="\n\n").stop == ["\n\n"]


def test_logit_bias_is_keyed_by_token_id() -> None:
    assert parsed(logit_bias={"0": 1, "31999": -2.5}).logit_bias == {0: 1.0, 31999: -2.5}
    assert parsed(logit_bias={7: 1.5}).logit_bias == {7: 1.5}


def test_parameters_are_immutable() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        parsed().temperature = 0.0  # type: ignore[misc]


@pytest.mark.parametrize(("temperature", "greedy"), [(0, True), (1e-6, False), (0.7, False)])
def test_only_temperature_zero_is_greedy(temperature: float, greedy: bool) -> None:
    assert parsed(temperature=temperature).is_greedy is greedy


@pytest.mark.parametrize(
    ("fields", "there"),
    [
        ({}, False),
        ({"top_k": -1, "top_p": 1, "min_p": 0, "bad_words": []}, False),
        ({"top_k": 5, "top_p": 0.9, "min_p": 0.1, "bad_words": ["x"]}, True),
    ],
)
def test_a_field_is_there_unless_it_has_its_neutral_value(fields: dict[str, object], there: bool) -> None:
    params = parsed(**fields)
    assert all(params.has(field) is there for field in ("top_k", "top_p", "min_p", "bad_words"))


@pytest.mark.parametrize(
    ("fields", "penalised"),
    [
        ({}, False),
        ({"repetition_penalty": 1, "presence_penalty": 0, "frequency_penalty": -0.0}, False),
        ({"repetition_penalty": 1.1}, True),
        ({"presence_penalty": -0.1}, True),
        ({"frequency_penalty": 0.1}, True),
    ],
)
def test_penalties_are_on_where_one_is_not_neutral(fields: dict[str, Any], penalised: bool) -> None:
    assert parsed(**fields).has_penalties is penalised
