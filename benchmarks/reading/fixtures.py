"""The fixtures of `canitoolcall` for the families that the sidecar reads."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cache
from random import Random

from canitoolcall.checks import run_checks
from canitoolcall.fixtures import Fixture, load_families, load_fixtures
from canitoolcall.results import Observation, ParsedToolCall, ParseResult, Status, worst_status

from benchmarks.reading.parsed import parsed, read_parts, split
from weightwarden.logger.sidecar.reading.reader import TextReader, reader_of

FAMILIES: dict[str, dict[str, tuple[str, str | None]]] = {
    "qwen3-hermes": {"": ("hermes", "think")},
    "llama": {"Llama-3": ("llama3_json", None)},
    "qwen3-xml": {"": ("qwen3_coder", "think")},
    "mistral": {"Magistral-Small-2506": ("mistral", "think"), "": ("mistral", "mistral")},
    "kimi": {"Kimi-K2": ("kimi_k2", "think")},
    "gpt-oss": {"": ("harmony", "harmony")},
    "glm": {"": ("glm", "think")},
    "deepseek": {
        "DeepSeek-V3.1": ("deepseek_v31", "think"),
        "DeepSeek-V3.2": ("deepseek_v32", "think"),
        "DeepSeek-V4-Flash": ("deepseek_v32", "think"),
    },
}
"""Families of tool calls and reasoning, by the fixtures' family and a part of the model's name; the first counts."""
STREAMS = {"char:0": 0, **{f"char:{seed}": seed for seed in (1, 2, 3)}}
"""Splits of an answer into pieces: single characters, and random ones by a seed."""


@dataclass(frozen=True)
class Case:
    """A fixture of a family that the sidecar reads.

    Attributes:
        fixture: the fixture.
        family: family of the tool calls.
        reasoning: family of the reasoning, or None.
        prompt: end of the rendered prompt.
    """

    fixture: Fixture
    family: str
    reasoning: str | None
    prompt: str

    def reader(self, *, whole_calls: bool = False, dropped: Collection[str] = ()) -> TextReader:
        """A reader of the answer."""
        tools = self.fixture.tools
        return reader_of(self.family, self.reasoning, tools, self.prompt, whole_calls=whole_calls, dropped=dropped)


_described = cache(load_families)


def cases() -> tuple[list[Case], list[Fixture]]:
    """The cases, and the fixtures of families that the sidecar does not read."""
    found: list[Case] = []
    others: list[Fixture] = []
    for fixture in load_fixtures():
        family = next(_families(fixture), None)
        if family is None:
            others.append(fixture)
            continue
        prompt = fixture.generation_prompt
        reference = _described()[fixture.family].reference_for(fixture.reference_model)
        if prompt is None and reference is not None:
            prompt = reference.default_generation_prompt
        found.append(Case(fixture, *family, prompt or ""))
    return found, others


def status(case: Case, *, whole_calls: bool = False) -> tuple[Status, str]:
    """The worst status over all checks of a case, whole and in pieces, and the failed checks in words."""
    text = case.fixture.raw_output
    observation = Observation(
        nonstream=_result(case, [text], whole_calls=whole_calls),
        streams={
            name: _result(case, list(text) if not seed else split(text, Random(seed)), whole_calls=whole_calls)  # noqa: S311
            for name, seed in STREAMS.items()
        },
    )
    rows = run_checks(case.fixture, _described()[case.fixture.family], observation)
    said = {f"{row.check}: {row.detail}" for row in rows if row.status is not Status.PASS}
    return worst_status(row.status for row in rows), "; ".join(sorted(said))


def _result(case: Case, pieces: list[str], *, whole_calls: bool) -> ParseResult:
    found = parsed(read_parts(case.reader(whole_calls=whole_calls), pieces))
    return ParseResult(
        content=found.content or None,
        reasoning_content=found.reasoning or None,
        tool_calls=tuple(ParsedToolCall(name, arguments) for name, arguments in found.calls),
    )


def _families(fixture: Fixture) -> Iterator[tuple[str, str | None]]:
    for part, families in FAMILIES.get(fixture.family, {}).items():
        if part in fixture.reference_model:
            yield families
