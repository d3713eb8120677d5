"""Quantities on the command line and in its output: sizes in bytes, days, bits."""

import re
from math import floor, inf, isfinite, isinf
from typing import Any

import click

UNITS = {
    "": 1.0,
    "b": 1.0,
    **{f"{prefix}b": 1000.0**power for power, prefix in enumerate("kmgtpe", start=1)},
    **{f"{prefix}ib": 1024.0**power for power, prefix in enumerate("kmgtpe", start=1)},
}
SECONDS_A_DAY = 86_400


class Size(click.ParamType[float]):
    """A size in bytes, e.g. 1.5TB, 700GB or 640GiB."""

    name = "size"

    def convert(self, value: str | float, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Bytes, as a float."""
        if isinstance(value, float | int):
            return float(value)
        match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?(?:e[0-9]+)?)\s*([a-z]*)\s*", value.lower())
        if match is None or match[2] not in UNITS or not 0 < float(match[1]) * UNITS[match[2]] < 1e30:
            self.fail(f"{value!r} is no size: give a number and a unit, e.g. 1.5TB or 640GiB", param, ctx)
        return float(match[1]) * UNITS[match[2]]


class FiniteRange(click.FloatRange):
    """A number in a range, never nan or infinite."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number."""
        number = float(super().convert(value, param, ctx))
        if not isfinite(number):
            self.fail(f"{value!r} is not in the range {self._describe_range()}", param, ctx)
        return number


class Positive(click.ParamType[float]):
    """A number above 0, e.g. 3e12."""

    name = "number"

    def convert(self, value: str | float, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number."""
        try:
            number = float(value)
        except ValueError:
            number = 0.0
        if not 0 < number < 1e30:
            self.fail(f"{value!r} is no number above 0", param, ctx)
        return number


def size_text(size_bytes: float) -> str:
    """Bytes with a decimal unit."""
    for unit in ("B", "kB", "MB", "GB", "TB", "PB"):
        if size_bytes < 1000:
            return f"{size_bytes:.3g} {unit}"
        size_bytes /= 1000
    return f"{size_bytes:.3g} EB"


def count_text(count: float) -> str:
    """A number of messages, with few digits where it exceeds exact counts."""
    return f"{count:,.0f}" if count < 1e15 else f"{count:.3g}"


def power_of_ten_text(log10: float) -> str:
    """A probability from its logarithm to base 10, even one too small for a float."""
    if log10 == -inf:
        return "0"
    if log10 > -300:
        return f"{10**log10:.2g}"
    return f"1e{floor(log10):,}".replace(",", "")


def days_text(days: float) -> str:
    """A duration in days; in years if long, in hours, minutes or seconds if short."""
    if isinf(days):
        return "never"
    if 0 < days < 1:
        for unit, count in (("hours", 24), ("min", 1440), ("s", 86_400)):
            if days * count >= 1:
                return f"{days * count:.3g} {unit}"
        return f"{days * 86_400:.2g} s"
    if days > 2 * 365.25:
        return f"{days / 365.25:,.3g} years" if days < 365.25e6 else f"{days / 365.25:.2g} years"
    return f"{days:.3g} days"
