"""A row of the table of side channels, and the table as Markdown."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.attackers.results import LUCK_BITS
from weightwarden.verifier.statistics.bandwidth import binary_entropy


@dataclass(frozen=True, kw_only=True)
class Row:
    """What came of a channel.

    Attributes:
        symbols: that were sent, each one of `alphabet`; wrong: of them. bound_bits: None is open.
    """

    name: str
    tick_ms: int | None
    tokens: int
    symbols: int
    alphabet: int
    wrong: int
    bound_bits: float | None

    @property
    def offered_bits(self) -> float:
        """Payload that was sent."""
        return self.symbols * float(np.log2(self.alphabet))

    @property
    def decoded_bits(self) -> float:
        """n (log2 M - h2(e / n) - e / n log2(M - 1)): what is left of n symbols of M when e are wrong."""
        if not self.symbols:
            return 0.0
        share = self.wrong / self.symbols
        if share >= 1 - 1 / self.alphabet:
            return 0.0
        lost = binary_entropy(share) + share * float(np.log2(self.alphabet - 1))
        return self.symbols * (float(np.log2(self.alphabet)) - lost)

    @property
    def bound_kept(self) -> bool:
        """Whether no more arrived than the bound, and luck, allow."""
        return self.bound_bits is None or self.decoded_bits <= self.bound_bits + LUCK_BITS


def markdown(rows: Sequence[Row]) -> str:
    """The table."""
    lines = [
        "| channel | tick | tokens | bits offered | wrong | decoded | bound | kept |",
        "|---|--:|--:|--:|--:|--:|--:|---|",
    ]
    for row in rows:
        cells: Mapping[str, str] = {
            "name": row.name,
            "tick": "none" if row.tick_ms is None else f"{row.tick_ms} ms",
            "tokens": str(row.tokens),
            "offered": f"{row.offered_bits:.0f}",
            "wrong": f"{row.wrong} of {row.symbols}",
            "decoded": f"{row.decoded_bits:.0f}",
            "bound": "open" if row.bound_bits is None else f"{row.bound_bits:.0f}",
            "kept": "-" if row.bound_bits is None else "yes" if row.bound_kept else "NO",
        }
        lines.append("| " + " | ".join(cells.values()) + " |")
    return "\n".join(lines) + "\n"
