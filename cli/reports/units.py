"""Quantities in units that fit, as text."""


def duration_text(seconds: float) -> str:
    """A duration in seconds, minutes, hours or days."""
    for name, length in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.3g} {name}"
    return f"{seconds:.3g} seconds"
