"""Grammars of every kind, each with questions that suit it."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["json", "regex", "choice", "grammar"]
SAMPLINGS: dict[str, dict[str, Any]] = {
    "unfiltered": {"temperature": 1.0},
    "top-p and top-k": {"temperature": 1.0, "top_p": 0.95, "top_k": 50},
    "cool": {"temperature": 0.7, "top_p": 0.9},
    "greedy": {"temperature": 0.0},
}


@dataclass(frozen=True)
class Example:
    """A grammar and questions.

    Attributes:
        name: name of the grammar, in a few words.
        kind: language of the text (`weightwarden.logger.record.Grammar`).
        text: the text, as it is sent to the engine.
        questions: questions of a user.
        system: system message, or "" for none.
    """

    name: str
    kind: Kind
    text: str
    questions: tuple[str, ...]
    system: str = ""

    @property
    def group(self) -> str:
        """Kind in the words of a report."""
        return {"json": "JSON schema", "regex": "regular expression", "choice": "choice", "grammar": "Lark"}[self.kind]

    def messages(self, question: str) -> list[dict[str, str]]:
        """The chat in which a question is asked."""
        system = [{"role": "system", "content": self.system}] if self.system else []
        return [*system, {"role": "user", "content": question}]


def _asked(form: str, subjects: Iterable[str]) -> tuple[str, ...]:
    return tuple(form.format(subject) for subject in subjects)


def _object(properties: dict[str, Any], *, required: Sequence[str] | None = None, **more: Any) -> dict[str, Any]:
    names = list(properties) if required is None else list(required)
    return {"type": "object", "properties": properties, "required": names, "additionalProperties": False} | more


def _schema(name: str, schema: dict[str, Any], form: str, subjects: Iterable[str]) -> Example:
    return Example(name, "json", json.dumps(schema), _asked(form, subjects))


STRING: dict[str, Any] = {"type": "string"}
PEOPLE = ("a gardener", "a sailor from Lisbon", "a young chemist", "a retired judge", "a jazz drummer")
CALL_SCHEMAS = (
    _object({"name": {"const": "get_weather"}, "arguments": _object({"city": STRING, "days": {"type": "integer"}})}),
    _object({"name": {"const": "send_mail"}, "arguments": _object({"to": STRING, "subject": STRING, "body": STRING})}),
)
_TOOLS = (
    "You can call two tools: get_weather(city, days) and send_mail(to, subject, body). To call one, answer with"
    ' <tool_call>\n{"name": ..., "arguments": {...}}\n</tool_call>.'
)
_CALLS = "call: c1 | c2\n" + "\n".join(
    f"c{at}: %json {json.dumps(schema)}" for at, schema in enumerate(CALL_SCHEMAS, start=1)
)
_ERRANDS = (
    *("What will the weather be in Oslo for the next three days?", "Write to ana@example.org that I am late."),
    *("Should I take an umbrella to Nairobi this week?", "Tell my landlord (joe@example.com) that the sink leaks."),
    "Who wrote Don Quixote?",
)
_VERDICT = _object({"verdict": {"enum": ["true", "false", "unclear"]}, "why": {"type": "string", "maxLength": 60}})

SCHEMAS = (
    _schema(
        "flat object",
        _object({"name": STRING, "age": {"type": "integer", "minimum": 0, "maximum": 120}, "city": STRING}),
        "Make up {}: give name, age and city as JSON.",
        PEOPLE,
    ),
    _schema(
        "enum and boolean",
        _object({"mood": {"enum": ["positive", "negative", "neutral", "mixed"]}, "certain": {"type": "boolean"}}),
        "What is the mood of this review? {} Answer in JSON.",
        (
            *("The soup was cold.", "A lovely evening, we will come back!", "It was food.", "Never again."),
            "Great music, terrible chairs.",
        ),
    ),
    _schema(
        "array",
        _object({"items": {"type": "array", "items": STRING, "minItems": 2, "maxItems": 6}}),
        "List {} as JSON.",
        ("things to pack for the sea", "names for a cat", "rivers of Europe", "random fruit", "steps to make tea"),
    ),
    _schema(
        "nested object",
        _object(
            {
                "order": {"type": "integer"},
                "customer": _object({"name": STRING, "address": _object({"street": STRING, "zip": STRING})}),
                "paid": {"type": "boolean"},
            }
        ),
        "Make up an order by {} as JSON.",
        PEOPLE,
    ),
    _schema(
        "numbers with ranges",
        _object(
            {
                "celsius": {"type": "number", "minimum": -60, "maximum": 60},
                "humidity": {"type": "integer", "minimum": 0, "maximum": 100},
                "wind": {"type": "number", "exclusiveMinimum": 0, "maximum": 120},
            }
        ),
        "Guess the weather in {} today, as JSON.",
        ("Cairo", "Reykjavik", "Singapore", "a cave", "Lima"),
    ),
    _schema(
        "$ref",
        {
            "$defs": {
                "part": _object(
                    {"label": STRING, "parts": {"type": "array", "items": {"$ref": "#/$defs/part"}, "maxItems": 2}}
                )
            },
            "$ref": "#/$defs/part",
        },
        "Describe the parts of {} as a tree in JSON.",
        ("a bicycle", "a house", "a flower", "an orchestra", "a ship"),
    ),
    _schema(
        "anyOf",
        _object(
            {
                "value": {
                    "anyOf": [{"type": "integer"}, STRING, {"type": "null"}, _object({"low": STRING, "high": STRING})]
                }
            }
        ),
        "{} Answer as JSON with one value.",
        (
            *("How many legs has a spider?", "What is the capital of Chile?", "Who will win the next war?"),
            *("Between which years did Mozart live?", "What is the square root of 81?"),
        ),
    ),
    _schema(
        "optional and free keys",
        {
            "type": "object",
            "properties": {"title": STRING, "year": {"type": "integer"}},
            "required": ["title"],
            "additionalProperties": {"type": ["string", "number", "boolean"]},
        },
        "Give facts about {} as a JSON object.",
        ("a film you like", "the Eiffel tower", "a book on whales", "the moon landing", "an opera"),
    ),
    _schema(
        "string lengths and pattern",
        _object(
            {
                "login": {"type": "string", "minLength": 3, "maxLength": 10},
                "code": {"type": "string", "pattern": "^[A-Z]{2}-[0-9]{4}$"},
                "motto": {"type": "string", "minLength": 10, "maxLength": 40},
            }
        ),
        "Make up an account for {}: login, code and motto as JSON.",
        PEOPLE,
    ),
    _schema(
        "any object",
        {"type": "object"},
        "Write a small JSON object about {}.",
        ("bread", "an island", "a chess opening", "your day", "the number seven"),
    ),
)
EXPRESSIONS = (
    Example("date", "regex", r"(19|20)\d\d-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])", _asked(
        "When was {}? Answer with a date like 1999-12-31.",
        ("the moon landing", "the fall of the Berlin wall", "your birthday", "the last eclipse", "the first flight"),
    )),
    Example("mail address", "regex", r"[a-z]{3,12}(\.[a-z]{3,12})?@[a-z]{3,12}\.(com|org|net)", _asked(
        "Make up a mail address for {}.", PEOPLE
    )),
    Example("three sentences", "regex", r"([A-Z][a-z ,']{10,60}\. ){3}End\.", _asked(
        "Tell me about {} in three sentences.", ("rain", "a lighthouse", "bees", "the desert", "an old clock")
    )),
)  # fmt: skip
CHOICES = (
    Example("yes or no", "choice", json.dumps(["yes", "no", "not known"]), _asked(
        "{} Answer yes, no or not known.",
        ("Is the sea salty?", "Do owls sing?", "Will it rain?", "Is 91 a prime number?", "Can glass bend?"),
    )),
    Example("long choice", "choice", json.dumps([f"I would choose {thing}." for thing in (
        *("red", "redder than red", "blue", "a deep blue", "green", "the green of moss", "white", "black", "nothing"),
    )]), _asked("Which colour would {} choose?", PEOPLE)),
)  # fmt: skip
LARK = (
    Example("tool call", "grammar", f'start: "<tool_call>\\n" call "\\n</tool_call>"\n{_CALLS}\n', _ERRANDS, _TOOLS),
    Example(
        "text or tool call", "grammar",
        f'start: /[^<]*/ | "<tool_call>\\n" call "\\n</tool_call>"\n{_CALLS}\n', _ERRANDS, _TOOLS,
    ),
    Example(
        "thinking, then JSON", "grammar",
        f"start: think ans\nthink[lazy]: /(.|\\n){{1,120}}<\\/think>/\nans: %json {json.dumps(_VERDICT)}\n",
        _asked(
            "Think first, write </think>, then answer in JSON: is it true that {}?",
            ("the earth is flat", "snow is cold", "cats can fly", "Paris is in France", "seven is even"),
        ),
    ),
)  # fmt: skip
FREE_KEYS = _schema(
    "free keys",
    {
        "type": "object",
        "additionalProperties": {"type": "integer", "minimum": 0, "maximum": 99},
        "minProperties": 3,
        "maxProperties": 4,
    },
    "How many {} are there? Count three kinds, as JSON.",
    ("animals on a farm", "books in a study", "tools in a shed", "people in a village", "coins in a purse"),
)
EXAMPLES = (*SCHEMAS, *EXPRESSIONS, *CHOICES, *LARK, FREE_KEYS)
