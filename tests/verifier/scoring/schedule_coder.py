"""An arithmetic coder of underruns, in exact fractions, with the laws of `verifier.scoring.release_code`."""

from collections.abc import Callable, Sequence
from fractions import Fraction

BEGIN = (Fraction(1, 16), Fraction(1))
GO = (Fraction(1, 2), Fraction(1, 2))


class _Interval:
    """The interval of a sequence of decisions, with the adaptive laws of both kinds."""

    def __init__(self) -> None:
        self.low, self.width = Fraction(0), Fraction(1)
        self._laws = {"begin": list(BEGIN), "go": list(GO)}

    def split(self, kind: str) -> Fraction:
        """Where the interval of no begins: that of yes comes first."""
        yes, no = self._laws[kind]
        return self.low + self.width * yes / (yes + no)

    def take(self, kind: str, yes: bool) -> None:
        at = self.split(kind)
        if yes:
            self.width = at - self.low
        else:
            self.low, self.width = at, self.low + self.width - at
        self._laws[kind][0 if yes else 1] += 1


def _decide(groups: int, decision: Callable[[str], bool]) -> list[int]:
    missed = []
    for _ in range(groups):
        ticks = 1 if decision("begin") else 0
        while ticks and decision("go"):
            ticks += 1
        missed.append(ticks)
    return missed


def encoded(missed: Sequence[int]) -> str:
    """The shortest bits whose every continuation lies in the interval of these underruns."""
    interval = _Interval()
    wanted = iter([yes for ticks in missed for yes in ([False] if not ticks else [True] * ticks + [False])])

    def decision(kind: str) -> bool:
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

    def decision(kind: str) -> bool:
        yes = value < interval.split(kind)
        interval.take(kind, yes)
        return yes

    missed = _decide(groups, decision)
    return missed, len(encoded(missed))
