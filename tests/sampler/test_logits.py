from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from weightwarden.sampler.logits import LogitAdjustment
from weightwarden.sampler.params import SamplingParams

VOCABULARY = 10
seeded = settings(deadline=None, derandomize=True, max_examples=150)


@dataclass(frozen=True, kw_only=True)
class Case:
    """One choice, its adjustments, and the raw logits of all of its positions."""

    params: SamplingParams
    prompt: list[int]
    output: list[int]
    stop_ids: list[int]
    bad_words: list[list[int]]
    raw_nv: NDArray[np.float32]
    order: Literal["vllm", "sglang"] = "vllm"

    @property
    def adjustment(self) -> LogitAdjustment:
        return LogitAdjustment(
            params=self.params,
            prompt_ids=self.prompt,
            output_ids=self.output,
            stop_ids=self.stop_ids,
            bad_word_ids=self.bad_words,
            order=self.order,
        )


def sglang_logit(case: Case, position: int, token: int) -> float:
    """SGLang's order (docs/sampling.md, section 5): additive penalties, the repetition penalty of the output, bias."""
    params, before = case.params, case.output[:position]
    if position < params.min_tokens and token in case.stop_ids:
        return -np.inf
    x = float(case.raw_nv[position, token]) - params.frequency_penalty * before.count(token)
    if token in before:
        x -= params.presence_penalty
        x = x / params.repetition_penalty if x > 0 else x * params.repetition_penalty
    return x + params.logit_bias.get(token, 0.0)


def adjusted_rows(case: Case, start: int, stop: int) -> NDArray[np.float32]:
    """Whole rows [stop - start, V] as a replayer makes them from an adjustment: touched ids, then allowed ids."""
    adjustment = case.adjustment
    rows = case.raw_nv[start:stop].copy()
    touched = adjustment.touched_ids
    rows[:, touched] = adjustment.adjusted(start, rows[:, touched])
    if adjustment.allowed_ids is not None:
        forbidden = np.setdiff1d(np.arange(VOCABULARY), adjustment.allowed_ids)
        rows[:, forbidden] = -np.inf
    return rows


def one_logit(case: Case, position: int, token: int) -> float:
    """The adjusted logit of one token at one output position, step by step as docs/sampling.md, section 6.1 says."""
    params = case.params
    before = case.output[:position]
    x = float(case.raw_nv[position, token])
    # Step 2: allowed token ids.
    if params.allowed_token_ids is not None and token not in params.allowed_token_ids:
        return -np.inf
    # Step 3: the last token of a bad word whose other tokens end the output so far.
    for word in case.bad_words:
        prefix = word[:-1]
        if word[-1] == token and (not prefix or before[-len(prefix) :] == prefix):
            return -np.inf
    # Step 4: minimum tokens, bias.
    if position < params.min_tokens and token in case.stop_ids:
        return -np.inf
    x += min(100.0, max(-100.0, params.logit_bias.get(token, 0.0)))
    # Step 5: repetition over prompt and output; frequency and presence over the output.
    if token in case.prompt or token in before:
        x = x / params.repetition_penalty if x > 0 else x * params.repetition_penalty
    x -= params.frequency_penalty * before.count(token)
    if token in before:
        x -= params.presence_penalty
    return x


def reference_rows(case: Case) -> NDArray[np.float64]:
    positions, tokens = range(len(case.output)), range(VOCABULARY)
    return np.array([[one_logit(case, position, token) for token in tokens] for position in positions])


tokens = st.integers(0, VOCABULARY - 1)
# Multiples of 1/8: sums are exact, so that float32 and the reference agree on the sign of every logit.
eighths = st.integers(-2400, 2400).map(lambda i: i / 8)


@st.composite
def sampling_params(draw: st.DrawFn) -> SamplingParams:
    optional: dict[str, st.SearchStrategy[Any]] = {
        "logit_bias": st.dictionaries(tokens, eighths, max_size=4),
        "min_tokens": st.integers(0, 8),
        "allowed_token_ids": st.lists(tokens, min_size=1, max_size=8),
        "repetition_penalty": st.sampled_from([0.5, 1.0, 1.1, 1.75, 4.0]),
        "frequency_penalty": st.sampled_from([-2.0, -0.3, 0.0, 0.25, 2.0]),
        "presence_penalty": st.sampled_from([-1.5, 0.0, 0.7, 2.0]),
    }
    return SamplingParams.model_validate(draw(st.fixed_dictionaries({}, optional=optional)))


@st.composite
def cases(draw: st.DrawFn) -> Case:
    output = draw(st.lists(st.integers(0, 3) | tokens, min_size=1, max_size=9))
    rows = np.random.default_rng(draw(st.integers(0, 2**32 - 1))).integers(-160, 161, (len(output), VOCABULARY))
    return Case(
        params=draw(sampling_params()),
        prompt=draw(st.lists(tokens, min_size=1, max_size=5)),
        output=output,
        stop_ids=draw(st.lists(tokens, max_size=3)),
        bad_words=draw(st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=3), max_size=3)),
        raw_nv=(rows / 8).astype(np.float32),
    )


def case_of(
    *,
    output: list[int],
    prompt: list[int] | None = None,
    stop_ids: list[int] | None = None,
    bad_words: list[list[int]] | None = None,
    **params: Any,
) -> Case:
    """A case with a logit of 2 for the tokens with an even id and of -2 for the others."""
    row = np.where(np.arange(VOCABULARY) % 2 == 0, np.float32(2), np.float32(-2))
    return Case(
        params=SamplingParams.model_validate(params),
        prompt=prompt or [9],
        output=output,
        stop_ids=stop_ids or [],
        bad_words=bad_words or [],
        raw_nv=np.tile(row, (len(output), 1)),
    )


@seeded
@given(case=cases())
def test_adjusted_rows_are_those_of_the_specification(case: Case) -> None:
    rows = adjusted_rows(case, 0, len(case.output))
    expected = reference_rows(case)
    np.testing.assert_array_equal(np.isneginf(rows), np.isneginf(expected))
    np.testing.assert_allclose(rows, expected, rtol=1e-5, atol=1e-4)


@seeded
@given(case=cases())
def test_adjusted_rows_in_sglangs_order_are_those_of_the_specification(case: Case) -> None:
    params = case.params.model_copy(update={"allowed_token_ids": None})
    case = replace(case, params=params, bad_words=[], order="sglang")
    rows = adjusted_rows(case, 0, len(case.output))
    positions = range(len(case.output))
    expected = np.array([[sglang_logit(case, p, token) for token in range(VOCABULARY)] for p in positions])
    np.testing.assert_array_equal(np.isneginf(rows), np.isneginf(expected))
    np.testing.assert_allclose(rows, expected, rtol=1e-5, atol=1e-4)


@seeded
@given(case=cases(), data=st.data())
def test_any_chunk_of_positions_is_that_slice_of_the_whole(case: Case, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(case.output) - 1))
    stop = data.draw(st.integers(start + 1, len(case.output)))
    np.testing.assert_array_equal(
        adjusted_rows(case, start, stop), adjusted_rows(case, 0, len(case.output))[start:stop]
    )


@seeded
@given(case=cases())
def test_positions_do_not_depend_on_what_comes_after_them(case: Case) -> None:
    last = len(case.output) - 1
    changed = replace(case, output=[*case.output[:-1], (case.output[-1] + 1) % VOCABULARY])
    np.testing.assert_array_equal(adjusted_rows(case, 0, last + 1), adjusted_rows(changed, 0, last + 1))


@seeded
@given(case=cases())
def test_raw_logits_are_left_as_they_were(case: Case) -> None:
    adjustment = case.adjustment
    raw = case.raw_nv[:, adjustment.touched_ids].copy()
    kept = raw.copy()
    assert adjustment.adjusted(0, raw).dtype == np.float32
    np.testing.assert_array_equal(raw, kept)


@seeded
@given(case=cases())
def test_identity_means_that_no_logit_changes(case: Case) -> None:
    if case.adjustment.is_identity:
        np.testing.assert_array_equal(adjusted_rows(case, 0, len(case.output)), case.raw_nv)
    else:
        assert len(case.adjustment.touched_ids) or case.params.allowed_token_ids


def test_neutral_parameters_are_the_identity() -> None:
    adjustment = case_of(output=[1, 2], stop_ids=[3], temperature=0.7, top_k=5, top_p=0.5, min_p=0.1).adjustment
    assert adjustment.is_identity
    assert adjustment.touched_ids.tolist() == []
    assert adjustment.allowed_ids is None


@pytest.mark.parametrize(
    "params",
    [{"logit_bias": {3: 1.0}}, {"allowed_token_ids": [1]}, {"presence_penalty": 0.5}, {"repetition_penalty": 1.2}],
)
def test_each_parameter_alone_is_no_identity(params: dict[str, Any]) -> None:
    assert not case_of(output=[1, 2], **params).adjustment.is_identity


@pytest.mark.parametrize(("bias", "added"), [(100.0, 100), (250.0, 100), (-1e6, -100), (-100.125, -100), (1.5, 1.5)])
def test_bias_is_clamped_to_100_logits(bias: float, added: float) -> None:
    row = adjusted_rows(case_of(output=[0], logit_bias={4: bias}), 0, 1)[0]
    assert row[4] == 2 + added
    assert row[2] == 2


def test_bad_word_is_masked_only_after_its_whole_prefix() -> None:
    case = case_of(output=[5, 1, 2, 1, 2, 2], bad_words=[[1, 2, 6]])
    assert np.isneginf(adjusted_rows(case, 0, 6)[:, 6]).tolist() == [False, False, False, True, False, True]


def test_prefix_of_a_bad_word_is_not_looked_for_in_the_prompt() -> None:
    case = case_of(prompt=[1, 2], output=[6, 6], bad_words=[[1, 2, 6], [2, 6]])
    assert np.isfinite(adjusted_rows(case, 0, 2)).all()


def test_bad_word_of_one_token_is_masked_everywhere() -> None:
    assert np.isneginf(adjusted_rows(case_of(output=[1, 2, 3], bad_words=[[6]]), 0, 3)[:, 6]).all()


def test_stop_ids_are_masked_until_the_minimum_length() -> None:
    rows = adjusted_rows(case_of(output=[1, 1, 1, 1], stop_ids=[2, 7], min_tokens=3), 0, 4)
    assert np.isneginf(rows[:, [2, 7]]).all(axis=1).tolist() == [True, True, True, False]
    assert np.isfinite(rows[:, [0, 1, 3, 4, 5, 6, 8, 9]]).all()


@pytest.mark.parametrize("start", range(5))
def test_minimum_length_is_counted_from_the_start_of_the_output_in_every_chunk(start: int) -> None:
    case = case_of(output=[1] * 6, stop_ids=[2], min_tokens=3)
    assert np.isneginf(adjusted_rows(case, start, 6)[:, 2]).tolist() == [j < 3 for j in range(start, 6)]


@pytest.mark.parametrize("start", range(5))
def test_bad_word_is_matched_across_the_start_of_a_chunk(start: int) -> None:
    case = case_of(output=[1, 2, 1, 2, 2, 1], bad_words=[[1, 2, 6]])
    assert np.isneginf(adjusted_rows(case, start, 6)[:, 6]).tolist() == [j in (2, 4) for j in range(start, 6)]


def test_mask_is_stronger_than_any_bias() -> None:
    case = case_of(output=[0], stop_ids=[2], min_tokens=1, bad_words=[[4]], logit_bias={2: 100.0, 4: 100.0})
    assert np.isneginf(adjusted_rows(case, 0, 1)[0, [2, 4]]).all()


def test_repetition_penalty_counts_the_prompt_and_frequency_and_presence_do_not() -> None:
    rows = adjusted_rows(case_of(prompt=[2, 3], output=[4, 0], repetition_penalty=2.0), 0, 2)
    assert rows[0, [2, 3, 4, 5]].tolist() == [1, -4, 2, -2]
    assert rows[1, [2, 3, 4, 5]].tolist() == [1, -4, 1, -2]
    rows = adjusted_rows(case_of(prompt=[2, 3], output=[4, 4, 0], frequency_penalty=0.5, presence_penalty=0.25), 0, 3)
    assert rows[:, 2].tolist() == [2, 2, 2]
    assert rows[:, 4].tolist() == [2, 1.25, 0.75]


def test_penalties_come_after_the_bias() -> None:
    rows = adjusted_rows(case_of(prompt=[1], output=[0], repetition_penalty=2.0, logit_bias={1: 6.0}), 0, 1)
    assert rows[0, 1] == (-2 + 6) / 2


def test_masked_raw_logits_stay_masked() -> None:
    case = case_of(output=[1, 1], prompt=[1], repetition_penalty=1.5, presence_penalty=-2.0, logit_bias={1: 100.0})
    case.raw_nv[:, 1] = -np.inf
    assert np.isneginf(adjusted_rows(case, 0, 2)[:, 1]).all()


def test_allowed_ids_are_sorted_and_distinct() -> None:
    assert case_of(output=[1], allowed_token_ids=[7, 3, 7]).adjustment.allowed_ids is not None
    np.testing.assert_array_equal(case_of(output=[1], allowed_token_ids=[7, 3, 7]).adjustment.allowed_ids, [3, 7])
