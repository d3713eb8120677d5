"""Families of models, by the form in which they write tool calls."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from weightwarden.logger.sidecar.reading.cursor import Steps
from weightwarden.logger.sidecar.reading.hermes import read_hermes
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
        separators: whether the form has white space between content and calls that belongs to neither.
        ids: form of a call's id.
    """

    name: str
    read: Callable[[Reading, Tools], Steps[None]]
    signs: tuple[str, ...]
    separators: bool = False
    ids: IdStyle = "call"


FAMILIES = {
    family.name: family
    for family in (ToolFamily(name="hermes", read=read_hermes, signs=("<tool_call>",), separators=True),)
}
"""Families, by name, in the order in which a template is compared with their signs."""


def guess_family(template: str) -> str | None:
    """The name of the family to which a chat template belongs, or None for one that fits none."""
    for family in FAMILIES.values():
        if all(sign in template for sign in family.signs):
            return family.name
    return None
