"""Measurements in rounds, all ways in turn: what disturbs the machine for a while disturbs all ways of a round."""

from collections.abc import Callable, Sequence
from statistics import median
from typing import Any, TypeVar

import click

Way = TypeVar("Way")
Measured = TypeVar("Measured")


class Numbers(click.ParamType[list[int]]):
    """Numbers from 1 on, with commas between them."""

    name = "numbers"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[int]:
        try:
            numbers = [int(one) for one in str(value).split(",")]
        except ValueError:
            numbers = []
        if not numbers or min(numbers) < 1:
            self.fail(f"{value!r} is not numbers from 1 on, such as 1,16,64", param, ctx)
        return numbers


def in_rounds(ways: Sequence[Way], rounds: int, measured: Callable[[Way], Measured]) -> dict[Way, list[Measured]]:
    """The measurements of each way, in rounds of all ways."""
    found: dict[Way, list[Measured]] = {way: [] for way in ways}
    for _ in range(rounds):
        for way in ways:
            found[way].append(measured(way))
    return found


def median_ratio(one: Sequence[Measured], base: Sequence[Measured], figure: Callable[[Measured], float]) -> float:
    """The median of the ratios within a round."""
    return float(median(figure(mine) / figure(its) for mine, its in zip(one, base, strict=True)))
