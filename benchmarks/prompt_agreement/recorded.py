"""The engine's answers in a file, so that tests need no engine.

For the project's own templates the file has the texts; for public ones a digest of the token ids of all conversations,
since their texts are the work of others.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from benchmarks.prompt_agreement.agreement import Prompt
from benchmarks.prompt_agreement.conversations import EXCEPTIONS
from benchmarks.prompt_agreement.templates import SHA256, WHEEL
from benchmarks.repository import DATA

RECORDED_PROMPTS = DATA / "prompts-vllm0.32.json"


def digest(prompts: Iterable[tuple[str, Prompt]]) -> str:
    """A digest of a template's prompts, by the conversation's name; exceptions are left out."""
    kept = [[chat, prompt.get("ids") or None] for chat, prompt in prompts if chat not in EXCEPTIONS]
    return hashlib.sha256(json.dumps(kept, separators=(",", ":")).encode()).hexdigest()[:24]


def read_recorded() -> Any:
    """The engine's answers from the file of `write_recorded`."""
    return json.loads(RECORDED_PROMPTS.read_text(encoding="utf-8"))


def write_recorded(*, engine: str, texts: Mapping[str, Mapping[str, str | None]], digests: Mapping[str, str]) -> None:
    """Write the engine's answers.

    Args:
        engine: versions of the relevant packages.
        texts: texts by template and conversation; None where the engine refuses.
        digests: digests by public template.
    """
    value = {"engine": engine, "texts": texts, "wheel": WHEEL, "sha256": SHA256, "digests": digests}
    RECORDED_PROMPTS.write_text(json.dumps(value, ensure_ascii=False, indent=0) + "\n", encoding="utf-8")
