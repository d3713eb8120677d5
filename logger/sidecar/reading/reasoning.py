"""Reasoning at the beginning of an answer, between two markers."""

from dataclasses import dataclass

from weightwarden.logger.sidecar.reading.cursor import Steps
from weightwarden.logger.sidecar.reading.reading import Reading


@dataclass(frozen=True, kw_only=True)
class ReasoningFamily:
    """The form in which models of a family reason.

    Attributes:
        name: the family's name.
        start: text that begins the reasoning.
        end: text that ends it.
        signs: texts of which a chat template of the family holds all.
    """

    name: str
    start: str
    end: str
    signs: tuple[str, ...]

    def begun_by(self, prompt: str) -> bool:
        """True if the prompt, in its last words, has begun the reasoning of the answer."""
        return prompt.rstrip().endswith(self.start)


HARMONY = ReasoningFamily(
    name="harmony", start="<|channel|>analysis<|message|>", end="<|end|>", signs=("<|channel|>analysis",)
)
"""Reasoning of gpt-oss: messages on the analysis channel, which the reader of the channels reads."""

REASONING = {
    family.name: family
    for family in (
        ReasoningFamily(name="think", start="<think>", end="</think>", signs=("</think>",)),
        ReasoningFamily(name="mistral", start="[THINK]", end="[/THINK]", signs=("[/THINK]",)),
        HARMONY,
    )
}
"""Families of reasoning, by name."""


def guess_reasoning(template: str) -> str | None:
    """The name of the family to which a chat template belongs, or None for one without reasoning."""
    for name in ("harmony", "mistral", "think"):
        if all(sign in template for sign in REASONING[name].signs):
            return name
    return None


def read_reasoning(reading: Reading, family: ReasoningFamily, *, begun: bool) -> Steps[None]:
    """Reading of the reasoning up to its end. Without reasoning, nothing but white space is read.

    Args:
        reading: the answer, at its beginning.
        family: form of the reasoning.
        begun: whether the prompt has begun it. The answer may still repeat its start.
    """
    cursor = reading.cursor
    cursor.hold()
    yield from cursor.space()
    start = yield from cursor.follows(family.start)
    if start is None and not begun:
        reading.content(cursor.release())
        return
    cursor.take(len(start or ""))
    cursor.release(reasoning=True)
    reading.reasoning_begins()
    end = yield from reading.reasoning_before((family.end,))
    cursor.take(len(end or ""), reasoning=True)
    if end is not None:
        reading.reasoning_ends()
