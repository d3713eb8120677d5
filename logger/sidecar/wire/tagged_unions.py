"""Unions of which a field of the value chooses the member, so that an error names the field and not the member."""

from collections.abc import Collection
from typing import Annotated, Any, TypeVar

from pydantic import BeforeValidator, Discriminator, Tag
from pydantic_core import PydanticCustomError

from weightwarden.logger.sidecar.wire.strict_fields import Few
from weightwarden.text import printable

Item = TypeVar("Item")


def by_type(default: str | None = None, field: str = "type") -> Discriminator:
    """Discriminator of objects by a field; the tag of a member is the field's value in angle brackets.

    Args:
        default: type of an object without one, or None if it must have one.
        field: the field with the type.
    """
    return Discriminator(lambda value: f"<{_type_of(value, default, field)}>")


def only(served: Collection[str], default: str | None = None, field: str = "type") -> BeforeValidator:
    """Validator that refuses an object of any other type by name. `default` and `field` are those of `by_type`."""

    def checked(value: Any) -> Any:
        kind = _type_of(value, default, field)
        if not isinstance(value, dict):
            raise PydanticCustomError("not_an_object", "an object is wanted")
        if not isinstance(kind, str):
            raise PydanticCustomError("no_type", "a text is wanted", {"at": field})
        if kind not in served:
            what = {"at": field, "what": printable(kind), "served": ", ".join(served)}
            raise PydanticCustomError("not_served", "{what} is not served, only {served}", what)
        return value

    return BeforeValidator(checked)


def _type_of(value: Any, default: str | None, field: str) -> Any:
    return value.get(field, default) if isinstance(value, dict) else getattr(value, field, None)


def _text_or_list(value: Any) -> str | None:
    if isinstance(value, str):
        return "<text>"
    return "<list>" if isinstance(value, list) else None


TEXT_OR_LIST = Discriminator(
    _text_or_list, custom_error_type="text_or_list", custom_error_message="a text, or a list of objects, is wanted"
)
"""Discriminator of a text, whose tag is `<text>`, and a list, whose tag is `<list>`."""
TextOrFew = Annotated[Annotated[str, Tag("<text>")] | Annotated[Few[Item], Tag("<list>")], TEXT_OR_LIST]
"""A text, or a list of objects."""
