"""The first complaint of a record's validation, in the words of the record's fields."""

from pydantic import ValidationError

_UNION_TAGS = ("int", "str", "constrained-int", "constrained-str")
"""What pydantic adds to a location to say which member of a union complained."""


def first_complaint(error: ValidationError) -> tuple[str | None, str]:
    """The dotted field (None for the record as a whole) and what is wrong with it."""
    first = error.errors(include_url=False)[0]
    parts = [str(part) for part in first["loc"] if part not in _UNION_TAGS]
    at = first.get("ctx", {}).get("at")
    field = ".".join([*parts, at] if at else parts)
    what = first["msg"]
    if first["type"] == "extra_forbidden":
        what = "unknown field"
    elif first["type"] == "missing":
        what = "missing"
    if len(error.errors()) > 1:
        what += f" (and {len(error.errors()) - 1} more)"
    return field or None, what
