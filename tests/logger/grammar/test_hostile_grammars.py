"""Grammars whose authors mean harm: each is refused, or compiled, in bounded time, and the next one is served."""

import json
import random
from typing import Any

import pytest

from tests.logger.grammar.examples import PERSON
from weightwarden.logger.grammar.errors import GrammarRefused
from weightwarden.logger.grammar.process import GrammarProcess
from weightwarden.logger.record import MAX_GRAMMAR_CHARACTERS

_CHAIN = "\n".join(f"a{at}: a{at + 1} a{at + 1}" for at in range(50))
_DOUBLING: dict[str, Any] = {
    "$ref": "#/$defs/a0",
    "$defs": {
        f"a{at}": {"properties": {"x": {"$ref": f"#/$defs/a{at + 1}"}, "y": {"$ref": f"#/$defs/a{at + 1}"}}}
        for at in range(60)
    }
    | {"a60": {"type": "string"}},
}
_CROSSED = {"allOf": [{"anyOf": [{"properties": {f"p{i}{j}": {"const": j}}} for j in range(4)]} for i in range(12)]}
_PRODUCT = {"allOf": [{"type": "integer", "multipleOf": prime} for prime in (9973, 9967, 9949)]}
_MANY = {"type": "object", "properties": {f"k{i}": {"enum": [f"v{j}" for j in range(20)]} for i in range(1000)}}

REFUSED = [
    ("json", "[" * 100_000 + "]" * 100_000, "nested"),
    ("json", '{"items":' * 65 + "{}" + "}" * 65, "more than 64 levels"),
    ("json", '{"items":' * 20_000, "nested too deeply|cannot be compiled"),
    ("json", "{", "JSON schema cannot be compiled"),
    ("json", " ", "empty"),
    ("json", "[]", "JSON schema cannot be compiled"),
    ("json", '{"type": "thing"}', "JSON schema cannot be compiled"),
    ("json", '{"$ref": "#"}', "no answer fits it"),
    ("json", '{"$ref": "http://example.org/schema.json"}', "JSON schema cannot be compiled"),
    ("json", '{"const": "\\ud800"}', "JSON schema cannot be compiled"),
    ("json", json.dumps(_CROSSED), "JSON schema cannot be compiled: schema too large"),
    ("json", json.dumps(_PRODUCT), "JSON schema cannot be compiled"),
    ("json", json.dumps(_MANY), "JSON schema cannot be compiled"),
    ("json", "true", "JSON schema cannot be compiled"),
    ("regex", "(a{1000}){1000}", "regular expression cannot be compiled|takes longer than"),
    ("regex", "(" * 100_000 + "a" + ")" * 100_000, "regular expression cannot be compiled"),
    ("regex", "(a|aa)*(b|bb)*" * 500, "regular expression cannot be compiled"),
    ("regex", "a\0b", "NUL"),
    ("regex", "(?=a)b", "regular expression cannot be compiled"),
    ("regex", "(", "unclosed group"),
    ("choice", json.dumps([f"choice {at}" for at in range(10_000)]), "choice cannot be compiled"),
    ("choice", json.dumps([f"{at}" for at in range(100_000)]), "more than 262144"),
    ("choice", "[]", "one or more strings"),
    ("choice", '["a", 1]', "one or more strings"),
    ("choice", '{"a": 1}', "one or more strings"),
    ("choice", '["\\ud800"]', "choice cannot be compiled"),
    ("grammar", 'start: start "a"', "no answer fits it"),
    ("grammar", f'start: a0\n{_CHAIN}\na50: "x"', "grammar cannot be compiled"),
    ("grammar", 'start: a{100000}\na: "x"', "grammar cannot be compiled"),
    ("grammar", "start: " + "(" * 5000 + '"a"' + ")" * 5000, "grammar cannot be compiled"),
    ("grammar", "start: nothing", 'unknown name: "nothing"'),
    ("grammar", "root ::= " * 1000, "grammar cannot be compiled"),
    ("grammar", 'start: "a" <|no_such_token|>', "grammar cannot be compiled"),
    ("grammar", "", "empty"),
    ("regex", "x" * (MAX_GRAMMAR_CHARACTERS + 1), "more than 262144"),
    ("regex", "\ud800", "not Unicode"),
]
COMPILED = [
    ("json", json.dumps(_DOUBLING)),
    ("json", '{"type": "string", "maxLength": 1000000000}'),
    ("json", '{"type": "array", "minItems": 100000, "items": {"type": "integer"}}'),
    ("json", '{"type": "string", "pattern": "(a{1000}){1000}"}'),
    ("regex", "(.*a){30}(.*b){30}"),
    ("regex", "(?:(?:(?:a|b|c)*){1,50}){1,50}x"),
    ("regex", ".*" * 200),
    ("grammar", 'start: start "a" | "a"'),
    ("grammar", "start: <|im_start|> /[a-z]+/"),
]


@pytest.mark.parametrize(("kind", "text", "why"), REFUSED)
def test_a_hostile_grammar_is_refused_and_the_next_one_compiles(
    process: GrammarProcess, kind: str, text: str, why: str
) -> None:
    with pytest.raises(GrammarRefused, match=why) as caught:
        process.check(kind, text)
    assert len(str(caught.value)) < 300
    assert str(caught.value).isprintable()
    assert process.masks("json", PERSON, [2]).outside_at == 0


@pytest.mark.parametrize(("kind", "text"), COMPILED)
def test_a_costly_grammar_within_the_limits_compiles(process: GrammarProcess, kind: str, text: str) -> None:
    process.check(kind, text)


def test_masks_of_an_invalid_grammar_are_refused(process: GrammarProcess) -> None:
    with pytest.raises(GrammarRefused, match="unclosed group"):
        process.masks("regex", "(", [5])


def test_random_texts_never_end_the_process(process: GrammarProcess) -> None:
    """Seed 5: mutations of valid grammars, and random characters."""
    drawn = random.Random(5)
    bases = [PERSON, r"([a-z]+|[0-9]{2,5})*", '["a", "b"]', 'start: a "b"\na: /[a-z]*/ | %json {"type": "object"}']
    kinds = ["json", "regex", "choice", "grammar"]
    refused = 0
    for _ in range(300):
        at = drawn.randrange(4)
        text = list(bases[at])
        for _ in range(drawn.randrange(1, 6)):
            text[drawn.randrange(len(text))] = chr(drawn.choice([drawn.randrange(128), drawn.randrange(0xD000)]))
        try:
            process.check(kinds[at], "".join(text))
        except GrammarRefused as error:
            refused += "ends its compiler" not in str(error)
    assert 50 < refused < 300
    assert process.masks("json", PERSON, [2]).outside_at == 0
