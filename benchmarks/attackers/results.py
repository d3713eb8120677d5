"""The figures of one attacker, as they are kept and as the table shows them."""

from dataclasses import asdict, dataclass
from typing import Any, Self

from benchmarks.attackers.detection import Detection
from benchmarks.tables.attackers import AttackerRow

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

    def table_row(self) -> AttackerRow:
        """The row of the table."""
        seen = self.detection
        steals = self.channel != "nothing"
        message_1e2, message_1e4 = seen.by_message.values()
        day_1e2, day_1e4 = seen.by_day.values()
        return AttackerRow(
            attacker=self.name,
            offered_bits=self.offered_bits if steals else None,
            decoded_bits=self.decoded_bits if steals else None,
            decoded_bits_per_token=self.bits_per_token if steals else None,
            bound_bits=self.bound_bits,
            bound_kept=self.bound_kept if steals else None,
            limit_bits=sorted(seen.limit_bits)[len(seen.limit_bits) // 2],
            limit_kept_share=self.limit_kept if steals else None,
            mismatch_share=seen.mismatch_rate,
            messages_flagged_share_at_1e2=message_1e2,
            messages_flagged_share_at_1e4=message_1e4,
            days_flagged_share_at_1e2=day_1e2,
            days_flagged_share_at_1e4=day_1e4,
            tokens_to_alarm=seen.tokens_to_alarm,
            tokens_without_alarm=seen.tokens if seen.tokens_to_alarm is None else None,
        )

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
