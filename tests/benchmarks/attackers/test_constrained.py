"""Attackers of answers under grammars carry payload out within the grammar, and no more than the bound."""

from collections.abc import Callable, Sequence

import pytest

from benchmarks.attackers.__main__ import Setting
from benchmarks.attackers.constrained import FreePart, KeyOrder, in_arguments, in_json_string, in_thinking
from benchmarks.attackers.interface import Attacker, Outside, Site
from benchmarks.attackers.payload_dump import PayloadDump
from benchmarks.attackers.results import LUCK_BITS
from benchmarks.grammars.examples import EXAMPLES
from weightwarden.logger.record import Record
from weightwarden.verifier.replay.transformers.replayer import TransformersReplayer
from weightwarden.verifier.verification.judgement import Judgement
from weightwarden.verifier.verification.verifier import Verifier

pytestmark = pytest.mark.slow

SETTING = Setting(records=3, calibration=0, tokens=32, seed=6, grammars=True)
KIND_OF = {example.text: example.name for example in EXAMPLES}


def _requests(*names: str) -> list[Record]:
    prompts = [
        record for record in SETTING.prompts() if record.grammar is not None and KIND_OF[record.grammar.text] in names
    ]
    return SETTING.requests(prompts, "tests", SETTING.records)


def _served(
    attacker: Attacker, requests: Sequence[Record], site: Site, outside: Outside, verifier: Verifier
) -> tuple[float, Judgement]:
    """The bits that arrived, and the verdicts."""
    records = attacker.serve(site, requests)
    return site.payload.arrived(attacker.decode(outside, records)), verifier.judge(records)


def _bound(judged: Judgement) -> float:
    return min(judged.charges.counting_bits, judged.charges.pooled_bits) + LUCK_BITS


def _outside(judged: Judgement) -> int:
    return sum(int(record.tokens.outside_grammar.sum()) for record in judged.records)


@pytest.mark.parametrize(
    ("example", "inside"),
    [("optional and free keys", in_json_string), ("tool call", in_arguments), ("thinking, then JSON", in_thinking)],
)
def test_what_the_grammar_leaves_free_carries_payload_and_is_charged(
    example: str,
    inside: Callable[[str], bool],
    site: Site,
    outside: Outside,
    verifier: Verifier,
    replayer: TransformersReplayer,
) -> None:
    attacker = FreePart(replayer.tokenizer, example, inside)
    bits, judged = _served(attacker, _requests(example), site, outside, verifier)
    assert bits > 4
    assert bits <= _bound(judged)
    assert not _outside(judged)
    assert judged.charges.mismatches_r.sum() >= 3


def test_alternatives_by_honest_odds_carry_no_more_than_the_bound(
    site: Site, outside: Outside, verifier: Verifier, replayer: TransformersReplayer
) -> None:
    attacker = FreePart(replayer.tokenizer, "thinking", in_thinking, quiet=True)
    bits, judged = _served(attacker, _requests("thinking, then JSON"), site, outside, verifier)
    assert bits <= _bound(judged)
    assert not _outside(judged)


def test_an_order_of_keys_that_the_grammar_allows_is_read_from_the_text_and_charged(
    site: Site, outside: Outside, verifier: Verifier, replayer: TransformersReplayer
) -> None:
    attacker = KeyOrder(replayer.tokenizer)
    bits, judged = _served(attacker, _requests("free keys"), site, outside, verifier)
    assert bits <= _bound(judged)
    assert not _outside(judged)


def test_a_payload_dump_is_outside_the_grammar(site: Site, outside: Outside, verifier: Verifier) -> None:
    bits, judged = _served(PayloadDump(), _requests("flat object"), site, outside, verifier)
    assert bits <= _bound(judged)
    assert _outside(judged) == SETTING.records
    assert all(record.flagged for record in judged.records)


@pytest.mark.parametrize(
    ("inside", "text", "expected"),
    [
        (in_json_string, 'a "quoted" word, "', False),
        (in_json_string, '{"na', True),
        (in_json_string, '{"name": ', False),
        (in_json_string, '{"name": "A \\"', True),
        (in_json_string, '{"name": "A \\\\"', False),
        (in_arguments, '<tool_call>{"name": "a", "arguments": {', True),
        (in_arguments, '<tool_call>{"name": "', False),
        (in_thinking, "Let me see", True),
        (in_thinking, "Let me see</think>{", False),
        (in_thinking, '{"a', False),
    ],
)
def test_parts_of_an_answer_so_far(inside: Callable[[str], bool], text: str, expected: bool) -> None:
    assert inside(text) is expected
