"""Published outputs of models that are calls alone: the grammar of `required` admits each as the model wrote it."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import canitoolcall
import pytest

from tests.logger.sidecar.constraints.sampling import Sampler
from weightwarden.logger.sidecar.constraints.constraint import AnswerShape, constraint_of
from weightwarden.logger.sidecar.constraints.envelopes import envelope_of
from weightwarden.logger.sidecar.reading.reasoning import REASONING
from weightwarden.logger.sidecar.wire.requests import ChatRequest, parse

FIXTURES = Path(canitoolcall.__file__).parent / "_data" / "fixtures"
FAMILIES = {
    "qwen3-hermes/": "hermes",
    "llama/": "llama3_json",
    "qwen3-xml/": "qwen3_coder",
    "mistral/": "mistral",
    "deepseek/v31": "deepseek_v31",
    "deepseek/v32": "deepseek_v32",
    "kimi/k2": "kimi_k2",
    "glm/": "glm",
    "gpt-oss/": "harmony",
}
"""Families by the beginning of a fixture's id."""
NOT_ADMITTED = {
    "deepseek/v32-truncated-second-parallel-call": "cut off",
    "qwen3-hermes/truncated-second-parallel-call": "cut off",
    "qwen3-xml/q38-marker-in-arguments": "a value with its own end marker",
    "qwen3-xml/q35-python-literals": "True, where JSON has true",
    "qwen3-xml/coder-python-literals": "False, where JSON has false",
}
"""Outputs that grammars leave out, with the reason."""
FEWEST = 8
"""Fixtures of each family that are tested at least."""


def fixtures() -> dict[str, tuple[str, Any]]:
    """Rendered outputs without content, with their family, by id."""
    found = {}
    for file in sorted(FIXTURES.glob("*/*.jsonl")):
        for line in file.read_text(encoding="utf-8").splitlines():
            one = json.loads(line)
            expected = one.get("expected") or {}
            family = next((name for start, name in FAMILIES.items() if one["id"].startswith(start)), None)
            rendered = one["provenance"]["kind"] == "template_render"
            if family and rendered and expected.get("tool_calls") and not expected.get("content"):
                found[one["id"]] = (family, one)
    return found


ALL = fixtures()


@pytest.fixture(scope="module")
def sampler(model_folder: Path) -> Sampler:
    return Sampler.of(model_folder)


def test_every_family_has_fixtures() -> None:
    counts = Counter(family for family, _ in ALL.values())
    assert counts.keys() == set(FAMILIES.values())
    assert min(counts.values()) >= FEWEST
    assert NOT_ADMITTED.keys() <= ALL.keys()


@pytest.mark.parametrize("name", ALL)
def test_the_grammar_of_required_admits_what_the_model_writes(sampler: Sampler, name: str) -> None:
    family, fixture = ALL[name]
    answer, prompt = fixture["raw_output"], fixture.get("generation_prompt") or ""
    if "</think>" in answer and "<think>" not in answer:
        prompt = "<think>"  # the template begins the reasoning
    shape = AnswerShape(
        family=family,
        envelope=envelope_of(family, template_words(fixture)),
        reasoning=REASONING[family if family in ("harmony", "mistral") else "think"],
        special_ids={},
    )
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}], "tools": fixture["tools"]}
    request: ChatRequest = parse(ChatRequest, json.dumps({**body, "tool_choice": "required"}).encode())
    constraint = constraint_of(request, shape, prompt)
    assert constraint is not None
    end = "<|call|>" if family == "harmony" else ""  # the token that ended the generation
    admitted = sampler.admits(constraint.kind, constraint.text, answer.removesuffix(end) + end)
    assert admitted == (name not in NOT_ADMITTED)


def template_words(fixture: Any) -> str:
    """What the template of the model that wrote an answer says about the form of calls."""
    if "glm45" in fixture["id"]:
        return "\n<arg_key>"
    return next((one for one in ("[ARGS]", "[TOOL_CALLS] [") if one in fixture["raw_output"]), "")
