"""Grammars of each kind, with answers of the length and content that real traffic has."""

import json
import random
from dataclasses import dataclass

from tokenizers import Tokenizer

_WORDS = (
    *("order", "customer", "shipped", "late", "package", "address", "weather", "city", "train", "ticket", "flight"),
    *("hotel", "price", "table", "because", "within", "before", "after", "morning", "evening", "invoice", "refund"),
    *("question", "answer", "happy", "tired", "quick", "slow", "system", "error", "report", "week"),
)
_ORDER = {
    "type": "object",
    "properties": {
        "id": {"type": "integer"},
        "customer": {"type": "string"},
        "status": {"enum": ["open", "shipped", "returned"]},
        "total": {"type": "number"},
        "notes": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["id", "customer", "status", "total", "notes"],
    "additionalProperties": False,
}
_CALL = {
    "type": "object",
    "properties": {"name": {"const": "search_orders"}, "arguments": {"type": "array", "items": _ORDER}},
    "required": ["name", "arguments"],
    "additionalProperties": False,
}


@dataclass(frozen=True)
class GrammarAnswer:
    """An answer under a grammar.

    Attributes:
        name: the kind of traffic.
        kind: kind of the grammar.
        text: its text.
        answer: the answer's text.
    """

    name: str
    kind: str
    text: str
    answer: str


def grammar_answers(tokenizer: Tokenizer, seed: int) -> list[GrammarAnswer]:
    """One answer of each kind of traffic, with markers as the tokenizer has them."""
    drawn = random.Random(seed)  # noqa: S311  (no secret)
    orders = [_order(drawn) for _ in range(8)]
    call = {"name": "search_orders", "arguments": orders[:3]}
    thinking = ". ".join(_sentence(drawn, 12) for _ in range(20))
    listed = {"type": "array", "items": _ORDER}
    begin, end, thought = (_marker(tokenizer, text) for text in ("<tool_call>", "</tool_call>", "</think>"))
    marked = f'start: {begin} "\\n" call "\\n" {end}\ncall: %json {json.dumps(_CALL)}'
    reasons = f"start: think {thought} ans\nthink: /[^<]*/\nans: %json {json.dumps(_ORDER)}"
    return [
        GrammarAnswer("JSON schema", "json", json.dumps(listed), json.dumps(orders)),
        GrammarAnswer("any JSON object", "json", '{"type": "object"}', json.dumps({"orders": orders}, indent=2)),
        GrammarAnswer("tool call (Lark)", "grammar", marked, f"<tool_call>\n{json.dumps(call)}\n</tool_call>"),
        GrammarAnswer("reasoning, then JSON (Lark)", "grammar", reasons, f"{thinking}</think>{json.dumps(orders[0])}"),
        GrammarAnswer("regular expression", "regex", r"[a-z]+( [a-z]+){5,200}", _sentence(drawn, 120)),
        GrammarAnswer("choice", "choice", json.dumps(["positive", "negative", "neutral"]), "neutral"),
    ]


def _marker(tokenizer: Tokenizer, text: str) -> str:
    """A marker in Lark: a special token by its id, since llguidance never matches one by text; else the text."""
    token = tokenizer.token_to_id(text)
    return json.dumps(text) if token is None else f"<[{token}]>"


def _order(drawn: random.Random) -> dict[str, object]:
    return {
        "id": drawn.randrange(10**6),
        "customer": " ".join(drawn.choices(_WORDS, k=2)).title(),
        "status": drawn.choice(["open", "shipped", "returned"]),
        "total": round(drawn.uniform(1, 500), 2),
        "notes": [_sentence(drawn, 8) for _ in range(2)],
    }


def _sentence(drawn: random.Random, words: int) -> str:
    return " ".join(drawn.choices(_WORDS, k=words))
