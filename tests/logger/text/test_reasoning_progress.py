import random

import pytest

from weightwarden.logger.record import Reasoning
from weightwarden.logger.text.ending import Ending, Text
from weightwarden.logger.text.reasoning_progress import ReasoningProgress
from weightwarden.sampler.params import SamplingParams


class Spelled:
    """Tokens are the code points of their text."""

    def add(self, token: int) -> str:
        return chr(token)

    def end(self) -> str:
        return ""


def ended(text: str, stop: str, reasoning: Reasoning | None) -> tuple[str, Ending | None]:
    """The text up to the end of an answer, one token a character."""
    answer = Text(Spelled(), SamplingParams(stop=[stop]), frozenset(), reasoning)
    pieces, ending = answer.add([ord(character) for character in text])
    return "".join(pieces), ending


BEGUN = Reasoning(start="", end="</think>")
OWN = Reasoning(start="<think>", end="</think>")


@pytest.mark.parametrize(
    ("text", "reasoning", "kept"),
    [
        ("a. b</think>c. d", BEGUN, "a. b</think>c"),
        ("<think>a. b</think>c. d", OWN, "<think>a. b</think>c"),
        ("\n <think>a. b</think>c. d", OWN, "\n <think>a. b</think>c"),
        ("<thin. d", OWN, "<thin"),
        ("a. b", OWN, "a"),
        ("a. b</think>c. d", Reasoning(start="", end="</think>", stops_inside=True), "a"),
        ("a. b", None, "a"),
    ],
)
def test_a_stop_string_ends_an_answer_after_its_reasoning_alone(
    text: str, reasoning: Reasoning | None, kept: str
) -> None:
    assert ended(text, ".", reasoning) == (kept, Ending("stop", "."))


def test_an_answer_that_never_ends_its_reasoning_meets_no_stop_string() -> None:
    assert ended("a. b. c", ".", BEGUN) == ("a. b. c"[:7], None)


def test_the_progress_does_not_depend_on_how_the_text_was_split() -> None:
    generator = random.Random(3)
    texts = ["<think>a</think>b", " <think></think>", "no thought</think>", "<thi", "<think>a</th</think>b", "  "]
    for text in texts:
        for reasoning in (BEGUN, OWN):
            whole = ReasoningProgress(reasoning)
            whole.add(text)
            for _ in range(20):
                cuts = sorted(generator.choices(range(len(text) + 1), k=4))
                parts = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
                split = ReasoningProgress(reasoning)
                for part in parts:
                    split.add(part)
                assert split.lasts == whole.lasts
