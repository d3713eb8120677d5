"""Random answers: markers and text in any order, and fixtures with changes."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from benchmarks.reading.fixtures import Case
from benchmarks.reading.parsed import Parsed, parsed, read_parts, split
from weightwarden.logger.sidecar.reading.parts import AnswerPart, CallArguments, CallBegin
from weightwarden.logger.sidecar.reading.reader import reader_of

_TEXTS = [
    *(
        "f",
        "a",
        "o",
        "n",
        " ",
        "\n",
        "{",
        "}",
        "[",
        "]",
        '"',
        ":",
        ",",
        "\\",
        "1",
        "-",
        "true",
        "null",
        "text ",
        "é",
        "<",
    ),
    *('{"a": 1}', '{"name": "f", "arguments": {"a": "b"}}', '"name": "f"', '"arguments": ', "<think>", "</think>"),
    *("<|im_end|>", "functions.f:0"),
]
MARKERS = {
    "hermes": ["<tool_call>", "</tool_call>"],
    "llama3_json": ["<|python_tag|>", '{"name": "f", "parameters": {"a": 1}}', ";"],
    "qwen3_coder": [
        *("<tool_call>", "</tool_call>", "<function=f>", "</function>", "<function="),
        *("<parameter=a>", "<parameter=o>", "</parameter>", "\n</parameter>"),
    ],
    "mistral": ["[TOOL_CALLS]", "[TOOL_CALLS]f[ARGS]", "[ARGS]", "[CALL_ID]", "[THINK]", "[/THINK]"],
    "deepseek_v31": [
        *(
            "<｜tool▁calls▁begin｜>",
            "<｜tool▁call▁begin｜>",
            "<｜tool▁sep｜>",
            "<｜tool▁call▁end｜>",
            "<｜tool▁calls▁end｜>",
        ),
    ],
    "deepseek_v32": [
        *(
            "<｜DSML｜function_calls>",
            "</｜DSML｜function_calls>",
            '<｜DSML｜invoke name="',
            'f">',
            "</｜DSML｜invoke>",
        ),
        *('<｜DSML｜parameter name="', 'a" string="true">', 'a" string="false">', "</｜DSML｜parameter>", '"/>'),
    ],
    "kimi_k2": [
        *("<|tool_calls_section_begin|>", "<|tool_call_begin|>", "<|tool_call_argument_begin|>", "<|tool_call_end|>"),
        "<|tool_calls_section_end|>",
    ],
    "glm": ["<tool_call>f", "<tool_call>", "</tool_call>", "<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>"],
    "harmony": [
        *("<|start|>assistant", "<|channel|>", "<|constrain|>", "<|message|>", "<|end|>", "<|call|>", "<|return|>"),
        *("<|channel|>analysis", "<|channel|>final", "<|channel|>commentary to=functions.f", " to=python"),
    ],
}
"""Markers of each family, and texts with markers."""
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "f",
            "parameters": {
                "properties": {"a": {"type": "string"}, "o": {"type": "object"}, "n": {"type": ["integer", "null"]}}
            },
        },
    }
]
_VERBATIM = frozenset({"hermes", "llama3_json", "mistral", "deepseek_v31", "kimi_k2", "harmony"})
"""Families whose arguments are JSON in the answer."""


@dataclass(frozen=True)
class RandomInput:
    """A random answer.

    Attributes:
        text: its text.
        family: family of the tool calls.
        reasoning: family of the reasoning, or None.
        prompt: end of the rendered prompt.
        whole_calls: whether a call begins only once it is complete.
    """

    text: str
    family: str
    reasoning: str | None
    prompt: str
    whole_calls: bool

    def parts(self, pieces: list[str], rest: str = "") -> list[AnswerPart]:
        """The parts of the answer in these pieces."""
        reader = reader_of(
            *(self.family, self.reasoning, TOOLS, self.prompt),
            whole_calls=self.whole_calls,
            dropped=("<|im_end|>",),
        )
        return read_parts(reader, pieces, rest)


def random_inputs(cases: list[Case], random: Random) -> Iterator[RandomInput]:
    """Random answers without end: one half from markers and text, the other fixtures with changes."""
    families = sorted(MARKERS)
    while True:
        whole, reasoning = random.random() < 0.4, random.choice((None, "think", "mistral", "harmony"))
        if random.random() < 0.5:
            family = random.choice(families)
            texts = _TEXTS + MARKERS[family] * 3
            text = "".join(random.choices(texts, k=random.randint(0, 40)))
            yield RandomInput(text, family, reasoning, random.choice(("", "<think>")), whole)
        else:
            case = random.choice(cases)
            text = changed(case.fixture.raw_output[:1500], MARKERS[case.family] + _TEXTS, random)
            yield RandomInput(text, case.family, case.reasoning, case.prompt, whole)


def changed(text: str, texts: list[str], random: Random) -> str:
    """The text with a few changes: parts removed, doubled, cut off or put in."""
    for _ in range(random.randint(1, 3)):
        at, length = random.randint(0, len(text)), random.randint(1, 12)
        match random.randrange(5):
            case 0:
                text = text[:at] + text[at + length :]
            case 1:
                text = text[:at] + text[max(0, at - length) :]
            case 2:
                text = text[:at]
            case _:
                text = text[:at] + random.choice(texts) + text[at:]
    return text


def broken_promise(one: RandomInput, parts: list[AnswerPart], random: Random) -> str | None:
    """The promise of the readers that a reading of the answer breaks, or None.

    The split does not matter; calls are numbered in order; nothing is invented; what begins complete is JSON.

    Args:
        one: the answer.
        parts: its parts, read in one piece.
        random: source of the split.
    """
    pieces = split(one.text, random, random.choice((1, 4, 30)))
    if one.parts(pieces) != parts or one.parts(pieces[:-1], "".join(pieces[-1:])) != parts:
        return "the parts depend on how the text is split"
    index = -1
    for part in parts:
        if not isinstance(part, CallBegin) and not part.text:
            return "a part is empty"
        if isinstance(part, CallBegin):
            index += 1
        if isinstance(part, CallBegin | CallArguments) and part.index != index:
            return "a call has a wrong number"
    found = parsed(parts)
    if not _subsequence(found.content, one.text) or not _subsequence(found.reasoning, one.text):
        return "text is not the model's"
    return _faulty_call(one, found)


def _faulty_call(one: RandomInput, found: Parsed) -> str | None:
    for name, arguments in found.calls:
        if not name or name not in one.text:
            return "a name is not the model's"
        if one.family in _VERBATIM and arguments not in one.text:
            return "arguments are not the model's"
        if one.whole_calls and not _is_object(arguments):
            return "a complete call has arguments that are no JSON object"
    return None


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False


def _subsequence(text: str, of: str) -> bool:
    characters = iter(of)
    return all(character in characters for character in text)


def try_inputs(cases: list[Case], count: int, seed: int) -> tuple[list[str], float, float, int]:
    """Random inputs, read.

    Returns:
        The broken promises with their inputs; CPU time of all readings and of the slowest input, seconds; number of
        inputs with calls.
    """
    random = Random(seed)  # noqa: S311
    broken: list[str] = []
    total = slowest = 0.0
    called = 0
    for one, _ in zip(random_inputs(cases, random), range(count), strict=False):
        begun = time.process_time()
        parts = one.parts([one.text])
        problem = broken_promise(one, parts, random)
        took = time.process_time() - begun
        total, slowest = total + took, max(slowest, took)
        called += any(isinstance(part, CallBegin) for part in parts)
        if problem is not None:
            broken.append(f"{problem}: {one}")
    return broken, total, slowest, called
