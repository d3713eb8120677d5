"""Answers whose reasoning the sidecar ended: every other token is replayed, and the forced ones must be its own."""

from functools import cache
from typing import Any

import numpy as np
import pytest

from tests.verifier.verification.forced_answers import (
    BUDGET,
    END,
    REST,
    SCHEMES,
    FormulaReplayer,
    V,
    drawn,
    forced_answer,
    plain_answer,
)
from weightwarden.logger.record import Record
from weightwarden.verifier.calibration.exact import calibrate_exact
from weightwarden.verifier.policy.exact import EXACT_TOLERANCE, EXACT_WINDOW, ExactPolicy
from weightwarden.verifier.replay.replay import Replay
from weightwarden.verifier.scoring.token_scores import score
from weightwarden.verifier.scoring.token_verdicts import Verdict
from weightwarden.verifier.verification.judgement import Judgement
from weightwarden.verifier.verification.token_frame import TokenFrame
from weightwarden.verifier.verification.verifier import Verifier
from weightwarden.verifier.verification.work_unit import work_units

FORCED = len(END)
SETTINGS: list[dict[str, Any]] = [
    {},
    {"temperature": 0.7},
    {"top_k": 20, "top_p": 0.9},
    {"min_tokens": BUDGET + FORCED + REST, "stop_token_ids": [100, 101, 102]},
]
PENALTIES: dict[str, Any] = {"repetition_penalty": 1.4, "presence_penalty": 0.8, "frequency_penalty": 0.5}


@cache
def honest(scheme: str) -> list[Record]:
    settings = [SETTINGS[0], SETTINGS[1]] if scheme == "sglang" else SETTINGS
    return [forced_answer(scheme, number, **settings[number % len(settings)]) for number in range(12)]


@cache
def policy(scheme: str) -> ExactPolicy:
    records = [plain_answer(scheme, 50 + number) for number in range(16)]
    return calibrate_exact(FormulaReplayer(), records, [f"r:{at}" for at in range(len(records))], unlisted_engine=True)


def judged(records: list[Record], scheme: str = "vllm-cpu") -> Judgement:
    return Verifier(FormulaReplayer(), policy(scheme)).judge(records)


def margins(records: list[Record]) -> dict[tuple[int, int], float]:
    found: dict[tuple[int, int], float] = {}
    for placed in Replay(FormulaReplayer(), EXACT_WINDOW).tables(records):
        margin_n = score(placed.table, EXACT_TOLERANCE, 0).margin_n
        for record, position, margin in zip(placed.record_n, placed.position_n, margin_n, strict=True):
            assert (int(record), int(position)) not in found
            found[int(record), int(position)] = float(margin)
    return found


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_sampled_token_is_the_engines_own_and_forced_ones_are_in_no_table(scheme: str) -> None:
    records = [*honest(scheme), plain_answer(scheme, 77)]
    found = margins(records)
    sampled = [*range(BUDGET), *range(BUDGET + FORCED, BUDGET + FORCED + REST)]
    assert sorted(found) == [
        *((record, position) for record in range(12) for position in sampled),
        *((12, position) for position in range(20)),
    ]
    assert set(found.values()) == {0.0}


@pytest.mark.parametrize("scheme", ["vllm-cpu", "vllm-v1-cpu", "vllm-v1-fp64"])
def test_where_draws_restart_the_second_request_is_not_one_that_went_on(scheme: str) -> None:
    """The noise of a single request over all positions, forced ones included, would call the rest altered."""
    one = honest(scheme)[0]
    alone = one.model_copy(update={"segments": None, "reasoning": None})
    found = np.array([margin for (_, position), margin in margins([alone]).items() if position >= BUDGET + FORCED])
    assert (found > 0).sum() > REST / 2


@pytest.mark.parametrize("scheme", ["vllm-v2-fp64", "sglang"])
def test_where_draws_follow_positions_the_rest_is_drawn_as_by_one_request(scheme: str) -> None:
    one = honest(scheme)[0]
    alone = one.model_copy(update={"segments": None, "reasoning": None})
    found = [margin for (_, position), margin in margins([alone]).items() if position >= BUDGET + FORCED]
    assert found == [0.0] * REST


def test_penalties_count_what_was_said_before_a_new_request_as_its_prompt() -> None:
    records = [forced_answer("vllm-cpu", number, **PENALTIES) for number in range(12)]
    assert set(margins(records).values()) == {0.0}
    # The same answers, if all penalties counted the whole output as output:
    other = []
    for one in records:
        (_, (first, rest)) = one.requests()
        counted = rest.model_copy(
            update={"prompt_token_ids": one.prompt_token_ids, "output_token_ids": one.output_token_ids}
        )
        other += [margin for (_, position), margin in margins([counted]).items() if position >= first]
    assert (np.array(other) > 0).any()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_honest_forced_ends_flag_nothing_and_are_charged_nothing(scheme: str) -> None:
    found = judged(honest(scheme), scheme)
    for record in found.records:
        assert record.reasons == []
        assert record.stop_findings == []
        assert record.tokens.forced.tolist() == [False] * BUDGET + [True] * FORCED + [False] * REST
        assert record.tokens.charged_bits[BUDGET : BUDGET + FORCED].tolist() == [0.0] * FORCED
        assert set(record.tokens.verdict.tolist()) == {int(Verdict.SAFE)}
        assert record.evidence.tokens == BUDGET + REST
        assert record.forced == (FORCED, 0)
    assert set(found.charges.tokens_r.tolist()) == {BUDGET + FORCED + REST}
    assert found.charges.mismatches_r.sum() <= 1  # a tie on a cut of bfloat16 logits
    assert found.margins.tokens_rb.sum() == 12 * (BUDGET + REST)


def changed(one: Record, ids: list[int], forced: int) -> Record:
    """The record with other tokens, of which so many are said to be forced."""
    rest = len(ids) - BUDGET - forced
    segments = [("sampled", BUDGET), ("forced", forced), ("sampled", rest)]
    fields = {
        "output_token_ids": ids,
        "sampling": one.sampling.model_dump() | {"max_tokens": len(ids)},
        "segments": [{"kind": kind, "tokens": count} for kind, count in segments if count],
    }
    return Record.model_validate(one.model_dump() | fields)


def redrawn(one: Record, before: list[int], forced: int) -> Record:
    """The answer with other tokens up to its second request, whose draws follow from them."""
    seed = one.choice_seed()
    rest = drawn("vllm-cpu", [*one.prompt_token_ids, *before], seed, REST, {})
    return changed(one, [*before, *rest], forced)


def lengthened(one: Record) -> Record:
    return redrawn(one, [*one.output_token_ids[: BUDGET + FORCED], ord("x")], FORCED + 1)


def shortened(one: Record) -> Record:
    return redrawn(one, one.output_token_ids[: BUDGET + FORCED - 1], FORCED - 1)


def swapped(one: Record) -> Record:
    before = one.output_token_ids[: BUDGET + FORCED]
    return redrawn(one, [*before[:-1], ord("x")], FORCED)


def moved(one: Record) -> Record:
    """The forced end after one more token, which the engine drew."""
    before = drawn("vllm-cpu", one.prompt_token_ids, one.choice_seed(), BUDGET + 1, {})
    return redrawn(one, [*before, *map(ord, END)], FORCED + 1)


def swallowed(one: Record) -> Record:
    """Tokens of the attacker's choice after the end, said to be forced."""
    return changed(one, one.output_token_ids, FORCED + REST)


def moved_budget(one: Record) -> Record:
    """The same answer under a budget of one token less, so that a token that the engine drew counts as forced."""
    fields = one.model_dump()
    fields["reasoning"]["budget"] = BUDGET - 1
    fields["segments"][0]["tokens"], fields["segments"][1]["tokens"] = BUDGET - 1, FORCED + 1
    return Record.model_validate(fields)


@pytest.mark.parametrize("attack", [lengthened, shortened, swapped, moved, swallowed, moved_budget])
def test_a_forced_segment_that_is_not_the_sidecars_own_flags_and_is_charged(attack: Any) -> None:
    records = [attack(forced_answer("vllm-cpu", number)) for number in range(6)]
    found = judged(records)
    for at, record in enumerate(found.records):
        (reason,) = record.reasons
        assert reason.startswith("forced segment: ")
        assert record.p_value == 0.0
        forced, undemanded = record.forced
        assert forced == undemanded == records[at].segments[1].tokens
        assert found.charges.counting_bits_r[at] >= forced * np.log2(V)
        assert found.charges.dangerous_r[at] == forced


def test_a_budget_that_was_passed_without_a_forced_end_flags() -> None:
    one = plain_answer("vllm-cpu", 3)
    fields = {"reasoning": forced_answer("vllm-cpu", 3).reasoning}
    found = judged([one.model_copy(update=fields)])
    assert [reason.split(":")[0] for reason in found.records[0].reasons] == ["forced segment"]
    assert "no end was forced" in found.records[0].reasons[0]
    assert found.records[0].end_code_bits > 0


@pytest.mark.parametrize("tokens", [BUDGET - 1, BUDGET])
def test_an_answer_cut_off_at_its_budget_or_before_needs_no_forced_end(tokens: int) -> None:
    one = forced_answer("vllm-cpu", 3)
    ids = {"output_token_ids": one.output_token_ids[:tokens], "segments": None}
    cut_off = one.model_copy(update=ids | {"finish_reason": "abort", "stop_reason": "client"})
    assert judged([cut_off]).records[0].reasons == []


def test_without_room_for_an_answer_after_it_nothing_is_forced() -> None:
    one = plain_answer("vllm-cpu", 3, BUDGET + FORCED)
    found = judged([one.model_copy(update={"reasoning": forced_answer("vllm-cpu", 3).reasoning})])
    assert found.records[0].reasons == []


def test_reasoning_that_was_over_needs_no_forced_end_and_must_have_none() -> None:
    one = forced_answer("vllm-cpu", 3)
    assert one.reasoning is not None
    over = one.reasoning.model_copy(update={"start": "<think>"})  # the answer does not begin with reasoning
    (record,) = judged([one.model_copy(update={"reasoning": over})]).records
    assert "where the reasoning was over" in record.reasons[0]


def test_a_stop_string_may_end_an_answer_within_the_forced_end() -> None:
    wanted = END.index("\n\n") + 2
    one = forced_answer("vllm-cpu", 3, stop=["\n\n"])
    by_rule = {"finish_reason": "stop", "stop_reason": "\n\n", "sampling": one.sampling}
    stopped = changed(one, one.output_token_ids[: BUDGET + wanted], wanted).model_copy(update=by_rule)
    assert judged([stopped]).records[0].reasons == []
    shorter = changed(one, one.output_token_ids[: BUDGET + wanted - 1], wanted - 1).model_copy(update=by_rule)
    assert any(reason.startswith("forced segment: ") for reason in judged([shorter]).records[0].reasons)


def test_tokens_in_a_frame_say_which_are_forced() -> None:
    frame, one = TokenFrame(), forced_answer("vllm-cpu", 3)
    frame.add([0], [one], judged([one]))
    table = frame.table()
    assert table.column("token").to_pylist() == one.output_token_ids
    assert table.column("forced").to_pylist() == [False] * BUDGET + [True] * FORCED + [False] * REST
    ranks = table.column("logit_rank").to_pylist()
    assert [rank is None for rank in ranks] == table.column("forced").to_pylist()


def test_progress_counts_every_output_token_once() -> None:
    counted: list[int] = []
    records = honest("vllm-cpu")
    Verifier(FormulaReplayer(), policy("vllm-cpu"), progress=counted.append).judge(records)
    assert sum(counted) == sum(len(record.output_token_ids) for record in records)


def test_a_unit_of_work_counts_the_prompt_of_each_request() -> None:
    one = forced_answer("vllm-cpu", 3)
    prompt = len(one.prompt_token_ids)
    cost = prompt + BUDGET + (prompt + BUDGET + FORCED) + REST
    assert len(list(work_units([one, one], 2 * cost - 1))) == 2
    assert len(list(work_units([one, one], 2 * cost))) == 1
