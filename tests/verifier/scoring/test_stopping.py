from typing import Any

import numpy as np
import pytest

from benchmarks.text_agreement.agreement import stopping_rule
from benchmarks.text_agreement.small_tokenizers import sentence_piece
from tests.recorded import FILTERED, records_of
from weightwarden.logger.record import Record
from weightwarden.logger.text.ending import Ending, Text
from weightwarden.logger.text.tokenizer import ModelTokenizer
from weightwarden.sampler.params import SamplingParams
from weightwarden.verifier.policy.calibrated import Policy
from weightwarden.verifier.replay.transformers.replayer import TransformersReplayer
from weightwarden.verifier.scoring.stopping import StoppingRule

EOS = 2


@pytest.fixture(scope="module")
def rule(replayer: TransformersReplayer, bundled_policy: Policy) -> StoppingRule:
    return StoppingRule(
        identity=replayer.identity,
        tokenizer=replayer.tokenizer,
        max_model_length=8192,
        forced_end=bundled_policy.forced_end_limits,
    )


def record(text_or_ids: str | list[int], rule: StoppingRule, *, sampling: dict[str, Any], **fields: Any) -> Record:
    ids = rule.tokenizer.encode(text_or_ids, add_special_tokens=False) if isinstance(text_or_ids, str) else text_or_ids
    base = records_of(FILTERED)[0].model_dump()
    base.update(output_token_ids=ids, sampling={"max_tokens": 500, **sampling}, **fields)
    return Record.model_validate(base)


def kinds(rule: StoppingRule, some: Record, margin: float = 0.0) -> list[str]:
    return [finding.kind for finding in rule.findings(some, margin)]


def test_every_recorded_answer_ended_as_asked(rule: StoppingRule) -> None:
    assert all(not rule.findings(some, 0.0) for some in records_of(FILTERED))


def test_end_of_sequence_ends_an_answer(rule: StoppingRule) -> None:
    assert kinds(rule, record([5, 6, EOS], rule, sampling={}, finish_reason="stop", stop_reason=None)) == []


@pytest.mark.parametrize(
    ("ids", "sampling", "finish", "reason"),
    [
        ([5, 6, 7], {}, "stop", None),
        ([5, 6, EOS], {"ignore_eos": True}, "stop", None),
        ([5, 6, 7], {}, "stop", 7),
        ([5, 6, 7], {"stop_token_ids": [8]}, "stop", 8),
        ([5, 6, 7], {"max_tokens": 4}, "length", None),
        ([5, 6, 7], {}, "stop", "never requested"),
        ([5, 6, 7], {"stop": ["zzz"]}, "stop", "zzz"),
        ([5, 6, 7], {}, "abort", None),
        ([5, 6, 7], {}, "repetition", None),
    ],
)
def test_an_end_that_nothing_asked_for_is_early(
    rule: StoppingRule, ids: list[int], sampling: dict[str, Any], finish: str, reason: str | int | None
) -> None:
    assert kinds(rule, record(ids, rule, sampling=sampling, finish_reason=finish, stop_reason=reason)) == ["early"]


def test_requested_stop_token_and_length_end_an_answer(rule: StoppingRule) -> None:
    by_token = record([5, 6, 7], rule, sampling={"stop_token_ids": [7]}, finish_reason="stop", stop_reason=7)
    by_length = record([5, 6, 7], rule, sampling={"max_tokens": 3}, finish_reason="length", stop_reason=None)
    assert kinds(rule, by_token) == kinds(rule, by_length) == []


def test_context_length_ends_an_answer_only_where_it_is_reached(rule: StoppingRule) -> None:
    some = record([5, 6, 7], rule, sampling={"max_tokens": 500}, finish_reason="length", stop_reason=None)
    short = StoppingRule(
        identity=rule.identity,
        tokenizer=rule.tokenizer,
        max_model_length=len(some.prompt_token_ids) + 3,
        forced_end=rule.forced_end,
    )
    assert kinds(short, some) == []
    assert kinds(rule, some) == ["early"]


def test_a_final_token_that_would_not_have_been_drawn_is_a_forged_end(rule: StoppingRule) -> None:
    some = record([5, 6, EOS], rule, sampling={}, finish_reason="stop", stop_reason=None)
    within, beyond = rule.forced_end.margin, rule.forced_end.margin + 0.01
    assert kinds(rule, some, within) == []
    assert kinds(rule, some, beyond) == ["early"]
    assert kinds(rule, some, float("inf")) == ["early"]
    assert rule.findings(some, beyond)[0].honest_rate == rule.forced_end.rate


def test_stop_string_ends_an_answer_where_its_text_completes_it(rule: StoppingRule) -> None:
    sampling = {"stop": ["jumps over"]}
    whole = record(" The fox jumps over", rule, sampling=sampling, finish_reason="stop", stop_reason="jumps over")
    short = record(" The fox jumps", rule, sampling=sampling, finish_reason="stop", stop_reason="jumps over")
    past = record(
        " The fox jumps over the dog", rule, sampling=sampling, finish_reason="stop", stop_reason="jumps over"
    )
    assert kinds(rule, whole) == []
    assert kinds(rule, short) == ["early"]
    assert kinds(rule, past) == ["late"]


def test_stop_string_within_min_tokens_is_not_looked_at(rule: StoppingRule) -> None:
    ids = rule.tokenizer.encode(" The fox jumps over the dog", add_special_tokens=False)
    sampling = {"stop": ["fox"], "min_tokens": 3, "max_tokens": len(ids)}
    assert kinds(rule, record(ids, rule, sampling=sampling, finish_reason="length", stop_reason=None)) == []
    sampling["min_tokens"] = 1
    assert kinds(rule, record(ids, rule, sampling=sampling, finish_reason="length", stop_reason=None)) == ["late"]


@pytest.mark.parametrize(
    ("sampling", "expected"),
    [({}, ["late"]), ({"ignore_eos": True}, []), ({"stop_token_ids": [6], "ignore_eos": True}, ["late"])],
)
def test_going_on_after_an_end_is_late(rule: StoppingRule, sampling: dict[str, Any], expected: list[str]) -> None:
    some = record(
        [5, 6, EOS, 7], rule, sampling={**sampling, "max_tokens": 4}, finish_reason="length", stop_reason=None
    )
    assert kinds(rule, some) == expected


def test_an_early_stop_carries_the_bits_of_where_it_could_have_been(rule: StoppingRule) -> None:
    some = record([5, 6, 7], rule, sampling={"max_tokens": 128}, finish_reason="stop", stop_reason=None)
    assert rule.early_stop_bits(some) == 7.0


def test_half_a_character_is_no_text_yet(rule: StoppingRule) -> None:
    ids = rule.tokenizer.encode("a日b", add_special_tokens=False)

    def text(count: int) -> str:
        detokenizer = rule.tokenizer.detokenizer(SamplingParams(), [EOS])
        return "".join([*map(detokenizer.add, ids[:count]), detokenizer.end()])

    split = next(i for i in range(1, len(ids)) if text(i).endswith("\ufffd"))
    never = record(ids, rule, sampling={"stop": ["\ufffd"], "max_tokens": len(ids)}, finish_reason="length")
    assert kinds(rule, never) == []
    ended = next(i for i in range(split, len(ids) + 1) if "日" in text(i))
    sampling = {"stop": ["日"], "min_tokens": split}
    stopped = record(ids[:ended], rule, sampling=sampling, finish_reason="stop", stop_reason="日")
    assert kinds(rule, stopped) == []


def test_a_length_below_the_limit_flags_and_names_the_servers_own_caps(rule: StoppingRule) -> None:
    some = record([5] * 8, rule, sampling={"max_tokens": 64}, finish_reason="length", stop_reason=None)
    [finding] = rule.findings(some, 0.0)
    assert finding.flags
    assert "limit of 64 tokens, at 8" in finding.why
    for option in ("--override-generation-config", "max_new_tokens", "--max-model-len"):
        assert option in finding.why


@pytest.mark.parametrize(
    ("by", "flags"), [("refused", False), ("upstream", True), ("Refused", True), ("refused ", True)]
)
def test_only_a_refusal_on_record_is_charged_without_a_flag(rule: StoppingRule, by: str, flags: bool) -> None:
    some = record([], rule, sampling={"max_tokens": 64}, finish_reason="abort", stop_reason=by)
    [finding] = rule.findings(some, 0.0)
    assert (finding.kind, finding.flags) == ("early", flags)
    assert rule.end_code_bits(some) > np.log2(64)


def test_of_several_stop_strings_the_one_that_is_complete_first_is_the_reason(rule: StoppingRule) -> None:
    """Another name is charged and flags nothing: older engines name the first of the request."""
    sampling = {"stop": [" fox", "ox"]}
    (finding,) = rule.findings(record(" The fox", rule, sampling=sampling, finish_reason="stop", stop_reason="ox"), 0.0)
    assert (finding.kind, finding.flags) == ("early", False)
    assert kinds(rule, record(" The fox", rule, sampling=sampling, finish_reason="stop", stop_reason=" fox")) == []


BROKEN_STOPS = {
    "broken bytes before a character": (["€"], [3 + 0x61, 3 + 0xFF, *(3 + byte for byte in "€".encode())]),
    "a line's end after broken bytes": (["\n"], [262, 3 + 0xF0, 3 + 0x0A]),
}


@pytest.mark.parametrize("case", BROKEN_STOPS)
def test_broken_bytes_make_the_same_text_in_sidecar_and_verifier(case: str) -> None:
    """Byte fallback: one U+FFFD a byte in one of them and maximal subparts in the other made honest stops alarms."""
    stops, ids = BROKEN_STOPS[case]
    tokenizer = ModelTokenizer.of(sentence_piece(), 270)
    sampling = SamplingParams(stop=stops, max_tokens=99)
    pieces, ending = Text(tokenizer.detokenizer(sampling, [1]), sampling, frozenset()).add(ids)
    assert (len(pieces), ending) == (len(ids), Ending("stop", stops[0]))
    fields = {"prompt_token_ids": [1], "output_token_ids": ids, "finish_reason": "stop", "stop_reason": stops[0]}
    honest = Record.model_validate({**records_of(FILTERED)[0].model_dump(), **fields, "sampling": sampling})
    assert stopping_rule(tokenizer).findings(honest, 0.0) == []
