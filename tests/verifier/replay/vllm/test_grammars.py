"""Exact replay of answers under grammars: the server tells unmasked logits, and draws again with the grammar."""

import functools
from typing import Any

import numpy as np
import pytest

from tests.verifier.candidates.drawn_masks import DrawnMasks, allowed_tokens
from tests.verifier.replay.vllm.small_server import Behaviour, V, logits_after, record
from tests.verifier.replay.vllm.test_replayer import KINDS, altered, greedy_policy, replayer
from weightwarden.logger.record import Record
from weightwarden.verifier.policy.exact import EXACT_TOLERANCE
from weightwarden.verifier.scoring.token_verdicts import Verdict
from weightwarden.verifier.verification.judgement import Judgement
from weightwarden.verifier.verification.verifier import Verifier

COUNT = 12


@functools.cache
def honest(kind: str) -> list[Record]:
    return [record([5, 6, i], seed=100 + i, count=COUNT, expression=f"expression {i}", **KINDS[kind]) for i in range(8)]


def judged(records: list[Record], behaviour: Behaviour | None = None, **options: Any) -> Judgement:
    policy = greedy_policy()
    with replayer(behaviour or Behaviour(), policy, **options) as some:
        return Verifier(some, policy, grammars=DrawnMasks(V)).judge(records)


def place_of(one: Record, at: int, *, allowed: bool) -> int:
    """The likeliest other token at a position, allowed by the grammar or not."""
    assert one.grammar is not None
    may = allowed_tokens(one.grammar.text, at, V) == allowed
    may[one.output_token_ids[at]] = False
    logits = logits_after([*one.prompt_token_ids, *one.output_token_ids[:at]])
    return int(np.where(may, logits, -np.inf).argmax())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("most", [V, 64])
def test_honest_answers_under_grammars_are_equal_token_for_token_with_nothing_left_open(kind: str, most: int) -> None:
    behaviour = Behaviour(most=most)
    found = judged(honest(kind), behaviour)
    for verdict in found.records:
        assert not verdict.flagged
        assert verdict.tokens.exact.all()
        assert not verdict.tokens.unseen.any()
        assert not verdict.tokens.outside_grammar.any()
    again = [body for body in behaviour.asked if body.get("return_token_ids")]
    texts = {body["structured_outputs"]["regex"] for body in again}
    assert texts <= {one.grammar.text for one in honest(kind) if one.grammar}
    assert len(again) == len(texts)


@pytest.mark.parametrize("kind", KINDS)
def test_without_the_grammar_the_same_answers_would_be_flagged(kind: str) -> None:
    found = judged([one.model_copy(update={"grammar": None}) for one in honest(kind)])
    assert all(verdict.flagged for verdict in found.records)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("redraw", [True, False])
def test_a_token_that_the_grammar_excludes_is_outside_and_one_that_it_allows_is_caught_by_the_replay(
    kind: str, redraw: bool
) -> None:
    for allowed in (True, False):
        tampered, places = [], []
        for one in honest(kind):
            at = next(t for t in (1, 2, 6) if t < len(one.output_token_ids))
            tampered.append(altered(one, at, place_of(one, at, allowed=allowed)))
            places.append(at)
        found = judged(tampered, redraw=redraw)
        for verdict, at in zip(found.records, places, strict=True):
            assert verdict.tokens.outside_grammar.any() != allowed
            assert verdict.flagged
            if not allowed:
                assert verdict.tokens.verdict[at] == Verdict.DANGEROUS
                assert any(reason.startswith("outside the grammar:") for reason in verdict.reasons)
            else:
                assert verdict.tokens.margin[at] > EXACT_TOLERANCE.margin


def test_without_drawing_again_few_known_logits_are_charged_and_never_flagged() -> None:
    found = judged(honest("unfiltered"), Behaviour(most=64), redraw=False)
    alone = [
        allowed_tokens(one.grammar.text, at, V).sum() == 1
        for one in honest("unfiltered")
        if one.grammar
        for at in range(len(one.output_token_ids))
    ]
    for verdict in found.records:
        assert not verdict.flagged
    bits = np.concatenate([verdict.tokens.charged_bits for verdict in found.records])
    assert (bits[alone] == 0).all()
    assert (bits <= np.log2(V)).all()
    assert bits.sum() > 0
