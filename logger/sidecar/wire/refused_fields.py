"""Fields that a wire knows and does not serve, with the reason, and the values by which a client asks for nothing."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic_core import PydanticCustomError


@dataclass(frozen=True)
class Refused:
    """A field that is not served.

    Attributes:
        why: the reason, for the client.
        neutral: values that ask for nothing, besides null.
    """

    why: str
    neutral: tuple[object, ...] = ()


def without_refused(value: Any, refused: Mapping[str, Refused]) -> Any:
    """An object without the fields that ask for nothing.

    Raises:
        PydanticCustomError: a field asks for something that is not served.
    """
    if not isinstance(value, dict):
        return value
    for field, refusal in refused.items():
        given = value.get(field)
        if given is not None and not any(type(given) is type(one) and given == one for one in refusal.neutral):
            raise PydanticCustomError("refused", "not served: {why}", {"at": field, "why": refusal.why})
    return {key: item for key, item in value.items() if key not in refused}


def without_nulls(value: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of an object that are not null. Values within them stay as they are."""
    return {key: item for key, item in value.items() if item is not None}
