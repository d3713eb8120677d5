"""The figures of one attacker, in the form of the stored file and of the table."""

from dataclasses import asdict, dataclass
from typing import Any, Self

from benchmarks.attackers.detection import Detection
from benchmarks.results.tables.attackers import AttackerRow

LUCK_BITS = 20.0
"""Luck allowed, bits: a uniform message carries s bits more than any bound with probability 2^-s
(`verifier.statistics.bandwidth`).
"""
SEED_BITS = 64.0
"""Bits that the seed of a record can carry, if the server may issue it."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """Results of an attacker.

    Attributes:
        channel: the attacker's channel.
        knows: resources of the attacker's decoder.
        offered_bits: payload that was to be sent.
        decoded_bits: payload that was decoded.
        bound_bits: bound of the channel, all records audited.
        seconds: seconds of serving, decoding and verifying.
        policy: digest of the policy that judged the records.
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
        """Decoded payload per token, bits."""
        return self.decoded_bits / self.detection.tokens

    @property
    def bound_kept(self) -> bool:
        """True if the decoded payload exceeds the bound by no more than luck allows."""
        return self.decoded_bits <= self.bound_bits + LUCK_BITS

    @property
    def limit_kept(self) -> float:
        """Share of the audits of a tenth whose limit for all answers is not below the decoded payload, luck allowed."""
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
        """The row with the figures that follow from it."""
        return asdict(self) | {name: getattr(self, name) for name in FOLLOWING}

    @classmethod
    def from_json(cls, said: dict[str, Any]) -> Self:
        """The row from the stored form of `to_json`."""
        plain = {name: value for name, value in said.items() if name not in FOLLOWING}
        return cls(**(plain | {"detection": Detection(**said["detection"])}))


FOLLOWING = ("bits_per_token", "bound_kept", "limit_kept")
"""Members of a row's JSON that follow from the others."""
