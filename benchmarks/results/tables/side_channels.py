"""The table of side channels."""

import math

from benchmarks.attackers.results import LUCK_BITS
from benchmarks.results.file import ResultRow, Results
from benchmarks.results.table import Column, ResultsTable
from weightwarden.verifier.statistics.bandwidth import binary_entropy


class SideChannelRow(ResultRow):
    """Results of a channel.

    Attributes:
        name: name of the channel.
        control: control of the moments at which answers leave: none, a tick, or a pace.
        tokens: output tokens of the answers.
        symbols: number of symbols sent.
        alphabet: the number of different symbols.
        wrong: the symbols that were not received as sent.
        bound_bits: the bound of the channel, with a pace what the ledger charges; None where it is open.
    """

    name: str
    control: str
    tokens: int
    symbols: int
    alphabet: int
    wrong: int
    bound_bits: float | None

    @property
    def offered_bits(self) -> float:
        """Payload that was sent, bits."""
        return self.symbols * math.log2(self.alphabet)

    @property
    def decoded_bits(self) -> float:
        """n (log2 M - h2(e / n) - e / n log2(M - 1)): information in n symbols of M when e are wrong."""
        if not self.symbols:
            return 0.0
        share = self.wrong / self.symbols
        if share >= 1 - 1 / self.alphabet:
            return 0.0
        lost = binary_entropy(share) + share * math.log2(self.alphabet - 1)
        return self.symbols * (math.log2(self.alphabet) - lost)

    @property
    def bound_kept(self) -> bool:
        """True if the decoded payload exceeds the bound by no more than luck allows."""
        return self.bound_bits is None or self.decoded_bits <= self.bound_bits + LUCK_BITS


def _kept(row: SideChannelRow) -> str:
    return "-" if row.bound_bits is None else "yes" if row.bound_kept else "NO"


SIDE_CHANNELS = ResultsTable[SideChannelRow](
    Results[SideChannelRow],
    (
        Column("channel", lambda row: row.name, words=True),
        Column("release", lambda row: row.control, words=True),
        Column("tokens", lambda row: f"{row.tokens}"),
        Column("bits offered", lambda row: f"{row.offered_bits:.0f}"),
        Column("wrong", lambda row: f"{row.wrong} of {row.symbols}"),
        Column("decoded", lambda row: f"{row.decoded_bits:.0f}"),
        Column("bound", lambda row: "open" if row.bound_bits is None else f"{row.bound_bits:.0f}"),
        Column("kept", _kept, words=True),
    ),
)
