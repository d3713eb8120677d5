"""Quantities in units that fit, as text. Limits are rounded up, so that the printed number is still a limit."""

from weightwarden.verifier.statistics.rounding import upper

_STEPS = ("bytes", "kB", "MB", "GB", "TB", "PB", "EB")


def size_limit_text(bits: float) -> str:
    """An upper limit in bits as bytes with a decimal unit, not below the limit."""
    size, unit = bits / 8, 0
    while float(upper(size, 3)) >= 1000 and unit < len(_STEPS) - 1:
        size, unit = size / 1000, unit + 1
    return f"{float(upper(size, 3)):.3g} {_STEPS[unit]}"


def duration_text(seconds: float) -> str:
    """A duration in seconds, minutes, hours or days."""
    for name, length in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.3g} {name}"
    return f"{seconds:.3g} seconds"
