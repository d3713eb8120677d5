"""Limits as text: an upper limit is rounded up and a lower one down, so that the printed number is still a limit."""

from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from math import isfinite

_UNITS = ("bytes", "kB", "MB", "GB", "TB", "PB", "EB")


def upper(value: float, digits: int = 2) -> str:
    """An upper limit with `digits` significant digits, not below the value."""
    return _significant(value, digits, ROUND_CEILING)


def upper_fixed(value: float, places: int) -> str:
    """An upper limit with `places` decimal places, not below the value."""
    return _fixed(value, places, ROUND_CEILING)


def lower_fixed(value: float, places: int) -> str:
    """A lower limit with `places` decimal places, not above the value."""
    return _fixed(value, places, ROUND_FLOOR)


def _significant(value: float, digits: int, rounding: str) -> str:
    if not isfinite(value):
        return f"{value}"
    rounded = Context(prec=digits, rounding=rounding).create_decimal(repr(float(value)))
    return f"{float(rounded):.{digits}g}"


def _fixed(value: float, places: int, rounding: str) -> str:
    if not isfinite(value):
        return f"{value}"
    return f"{Decimal(repr(float(value))).quantize(Decimal(1).scaleb(-places), rounding=rounding):f}"


def upper_bytes(bits: float, digits: int = 3) -> str:
    """An upper limit of bits, in bytes, kB, MB, ... of 1000 each, with `digits` significant digits, rounded up."""
    value, unit = bits / 8, 0
    while float(upper(value, digits)) >= 1000 and unit < len(_UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return f"{upper(value, digits)} {_UNITS[unit]}"
