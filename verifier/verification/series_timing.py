"""The timing of a series of answers: all of them, audited or not."""

from dataclasses import dataclass, replace
from typing import Self

from weightwarden.verifier.scoring.release_ledger import ReleaseTable
from weightwarden.verifier.statistics.exfiltration import TimingChannel
from weightwarden.verifier.statistics.rounding import upper, upper_bytes


@dataclass(frozen=True, kw_only=True)
class SeriesTiming:
    """Charge of the timing of a series of answers by the code of releases, archive by archive or audit by audit.

    Attributes:
        records: answers whose records hold their release.
        tokens: their output tokens.
        bits: their charge, bits.
        open_records: other answers: nothing is known of their timing. Archives of earlier versions have these alone.
    """

    records: int = 0
    tokens: int = 0
    bits: float = 0.0
    open_records: int = 0

    def plus(self, table: ReleaseTable) -> Self:
        """The charge of these answers and of those that a table counts, which have a code of their own."""
        return replace(
            self,
            records=self.records + table.records,
            tokens=self.tokens + table.tokens,
            bits=self.bits + table.bits,
            open_records=self.open_records + table.open_records,
        )

    @property
    def paced(self) -> bool:
        """True if there are answers, and all of them hold their release."""
        return self.records > 0 and not self.open_records

    @property
    def bits_per_token(self) -> float | None:
        """The charge by the output tokens; None without any."""
        return self.bits / self.tokens if self.tokens else None

    @property
    def statement(self) -> str:
        """The charge in a sentence, or that timing is open."""
        answers = self.records + self.open_records
        if not self.records or self.bits_per_token is None:
            return f"Timing is open: of {answers:,} answers none with tokens holds when it was released."
        said = (
            f"The moments at which the sidecar released {'all' if self.paced else f'{self.records:,} of'} {answers:,}"
            f" answers have carried at most {upper_bytes(self.bits)}, {upper(self.bits_per_token, 3)} bits a token"
        )
        if self.paced:
            return f"{said}."
        return f"{said}. Timing is open for the other {self.open_records:,}: nothing holds when they were released."

    def channel(self, tokens_per_tick: float | None) -> TimingChannel:
        """The channel of an estimate: the charge if all answers have one; else that of ticks, which may be open.

        Args:
            tokens_per_tick: mean tokens of a stream on a tick; None without ticks.
        """
        if self.paced and self.bits_per_token is not None:
            return TimingChannel(charged=self.bits_per_token)
        return TimingChannel(tokens_per_tick=tokens_per_tick)
