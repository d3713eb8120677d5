"""An arithmetic coder of underruns, in exact fractions, with the laws of `verifier.scoring.release_code`.

A kind of decision is the place of a group before which a run may begin, or `GOES_ON`: whether a run goes on.
"""

from collections.abc import Callable, Sequence
from fractions import Fraction

BEGIN = (Fraction(1, 16), Fraction(1))
GO = (Fraction(1, 2), Fraction(1, 2))
GOES_ON = -1


def place(group: int) -> int:
    """The place of a group, of which the first one is 0: the groups 1 to 3, 4 to 15, 16 to 63, and later."""
    return sum(group >= first for first in (4, 16, 64))


class _Interval:
    """The interval of a sequence of decisions, with the adaptive laws of each kind."""

    def __init__(self) -> None:
        self.low, self.width = Fraction(0), Fraction(1)
        self._laws = {GOES_ON: list(GO)} | {kind: list(BEGIN) for kind in range(4)}

    def split(self, kind: int) -> Fraction:
        """Where the interval of no begins: that of yes comes first."""
        yes, no = self._laws[kind]
        return self.low + self.width * yes / (yes + no)

    def take(self, kind: int, yes: bool) -> None:
        at = self.split(kind)
        if yes:
            self.width = at - self.low
        else:
            self.low, self.width = at, self.low + self.width - at
        self._laws[kind][0 if yes else 1] += 1


def _decide(groups: int, decision: Callable[[int], bool]) -> list[int]:
    missed = []
    for group in range(1, groups + 1):
        ticks = 1 if decision(place(group)) else 0
        while ticks and decision(GOES_ON):
            ticks += 1
        missed.append(ticks)
    return missed


def encoded(missed: Sequence[int]) -> str:
    """The shortest bits whose every continuation lies in the interval of these underruns."""
    interval = _Interval()
    wanted = iter([yes for ticks in missed for yes in ([False] if not ticks else [True] * ticks + [False])])

    def decision(kind: int) -> bool:
        yes = next(wanted)
        interval.take(kind, yes)
        return yes

    _decide(len(missed), decision)
    length = 0
    while True:
        number = -(-interval.low * 2**length // 1)
        if (number + 1) * Fraction(1, 2**length) <= interval.low + interval.width:
            return format(int(number), f"0{length}b") if length else ""
        length += 1


def decoded(bits: str, groups: int) -> tuple[list[int], int]:
    """The underruns before so many groups, from bits that go on, and the number of bits that they have."""
    interval, value = _Interval(), Fraction(int(bits, 2), 2 ** len(bits))

    def decision(kind: int) -> bool:
        yes = value < interval.split(kind)
        interval.take(kind, yes)
        return yes

    missed = _decide(groups, decision)
    return missed, len(encoded(missed))
