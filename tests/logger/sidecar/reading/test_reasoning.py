"""Reasoning at the beginning of an answer, and the number of its tokens."""

from random import Random

import pytest

from benchmarks.reading.parsed import parsed, read_parts, split
from weightwarden.logger.record import Reasoning
from weightwarden.logger.sidecar.reading.reader import reader_of
from weightwarden.logger.sidecar.reading.reasoning import REASONING, guess_reasoning
from weightwarden.logger.text.reasoning_progress import ReasoningProgress


@pytest.mark.parametrize(
    ("reasoning", "prompt", "text", "thought", "content"),
    [
        ("think", "", "<think>\na\n</think>\n\nb\n", "a", "b\n"),
        ("think", "", "\n<think>a</think>b", "a", "b"),
        ("think", "", "b </think> c", "", "b </think> c"),
        ("think", "", "b <think>a</think>", "", "b <think>a</think>"),
        ("think", "", " b", "", " b"),
        ("think", "x<think>\n", "a</think>b", "a", "b"),
        ("think", "x<think>\n", "<think>a</think>b", "a", "b"),
        ("think", "x<think>\n", "a < b </thinking> c", "a < b </thinking> c", ""),
        ("think", "x<think>\n\n</think>\n\n", "b", "", "b"),
        ("think", "what is <think>?<|im_end|>assistant\n", "b", "", "b"),
        ("think", "", "<think>a</think></think>", "a", "</think>"),
        ("think", "", "<think> \n</think>\n", "", ""),
        ("think", "", "<think>a \n", "a", ""),
        ("mistral", "", "[THINK]a[TOOL_CALLS][/THINK]b", "a[TOOL_CALLS]", "b"),
        (
            "harmony",
            "",
            "<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>final<|message|>b",
            "a",
            "b",
        ),
        ("harmony", "", "b", "", "b"),
        (
            *(
                "harmony",
                "<|channel|>analysis<|message|>",
                "a <|call|><|end|><|start|>assistant<|channel|>final<|message|>b",
            ),
            *("a <|call|>", "b"),
        ),
        (None, "<think>", "<think>a</think>b", "", "<think>a</think>b"),
    ],
)
def test_reasoning_and_content(reasoning: str | None, prompt: str, text: str, thought: str, content: str) -> None:
    for pieces in ([text], list(text), *(split(text, Random(seed)) for seed in range(5))):
        found = parsed(read_parts(reader_of(None, reasoning, (), prompt), pieces))
        assert (found.reasoning, found.content, found.calls) == (thought, content, ())


def test_reasoning_comes_while_it_grows() -> None:
    reader = reader_of(None, "think", (), "<think>")
    assert [part.text for part in reader.add("Let me")] == ["Let me"]  # type: ignore[union-attr]
    assert [part.text for part in reader.add(" see </")] == [" see"]  # type: ignore[union-attr]
    assert [part.text for part in reader.add("div")] == [" </div"]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("prompt", "pieces", "count"),
    [
        ("", ["<think>", "a", "", " b", "</think>", "c"], 5),
        ("", ["<th", "ink>", "a", "</", "think", ">", "c"], 6),
        ("<think>", ["a", "\n", "</think>", "\n", "c"], 3),
        ("<think>", ["a</think>b"], 1),
        ("<think>", ["a", "b"], 2),
        ("<think>", ["a", "</", "b"], 3),
        ("", ["a", "<think>"], 0),
        ("", ["", "a"], 0),
    ],
)
def test_tokens_of_the_reasoning_are_counted_with_its_markers(prompt: str, pieces: list[str], count: int) -> None:
    reader = reader_of(None, "think", (), prompt)
    read_parts(reader, pieces)
    assert reader.reasoning_tokens == count
    progress = ReasoningProgress(Reasoning(start="" if prompt else "<think>", end="</think>"))
    assert count <= sum(progress.add(piece) for piece in pieces)


def test_tokens_on_the_channel_of_the_reasoning_are_counted() -> None:
    reader = reader_of("harmony", "harmony")
    body = ["<|channel|>", "analysis", "<|message|>", "a", " b", "<|end|>"]
    read_parts(reader, [*body, "<|start|>", "assistant", "<|channel|>", "final", "<|message|>", "c"])
    assert reader.reasoning_tokens == len(body)


def test_the_reasoning_of_a_template_is_guessed() -> None:
    assert guess_reasoning("{% if '</think>' in content %}") == "think"
    assert guess_reasoning("[SYSTEM_PROMPT] [THINK] thoughts [/THINK]") == "mistral"
    assert guess_reasoning("{{ '<|start|>assistant<|channel|>analysis<|message|>' }} <think></think>") == "harmony"
    assert guess_reasoning("{{ messages[0].content }}") is None
    assert set(REASONING) == {"think", "mistral", "harmony"}
