"""Following archives: found, checked, and their selected records put up for replay, in the order of their logs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from sqlalchemy import Connection, delete, insert, or_, select, update

from logger.archive.check import check_archive
from logger.archive.errors import ArchiveRefused, ArchiveUnreadable
from logger.archive.reader import Archive, read_archive
from logger.encoding import RecordEncodingError, decode_record
from logger.events import Events
from logger.keys import PublicKeys
from logger.record import Record
from sampler.errors import WeightwardenError, printable
from verifier.audit import is_selected
from verifier.errors import PolicyError
from verifier.fitness import UnfitRecord, check_fits
from verifier.server.activity import Activity
from verifier.server.database import VerdictDatabase, mapping
from verifier.server.errors import LeaseLost, VerdictsUnusable
from verifier.server.finder import HELD, Finder
from verifier.server.presence import Presence
from verifier.server.quarantine import quarantine_archive, release_archive, set_gaps
from verifier.server.schema import ARCHIVE, QUARANTINE, SERIES, TASK, TREE_ROOT
from verifier.server.selection import Selection
from verifier.server.series import next_position, set_series
from verifier.verification import Verifier

PAGE_RECORDS = 256
"""Selected records that are put up in one transaction."""
MOST_TRIES = 3
"""How often reading an archive may begin without ending, before it is left alone until its file changes."""


class UnfitArchive(WeightwardenError, ValueError):
    """An archive whose records cannot be verified here; `kind` says why in one word."""

    def __init__(self, kind: str, what: str) -> None:
        super().__init__(what)
        self.kind = kind


@dataclass(frozen=True, kw_only=True)
class Look:
    """What a look came to: whether it was this server's to follow, archives checked, what is wrong with the folders."""

    following: bool
    checked: int
    troubles: list[str]


@dataclass
class _Checked:
    """What checking an archive's records comes to; `unfit` is the first reason why they cannot be verified here."""

    model: str | None = None
    unfit: UnfitArchive | None = None
    tokens: int = 0
    cost: int = 0
    weight: int = 0
    selected: int = 0
    selected_cost: int = 0
    page: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Follower:
    """Follows folders of archives.

    Attributes:
        keys: of the logs. audit_key: chooses records, with `selection`'s rate.
        longest: tokens of a record that counts most in rates.
        first_record: index in each log at which following begins; what is missing behind it is a gap.
    """

    database: VerdictDatabase
    presence: Presence
    finder: Finder
    keys: PublicKeys
    audit_key: bytes = field(repr=False)
    selection: Selection
    verifier: Verifier
    first_record: int
    longest: int
    clock: Callable[[], float]
    events: Events
    activity: Activity = field(default_factory=Activity, init=False)

    def look(self) -> Look:
        """Look for archives, and check those that are new.

        1. If no other server is at it: bring the archives' rows up to the folders.
        2. Read what each new archive says of itself, and sort them into the order of the logs.
        3. Check each; put its selected records up for replay, or the archive into quarantine.
        4. Compare archives that were checked before, and written anew since.
        5. Say which ranges are missing.

        Raises:
            VerdictsUnusable: the database fails. LeaseLost: another server took over.
        """
        if not self.presence.take("follow"):
            return Look(following=False, checked=0, troubles=[])
        self.activity.progressed()
        try:
            # 1
            troubles, anew = self.finder.find()
            # 2
            opened = self._opened()
            rates = self._rates(opened)
            # 3
            for number, archive in opened:
                self._guarded(number, partial(self._check, number, archive, rates[number]))
            # 4
            for file in anew:
                self._guarded(None, partial(self.finder.compare, file))
            # 5
            self._say_gaps()
        finally:
            self.activity.ended()
            self.presence.give_back("follow")
        return Look(following=True, checked=len(opened), troubles=troubles)

    def _guarded(self, number: int | None, work: Callable[[], None]) -> None:
        """Do some work on an archive: whatever it does to its reader, the others are followed."""
        self.activity.progressed()
        try:
            work()
        except (VerdictsUnusable, LeaseLost):
            raise
        except Exception as error:
            self.events.defect(error)
            if number is not None:
                self._quarantine(number, "defect", f"an internal error: {type(error).__name__}")

    def _opened(self) -> list[tuple[int, Archive]]:
        """The new archives whose seal holds, in log order; the others are quarantined.

        What could not be read, or made a defect, is tried again; but not what was begun `MOST_TRIES` times and never
        ended, which takes its reader with it.
        """
        retried = select(QUARANTINE.c.archive).where(
            QUARANTINE.c.kind.in_(("unreadable", "defect")), QUARANTINE.c.resolved.is_(None)
        )
        with self.database.writing() as connection:
            self.presence.require(connection, "follow")
            new = connection.execute(
                select(ARCHIVE.c.id, ARCHIVE.c.url, ARCHIVE.c.tries)
                .where(or_(ARCHIVE.c.state == "found", ARCHIVE.c.id.in_(retried)), ARCHIVE.c.tries <= MOST_TRIES)
                .order_by(ARCHIVE.c.url)
            ).all()
        opened: list[tuple[int, Archive]] = []
        for number, url, tries in new:
            if tries == MOST_TRIES:
                self._quarantine(number, "unreadable", f"reading it was begun {tries} times and never ended", tries + 1)
            else:
                self._guarded(number, partial(self._open, number, url, opened))
        return sorted(opened, key=lambda one: (one[1].checkpoint.origin, one[1].start, one[1].end, one[1].url))

    def _open(self, number: int, url: str, opened: list[tuple[int, Archive]]) -> None:
        """Read what an archive says of itself, if its seal holds."""
        with self.database.writing() as connection:
            connection.execute(update(ARCHIVE).where(ARCHIVE.c.id == number).values(tries=ARCHIVE.c.tries + 1))
        try:
            archive = read_archive(url, self.keys)
        except ArchiveRefused as error:
            self._quarantine(number, "seal", error.what)
        except ArchiveUnreadable as error:
            self._quarantine(number, "unreadable", str(error))
        else:
            self._place(number, archive)
            opened.append((number, archive))

    def _rates(self, opened: Sequence[tuple[int, Archive]]) -> dict[int, float]:
        """The audit rate of each archive: the one that it got when it was first seen, or that of this look."""
        if not opened:
            return {}
        with self.database.writing() as connection:
            self.presence.require(connection, "follow")
            numbers = [number for number, _ in opened]
            rates = mapping(
                connection,
                select(ARCHIVE.c.id, ARCHIVE.c.audit_rate).where(
                    ARCHIVE.c.id.in_(numbers), ARCHIVE.c.audit_rate.is_not(None)
                ),
            )
            records = sum(archive.end - archive.start for number, archive in opened if number not in rates)
            if records:
                rate = self.selection.rate(connection, records, self.clock())
                new = [number for number in numbers if number not in rates]
                connection.execute(update(ARCHIVE).where(ARCHIVE.c.id.in_(new)).values(audit_rate=rate))
                rates |= dict.fromkeys(new, rate)
        return {number: float(rate) for number, rate in rates.items()}

    def _place(self, number: int, archive: Archive) -> None:
        """Keep which range an archive says it has: its seal holds."""
        says = {"origin": archive.checkpoint.origin, "start": archive.start, "end": archive.end}
        with self.database.writing() as connection:
            connection.execute(update(ARCHIVE).where(ARCHIVE.c.id == number).values(**says))

    def _check(self, number: int, archive: Archive, rate: float) -> None:
        """Check an archive's records against its log, and put those that are selected up for replay."""
        origin = archive.checkpoint.origin
        with self.database.writing() as connection:
            self.presence.require(connection, "follow")
            base = next_position(connection)
            connection.execute(delete(TASK).where(TASK.c.position >= base))  # of a check that was cut off
            known = mapping(
                connection,
                select(TREE_ROOT.c.size, TREE_ROOT.c.root).where(
                    TREE_ROOT.c.origin == origin,
                    TREE_ROOT.c.size >= archive.start,
                    TREE_ROOT.c.size <= archive.end,
                ),
            )
            overlapped = (
                connection.execute(
                    select(ARCHIVE.c.url).where(
                        ARCHIVE.c.origin == origin,
                        ARCHIVE.c.state.in_(HELD),
                        ARCHIVE.c.start < archive.end,
                        ARCHIVE.c.end > archive.start,
                    )
                )
                .scalars()
                .first()
            )
        checked = _Checked()
        try:
            keep = self._keeper(number, archive, base, rate, checked)
            findings = check_archive(archive, known, keep, lambda _: self.activity.progressed())
        except ArchiveUnreadable as error:
            self._quarantine(number, "unreadable", str(error))
            return
        wrong: UnfitArchive | None = None
        if findings:
            wrong = UnfitArchive(findings[0].kind, findings[0].what)
        elif overlapped is not None:
            wrong = UnfitArchive("duplicate", f"its records are in {printable(overlapped)}, too")
        elif archive.end <= self.first_record:
            wrong = UnfitArchive("duplicate", f"its records come before record {self.first_record}, the first followed")
        elif checked.unfit is not None:
            wrong = checked.unfit
            with self.database.writing() as connection:
                self._add_roots(connection, archive)
        if wrong is not None:
            self._quarantine(number, wrong.kind, str(wrong))
        else:
            self._publish(number, archive, base, rate, checked)

    def _keeper(
        self, number: int, archive: Archive, base: int, rate: float, checked: _Checked
    ) -> Callable[[Archive, int, bytes], None]:
        """What is done with each record of an archive that is being checked."""

        def keep(_: Archive, index: int, entry: bytes) -> None:
            if checked.unfit is not None:
                return
            try:
                record = self._fit(index, entry, checked)
            except UnfitArchive as error:
                checked.unfit = error
                return
            checked.tokens += len(record.output_token_ids)
            cost = len(record.prompt_token_ids) + len(record.output_token_ids)
            checked.cost += cost
            checked.weight += min(len(record.output_token_ids), self.longest)
            if index < self.first_record or not is_selected(self.audit_key, archive.checkpoint.root, index, rate):
                return
            checked.page.append(
                {
                    "position": base + checked.selected,
                    "archive": number,
                    "index": index,
                    "cost": cost,
                    "tokens": len(record.output_token_ids),
                    "payload": entry,
                    "attempts": 0,
                    "due": 0.0,
                }
            )
            checked.selected += 1
            checked.selected_cost += cost
            if len(checked.page) == PAGE_RECORDS:
                self._write_page(checked)

        return keep

    def _fit(self, index: int, entry: bytes, checked: _Checked) -> Record:
        """The record that an entry is, if it can be verified here.

        Raises:
            UnfitArchive: it cannot.
        """
        try:
            record = decode_record(entry)
        except RecordEncodingError as error:
            raise UnfitArchive("record", f"record {index}: {error}") from None
        try:
            self.verifier.check_scheme(record)
        except PolicyError as error:
            raise UnfitArchive("scheme", f"record {index}: engine: {error}") from None
        try:
            check_fits(record, self.verifier.replayer.identity)
        except UnfitRecord as error:
            raise UnfitArchive("model", f"record {index}: {error}") from None
        if checked.model is None:
            checked.model = record.model
            with self.database.reading() as connection:
                checked.model = connection.execute(select(SERIES.c.model_name)).scalar_one() or record.model
        if record.model != checked.model:
            raise UnfitArchive(
                "model", f"record {index}: model: {printable(record.model)}, not {printable(checked.model)}"
            )
        return record

    def _write_page(self, checked: _Checked) -> None:
        with self.database.writing() as connection:
            self.presence.require(connection, "follow")
            connection.execute(insert(TASK), checked.page)
        checked.page = []

    def _publish(self, number: int, archive: Archive, base: int, rate: float, checked: _Checked) -> None:
        """Let the selected records be replayed: from here on the archive counts."""
        now = self.clock()
        with self.database.writing() as connection:
            self.presence.require(connection, "follow")
            if checked.page:
                connection.execute(insert(TASK), checked.page)
            self._add_roots(connection, archive)
            published = connection.execute(
                update(ARCHIVE)
                .where(ARCHIVE.c.id == number, ARCHIVE.c.state.not_in(HELD))
                .values(
                    state="auditing" if checked.selected else "audited",
                    checked=now,
                    audited=None if checked.selected else now,
                    origin=archive.checkpoint.origin,
                    start=archive.start,
                    end=archive.end,
                    root=archive.checkpoint.root,
                    note=archive.note,
                    records=archive.end - archive.start,
                    tokens=checked.tokens,
                    cost=checked.cost,
                    weight=checked.weight,
                    audit_rate=rate,
                    selected=checked.selected,
                    tries=0,
                )
            ).rowcount
            if not published:
                raise LeaseLost("another server put this archive up")
            self.selection.spend(connection, checked.selected_cost)
            release_archive(connection, number, now)
            set_series(connection, next_position=base + checked.selected, model_name=checked.model)
        self.events.say(
            "archive checked",
            url=printable(archive.url),
            records=archive.end - archive.start,
            selected=checked.selected,
            rate=rate,
        )

    def _add_roots(self, connection: Connection, archive: Archive) -> None:
        origin = archive.checkpoint.origin
        for size, root in ((archive.start, archive.frontier.root()), (archive.end, archive.checkpoint.root)):
            there = select(TREE_ROOT.c.size).where(TREE_ROOT.c.origin == origin, TREE_ROOT.c.size == size)
            if connection.execute(there).first() is None:
                connection.execute(insert(TREE_ROOT).values(origin=origin, size=size, root=root))

    def _quarantine(self, number: int, kind: str, what: str, tries: int = 0) -> None:
        with self.database.writing() as connection:
            self.presence.require(connection, "follow")
            connection.execute(delete(TASK).where(TASK.c.position >= next_position(connection)))
            connection.execute(update(ARCHIVE).where(ARCHIVE.c.id == number).values(tries=tries))
            quarantine_archive(connection, number, kind, what, self.clock())
        self.events.say("archive quarantined", archive=number, kind=kind, why=what)

    def _say_gaps(self) -> None:
        """Ranges of each log that no archive has whose records are its log's, verifiable here or not."""
        unfit = select(QUARANTINE.c.archive).where(
            QUARANTINE.c.kind.in_(("model", "scheme", "record")), QUARANTINE.c.resolved.is_(None)
        )
        with self.database.writing() as connection:
            rows = connection.execute(
                select(ARCHIVE.c.origin, ARCHIVE.c.start, ARCHIVE.c.end, ARCHIVE.c.url)
                .where(or_(ARCHIVE.c.state.in_(HELD), ARCHIVE.c.id.in_(unfit)))
                .order_by(ARCHIVE.c.origin, ARCHIVE.c.start)
            ).all()
            gaps: dict[tuple[str, int, int], str] = {}
            reached: dict[str, int] = {}
            for origin, start, end, url in rows:
                at = reached.setdefault(origin, self.first_record)
                if start > at:
                    gaps[origin, at, start] = url
                reached[origin] = max(at, end)
            set_gaps(connection, gaps, self.clock())
