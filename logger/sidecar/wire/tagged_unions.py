"""Unions of which a value's own `type` chooses the member, so that an error names the field and not the member."""

from collections.abc import Collection
from typing import Annotated, Any, TypeVar

from pydantic import BeforeValidator, Discriminator, Tag
from pydantic_core import PydanticCustomError

from weightwarden.logger.sidecar.wire.strict_fields import Few
from weightwarden.text import printable

Item = TypeVar("Item")


def by_type(default: str | None = None) -> Discriminator:
    """Discriminator of objects by their field `type`; the tag of a member is `<type>`.

    Args:
        default: type of an object without one, or None if it must have one.
    """
    return Discriminator(lambda value: f"<{_type_of(value, default)}>")


def only(served: Collection[str], default: str | None = None) -> BeforeValidator:
    """Validator that refuses an object of any other type by name."""

    def checked(value: Any) -> Any:
        kind = _type_of(value, default)
        if not isinstance(value, dict):
            raise PydanticCustomError("not_an_object", "an object is wanted")
        if not isinstance(kind, str):
            raise PydanticCustomError("no_type", "a text is wanted", {"at": "type"})
        if kind not in served:
            what = {"at": "type", "what": printable(kind), "served": ", ".join(served)}
            raise PydanticCustomError("not_served", "{what} is not served, only {served}", what)
        return value

    return BeforeValidator(checked)


def _type_of(value: Any, default: str | None) -> Any:
    return value.get("type", default) if isinstance(value, dict) else getattr(value, "type", None)


def _text_or_list(value: Any) -> str | None:
    if isinstance(value, str):
        return "<text>"
    return "<list>" if isinstance(value, list) else None


TextOrFew = Annotated[
    Annotated[str, Tag("<text>")] | Annotated[Few[Item], Tag("<list>")],
    Discriminator(
        _text_or_list, custom_error_type="text_or_list", custom_error_message="a text, or a list of objects, is wanted"
    ),
]
"""A text, or a list of objects."""
