"""Limits as text: an upper limit is rounded up and a lower one down, so that the printed number is still a limit."""

from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from math import isfinite


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
