"""The engine's answers as tests keep them, so that they need no engine.

Of the project's own templates the texts are kept; of public ones a digest of the token ids that all conversations get,
since their texts are others' work.
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
    """What `write_recorded` wrote."""
    return json.loads(RECORDED_PROMPTS.read_text(encoding="utf-8"))


def write_recorded(*, engine: str, texts: Mapping[str, Mapping[str, str | None]], digests: Mapping[str, str]) -> None:
    """Write the engine's answers.

    Args:
        engine: the versions of what decides. texts: by template and conversation; None where the engine refuses.
        digests: by public template.
    """
    value = {"engine": engine, "texts": texts, "wheel": WHEEL, "sha256": SHA256, "digests": digests}
    RECORDED_PROMPTS.write_text(json.dumps(value, ensure_ascii=False, indent=0) + "\n", encoding="utf-8")
