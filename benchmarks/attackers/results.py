"""A row of the table of attackers, and the table as Markdown."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

from benchmarks.attackers.detection import Detection

LUCK_BITS = 20.0
"""A uniform message lets s bits more through than any bound with probability 2^-s (`verifier.statistics.bandwidth`)."""
SEED_BITS = 64.0
"""What the seed of a record can say, where the server is free to issue it."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """What came of an attacker.

    Attributes:
        channel, knows: as the attacker's. offered_bits: payload that was to be sent. decoded_bits: that arrived.
        bound_bits: of its channel, all records audited. seconds: that serving, decoding and verifying took.
        policy: digest of the policy that it was held against.
    """

    name: str
    channel: str
    knows: str
    offered_bits: float
    decoded_bits: float
    bound_bits: float
    detection: Detection
    seconds: float
    policy: str

    @property
    def bits_per_token(self) -> float:
        """Payload that arrived."""
        return self.decoded_bits / self.detection.tokens

    @property
    def bound_kept(self) -> bool:
        """Whether no more arrived than the bound, and luck, allow."""
        return self.decoded_bits <= self.bound_bits + LUCK_BITS

    @property
    def limit_kept(self) -> float:
        """Share of the audits of a tenth whose limit for all answers is not below what arrived, luck allowed."""
        limits = self.detection.limit_bits
        return sum(self.decoded_bits <= limit + LUCK_BITS for limit in limits) / len(limits)

    def to_json(self) -> dict[str, Any]:
        """The row with what follows from it."""
        return asdict(self) | {name: getattr(self, name) for name in FOLLOWING}

    @classmethod
    def from_json(cls, said: dict[str, Any]) -> Self:
        """What `to_json` made."""
        plain = {name: value for name, value in said.items() if name not in FOLLOWING}
        return cls(**(plain | {"detection": Detection(**said["detection"])}))


FOLLOWING = ("bits_per_token", "bound_kept", "limit_kept")
"""Members of a row's JSON that follow from the others."""
COLUMNS = (
    *("attacker", "bits offered", "decoded", "bits/token", "bound, bits", "kept", "a tenth audited: limit", "kept"),
    *("mismatches", "message 1e-2", "message 1e-4", "day 1e-2", "day 1e-4", "tokens to alarm"),
)


def markdown(rows: Sequence[Row]) -> str:
    """The table."""
    lines = ["| " + " | ".join(COLUMNS) + " |", "|---|" + "--:|" * (len(COLUMNS) - 1)]
    for row in rows:
        seen = row.detection
        steals = row.channel != "nothing"
        cells = [
            row.name,
            f"{row.offered_bits:.0f}" if steals else "-",
            f"{row.decoded_bits:.0f}" if steals else "-",
            f"{row.bits_per_token:.3f}" if steals else "-",
            f"{row.bound_bits:.0f}",
            ("yes" if row.bound_kept else "NO") if steals else "-",
            f"{sorted(seen.limit_bits)[len(seen.limit_bits) // 2]:.0f}",
            f"{100 * row.limit_kept:.0f}%" if steals else "-",
            f"{100 * seen.mismatch_rate:.1f}%",
            *(f"{100 * share:.0f}%" for share in (*seen.by_message.values(), *seen.by_day.values())),
            f"> {seen.tokens}" if seen.tokens_to_alarm is None else f"{seen.tokens_to_alarm:.0f}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"
