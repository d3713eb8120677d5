"""Messages of failed validations: the field, and what is wrong with it, in the words of the validated object."""

from typing import Any

from pydantic import ValidationError

from weightwarden.text import printable

_UNION_TAGS = ("int", "str", "constrained-int", "constrained-str")
"""Parts that pydantic adds to a location to name the member of a union."""
_PLAIN = {"extra_forbidden": "unknown field", "missing": "missing"}


def validation_message(error: ValidationError) -> str:
    """The first fault of a validated object, with its field."""
    parts, what = _first_fault(error)
    return f"{printable('.'.join(parts))}: {what}" if parts else what


def field_and_fault(error: ValidationError) -> tuple[str | None, str]:
    """The first fault of a record, with the number of other faults.

    Returns:
        The dotted field without tags of unions, None for the record as a whole; and what is wrong with it.
    """
    parts, what = _first_fault(error)
    if error.error_count() > 1:
        what += f" (and {error.error_count() - 1} more)"
    return ".".join(part for part in parts if part not in _UNION_TAGS) or None, what


def _first_fault(error: ValidationError) -> tuple[list[str], str]:
    first: Any = error.errors(include_url=False)[0]
    at = first.get("ctx", {}).get("at")  # below the validated object (`sampler.params.refusal`)
    parts = [str(part) for part in first["loc"] if not _is_tag(part)]
    return [*parts, *([at] if at else [])], _PLAIN.get(first["type"], first["msg"])


def _is_tag(part: int | str) -> bool:
    """True for the tag of a union's member: by convention, in angle brackets."""
    return isinstance(part, str) and part.startswith("<") and part.endswith(">")
