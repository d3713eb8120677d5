"""Grammars of the benchmarks: of every kind, compiled as the engine compiles them, and kept by its recorded answers."""

import pytest

from benchmarks.grammars.bits import halves
from benchmarks.grammars.examples import EXAMPLES, EXPRESSIONS, SAMPLINGS, SCHEMAS
from benchmarks.grammars.matchers import GrammarMatchers
from benchmarks.repository import CONSTRAINED
from tests.recorded import records_of
from weightwarden.logger.record import Grammar, Record
from weightwarden.verifier.replay.transformers.replayer import TransformersReplayer


@pytest.fixture(scope="module")
def matchers(replayer: TransformersReplayer) -> GrammarMatchers:
    return GrammarMatchers(replayer.identity)


@pytest.fixture(scope="module")
def recorded() -> list[Record]:
    return records_of(CONSTRAINED)


def test_examples_are_of_every_kind_and_all_are_recorded(recorded: list[Record]) -> None:
    assert len(SCHEMAS) >= 10
    assert len(EXPRESSIONS) >= 3
    assert {example.kind for example in EXAMPLES} == {"json", "regex", "choice", "grammar"}
    assert {record.grammar.text for record in recorded if record.grammar is not None} == {
        example.text for example in EXAMPLES
    }
    assert len(recorded) == 2 * len(EXAMPLES) * len(SAMPLINGS)


def test_no_recorded_token_is_outside_its_grammar(matchers: GrammarMatchers, recorded: list[Record]) -> None:
    allowed = forced = 0
    for record in recorded:
        assert record.grammar is not None
        counts_m = matchers.allowed_count(record.grammar, record.output_token_ids)
        assert len(counts_m) == len(record.output_token_ids)  # it ends at the first token outside
        assert (counts_m >= 1).all()
        allowed += len(counts_m)
        forced += int((counts_m == 1).sum())
    assert allowed > 5000
    assert forced > 0.1 * allowed


def test_a_count_ends_at_the_first_token_outside(matchers: GrammarMatchers) -> None:
    yes_or_no = Grammar(kind="regex", text="a{3}", backend="guidance", version="1.7.6")
    counts_m = matchers.allowed_count(yes_or_no, [100, 100, 100])
    assert len(counts_m) == 1


def test_no_prompt_both_calibrates_and_is_judged(recorded: list[Record]) -> None:
    fitting, judging = halves(recorded)
    prompts = [{tuple(recorded[at].prompt_token_ids) for at in part} for part in (fitting, judging)]
    assert sorted([*fitting, *judging]) == [*range(len(recorded))]
    assert not prompts[0] & prompts[1]
    assert min(len(fitting), len(judging)) > 0.3 * len(recorded)


def test_no_white_space_comes_before_a_value_of_two_schemas(
    matchers: GrammarMatchers, replayer: TransformersReplayer
) -> None:
    # As llguidance 1.7 of vLLM 0.32 has it. 1.9.1 allows white space there: then the replay draws other tokens.
    call = next(example for example in EXAMPLES if example.name == "tool call")
    grammar = Grammar(kind="grammar", text=call.text, backend="guidance", version="1.7.6")
    ids = replayer.tokenizer.encode('<tool_call>\n{"', add_special_tokens=False)
    before = replayer.tokenizer.encode("<tool_call>\n", add_special_tokens=False)
    assert ids[: len(before)] == before
    assert matchers.allowed_count(grammar, ids)[len(before)] == 2
