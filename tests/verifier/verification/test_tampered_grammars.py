"""Recorded answers of a real engine under grammars, and the same answers tampered with."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest

from benchmarks.grammars.matchers import GrammarMatchers
from benchmarks.repository import CONSTRAINED
from tests.recorded import records_of
from weightwarden.logger.record import Record
from weightwarden.verifier.policy.calibrated import Policy
from weightwarden.verifier.replay.transformers.replayer import TransformersReplayer
from weightwarden.verifier.scoring.levels import RUN_ALARM_LEVEL
from weightwarden.verifier.scoring.token_verdicts import Verdict
from weightwarden.verifier.verification.record_verdict import RecordVerdict
from weightwarden.verifier.verification.verifier import Verifier

VICTIMS = 4
NAMES = ("get_weather", "send_mail")


@dataclass(frozen=True)
class Altered:
    """A record with one token replaced, the token's place, and the verdict."""

    record: Record
    position: int
    verdict: RecordVerdict

    def at_token(self, name: str) -> float:
        """A score of the replaced token (`TokenDetail`)."""
        return float(getattr(self.verdict.tokens, name)[self.position])


@pytest.fixture(scope="module")
def matchers(replayer: TransformersReplayer) -> GrammarMatchers:
    return GrammarMatchers(replayer.identity)


@pytest.fixture(scope="module")
def honest() -> list[Record]:
    """Whole JSON objects, sampled, one of each of some schemas."""
    objects = [
        record
        for record in records_of(CONSTRAINED)
        if record.grammar is not None
        and record.grammar.kind == "json"
        and record.finish_reason == "stop"
        and record.sampling.has("top_k")
    ]
    return list({record.grammar.text: record for record in objects if record.grammar is not None}.values())[:VICTIMS]


@pytest.fixture(scope="module")
def verifier(replayer: TransformersReplayer, bundled_policy: Policy) -> Verifier:
    return Verifier(replayer, bundled_policy)


def altered(
    verifier: Verifier, matchers: GrammarMatchers, records: Sequence[Record], *, allowed: bool, seed: int
) -> list[Altered]:
    """The records with one random token of their second half replaced, by one that the grammar allows, or forbids.

    After a replacement that is allowed, the rest of the answer is still allowed.
    """
    rng = np.random.default_rng(seed)
    made = []
    for record in records:
        assert record.grammar is not None
        output = record.output_token_ids
        for _ in range(10_000):
            position = int(rng.integers(len(output) // 2, len(output) - 1))
            matcher = matchers.start(record.grammar)
            assert matcher.consume_tokens(output[:position])
            allowed_v = matchers.allowed(matcher)
            token = int(rng.choice(np.flatnonzero(allowed_v == allowed)))
            said = [*output[:position], token, *output[position + 1 :]]
            if token == output[position] or allowed_v.sum() == 1:
                continue
            if not allowed or matcher.validate_tokens(said[position:]) == len(said) - position:
                made.append((record.model_copy(update={"output_token_ids": said}), position))
                break
    assert len(made) == len(records)
    found = verifier.judge([record for record, _ in made])
    return [
        Altered(record, position, verdict)
        for (record, position), verdict in zip(made, found.records, strict=True)
    ]  # fmt: skip


def test_honest_answers_under_grammars_are_clear(verifier: Verifier, honest: list[Record]) -> None:
    found = verifier.judge(honest)
    assert not any(verdict.flagged for verdict in found.records)
    assert not any(verdict.tokens.outside_grammar.any() for verdict in found.records)
    assert found.charges.mismatches_r.sum() <= 0.1 * found.charges.tokens_r.sum()
    # The grammar is why: without it the replay finds other tokens likely.
    without = verifier.judge([record.model_copy(update={"grammar": None}) for record in honest])
    assert without.charges.mismatches_r.sum() > 2 * found.charges.mismatches_r.sum()
    assert without.charges.pooled_bits > 5 * found.charges.pooled_bits


def test_a_token_that_the_grammar_forbids_flags_its_record_with_the_reason(
    verifier: Verifier, matchers: GrammarMatchers, honest: list[Record]
) -> None:
    for one in altered(verifier, matchers, honest, allowed=False, seed=1):
        assert one.verdict.flagged
        assert one.verdict.p_value == 0
        assert any(reason.startswith("outside the grammar") for reason in one.verdict.reasons)
        assert one.at_token("outside_grammar")
        assert one.at_token("verdict") == Verdict.DANGEROUS
        assert not one.verdict.tokens.outside_grammar[: one.position].any()


def test_values_swapped_for_others_that_the_grammar_allows_are_charged_and_flag_the_run(
    verifier: Verifier, matchers: GrammarMatchers, honest: list[Record]
) -> None:
    swapped = altered(verifier, matchers, honest, allowed=True, seed=2)
    for one in swapped:
        assert not one.verdict.tokens.outside_grammar.any()
        assert not one.at_token("exact")
        assert one.at_token("verdict") != Verdict.SAFE
        assert one.at_token("charged_bits") > 1
    assert sum(one.at_token("verdict") == Verdict.DANGEROUS for one in swapped) >= len(swapped) // 2
    # A lone token may flag no record of its own, and so many of them flag the run.
    found = verifier.verify([one.record for one in swapped])
    assert found.outlying > 10 * found.honest_outlying
    assert found.run_p_value <= RUN_ALARM_LEVEL


def test_another_tool_is_caught_by_its_name_and_by_its_arguments(
    verifier: Verifier, replayer: TransformersReplayer
) -> None:
    calls = [
        record
        for record in records_of(CONSTRAINED)
        if record.grammar is not None
        and record.grammar.text.startswith('start: "<tool_call>')
        and _named(replayer, record)
    ][:3]
    assert len(calls) == 3
    assert not any(verdict.flagged for verdict in verifier.judge(calls).records)
    changed, only_name = [], []
    for record in calls:
        text = "".join(map(replayer.tokenizer.token_text, record.output_token_ids[:-1]))
        old = _named(replayer, record)
        before, after = text.split(old, 1)
        new = NAMES[1 - NAMES.index(old)]
        ids = replayer.tokenizer.encode(before + new + after, add_special_tokens=False)
        changed.append(record.model_copy(update={"output_token_ids": [*ids, record.output_token_ids[-1]]}))
        cut = replayer.tokenizer.encode(before + new + '"', add_special_tokens=False)
        sampling = record.sampling.model_copy(update={"max_tokens": len(cut)})
        only_name.append(record.model_copy(
            update={"output_token_ids": cut, "finish_reason": "length", "sampling": sampling}
        ))  # fmt: skip
    # The other tool has other arguments: what follows is outside.
    for verdict in verifier.judge(changed).records:
        assert verdict.flagged
        assert verdict.tokens.outside_grammar.any()
    # The name alone, which the grammar allows, is none that the seed draws.
    for verdict in verifier.judge(only_name).records:
        assert not verdict.tokens.outside_grammar.any()
        assert (verdict.tokens.verdict != Verdict.SAFE).any()


def _named(replayer: TransformersReplayer, record: Record) -> str:
    """The tool that a whole recorded call names, or "" for another answer."""
    text = "".join(map(replayer.tokenizer.token_text, record.output_token_ids[:-1]))
    if not (text.startswith("<tool_call>") and text.endswith("</tool_call>")):
        return ""
    name: str = json.loads(text.removeprefix("<tool_call>").removesuffix("</tool_call>"))["name"]
    return name
