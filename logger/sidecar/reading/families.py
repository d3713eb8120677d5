"""Families of models, by the form in which they write tool calls."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from weightwarden.logger.sidecar.reading.cursor import Steps
from weightwarden.logger.sidecar.reading.deepseek_v32 import read_deepseek_v32
from weightwarden.logger.sidecar.reading.glm import read_glm
from weightwarden.logger.sidecar.reading.harmony import read_harmony
from weightwarden.logger.sidecar.reading.hermes import read_hermes
from weightwarden.logger.sidecar.reading.llama3_json import read_llama3_json
from weightwarden.logger.sidecar.reading.marked_call import read_deepseek_v31, read_kimi_k2
from weightwarden.logger.sidecar.reading.mistral import read_mistral
from weightwarden.logger.sidecar.reading.qwen3_coder import read_qwen3_coder
from weightwarden.logger.sidecar.reading.reading import Reading
from weightwarden.logger.sidecar.reading.tools import Tools

IdStyle = Literal["call", "kimi", "mistral"]
"""Form of a call's id: `call_` and random characters; `functions.NAME:INDEX`; nine letters and digits."""


@dataclass(frozen=True, kw_only=True)
class ToolFamily:
    """The form in which models of a family write tool calls.

    Attributes:
        name: the family's name.
        read: reading of content and calls up to the end of the answer.
        signs: texts of which a chat template of the family holds all.
        foreign: texts of which it holds none.
        separators: whether the form has white space between content and calls that belongs to neither.
        ids: form of a call's id.
    """

    name: str
    read: Callable[[Reading, Tools], Steps[None]]
    signs: tuple[str, ...]
    foreign: tuple[str, ...] = ()
    separators: bool = False
    ids: IdStyle = "call"


FAMILIES = {
    family.name: family
    for family in (
        ToolFamily(name="harmony", read=read_harmony, signs=("<|channel|>",)),
        ToolFamily(name="deepseek_v32", read=read_deepseek_v32, signs=("｜DSML｜",), separators=True),
        ToolFamily(
            name="deepseek_v31", read=read_deepseek_v31, signs=("<｜tool▁calls▁begin｜>",), foreign=("```json",)
        ),
        ToolFamily(name="kimi_k2", read=read_kimi_k2, signs=("<|tool_calls_section_begin|>",), ids="kimi"),
        ToolFamily(name="mistral", read=read_mistral, signs=("[TOOL_CALLS]",), ids="mistral"),
        ToolFamily(name="glm", read=read_glm, signs=("<tool_call>", "<arg_key>"), separators=True),
        ToolFamily(name="qwen3_coder", read=read_qwen3_coder, signs=("<tool_call>", "<function="), separators=True),
        ToolFamily(name="hermes", read=read_hermes, signs=("<tool_call>",), separators=True),
        ToolFamily(name="llama3_json", read=read_llama3_json, signs=('"parameters": ', "<|start_header_id|>")),
    )
}
"""Families, by name, in the order in which a template is compared with their signs."""


def guess_family(template: str) -> str | None:
    """The name of the family to which a chat template belongs, or None for one that fits none."""
    for family in FAMILIES.values():
        if all(sign in template for sign in family.signs) and not any(text in template for text in family.foreign):
            return family.name
    return None
