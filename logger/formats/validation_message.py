"""The first error of a record's validation, with the record's field names."""

from pydantic import ValidationError

_UNION_TAGS = ("int", "str", "constrained-int", "constrained-str")
"""Parts of a location by which pydantic names the member of a union."""


def first_complaint(error: ValidationError) -> tuple[str | None, str]:
    """The dotted field (None for the record as a whole) and its error."""
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
