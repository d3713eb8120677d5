"""The timing of records: what their releases could have carried, of all records, audited or not."""

from collections import Counter
from dataclasses import dataclass
from typing import Literal

import numpy as np

from weightwarden.logger.record import Record
from weightwarden.logger.release import SLOTS
from weightwarden.sampler.types import IntArray
from weightwarden.verifier.scoring.release_code import (
    CHOICE_BITS,
    PLACES,
    SLOT_BITS,
    TWO_WAY_END_BITS,
    UNKNOWN_GROUP_BITS,
    groups_by_place,
    pooled_slot_bits,
    runs_by_place,
    tick_bits,
)

TimingState = Literal["paced", "partly open", "open"]


@dataclass(frozen=True, kw_only=True)
class ReleaseTable:
    """Counts of the releases of some records, from which their timing is charged.

    Attributes:
        open_records: records without a release: nothing is known of the moments at which their answers left.
        tokens: output tokens of the other records.
        records_s: records by start slot, int64 [`SLOTS + 1`]; the last entry has no start slot.
        unknown_records: records without a start slot: what left, if anything, is unknown.
        unknown_groups: their groups with an unknown number of ticks before them.
        two_way_ends: records whose end may have left in two ways.
        groups_u: the different numbers of further groups, int64 [kinds]. An end that leaves on its own is one.
        runs_up: further groups with underruns before them, by place, int64 [kinds, `PLACES`].
        underruns_u: underruns, int64 [kinds].
        records_u: records of each kind, int64 [kinds].
    """

    open_records: int
    tokens: int
    records_s: IntArray
    unknown_records: int
    unknown_groups: int
    two_way_ends: int
    groups_u: IntArray
    runs_up: IntArray
    underruns_u: IntArray
    records_u: IntArray

    @property
    def records(self) -> int:
        """Number of records with a release."""
        return int(self.records_s.sum())

    @property
    def state(self) -> TimingState:
        """The state: the timing of all, of some or of none of the records is on record."""
        if not self.open_records:
            return "paced"
        return "partly open" if self.records else "open"

    @property
    def ticks(self) -> int:
        """Number of ticks after the starts: groups, and underruns."""
        return int((self.groups_u + self.underruns_u) @ self.records_u)

    @property
    def underruns(self) -> int:
        """Number of underruns."""
        return int(self.underruns_u @ self.records_u)

    @property
    def slot_bits(self) -> float:
        """Length of the start slots, bits: the shorter one of the records' own code and the pooled code."""
        return min(self.records * SLOT_BITS, pooled_slot_bits(self.records_s))

    @property
    def underrun_bits(self) -> float:
        """Length of the underruns, bits: the shorter one of the records' own code and the pooled code."""
        counts_u = groups_by_place(self.groups_u), self.runs_up, self.underruns_u
        own = float(tick_bits(*counts_u) @ self.records_u)
        return min(own, float(tick_bits(*(np.array(self.records_u @ count_u) for count_u in counts_u))))

    @property
    def unknown_bits(self) -> float:
        """Charge for what left unknown, bits: for each record a start slot or none, and ticks before each group."""
        return self.unknown_records * SLOT_BITS + self.unknown_groups * UNKNOWN_GROUP_BITS

    @property
    def end_bits(self) -> float:
        """Charge for the ends, bits."""
        return self.two_way_ends * TWO_WAY_END_BITS

    @property
    def bits(self) -> float:
        """Charge of the records with a release, bits. At most 2^B lists of their schedules have a charge of B bits."""
        if not self.records:
            return 0.0
        return self.slot_bits + self.underrun_bits + self.end_bits + self.unknown_bits + CHOICE_BITS

    @property
    def bits_per_token(self) -> float | None:
        """That charge by their output tokens; None without any."""
        return self.bits / self.tokens if self.tokens else None


class ReleaseCounter:
    """Accumulator of the releases of records, in any order."""

    def __init__(self) -> None:
        self._tokens = self._open = self._unknown = self._unknown_groups = self._two_way_ends = 0
        self._slots = [0] * (SLOTS + 1)
        self._kinds: Counter[tuple[int, ...]] = Counter()

    def add(self, record: Record) -> None:
        """Add a record."""
        tokens, release = len(record.output_token_ids), record.release
        if release is None:
            self._open += 1
            return
        self._tokens += tokens
        cut_off = record.finish_reason == "abort"
        # The end may have left after all groups.
        own_end = cut_off or (release.streamed and release.pace.fills_groups(tokens))
        self._two_way_ends += own_end
        groups = release.pace.groups(tokens) - 1 + own_end if release.streamed else 0
        if release.underruns:
            groups = max(groups, release.underruns[-1][0])
        if release.start_slot is None:
            self._slots[SLOTS] += 1
            self._unknown += 1
            self._unknown_groups += groups
            return
        self._slots[release.start_slot] += 1
        if groups:
            runs = runs_by_place([group for group, _ in release.underruns]).tolist()
            self._kinds[groups, *runs, release.ticks_missed] += 1

    @property
    def table(self) -> ReleaseTable:
        """The counts of the records so far."""
        rows = [(*kind, count) for kind, count in sorted(self._kinds.items())]
        rows_un = np.array(rows, np.int64).reshape(-1, PLACES + 3)
        return ReleaseTable(
            open_records=self._open,
            tokens=self._tokens,
            records_s=np.array(self._slots, np.int64),
            unknown_records=self._unknown,
            unknown_groups=self._unknown_groups,
            two_way_ends=self._two_way_ends,
            groups_u=rows_un[:, 0],
            runs_up=rows_un[:, 1:-2],
            underruns_u=rows_un[:, -2],
            records_u=rows_un[:, -1],
        )
