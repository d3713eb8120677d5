"""Follower of archives: found, checked, and their selected records queued for replay, in the order of their logs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from sqlalchemy import Connection, delete, insert, or_, select, update

from weightwarden.logger.archive.check import check_archive
from weightwarden.logger.archive.errors import ArchiveRefused, ArchiveUnreadable
from weightwarden.logger.archive.reader import Archive, read_archive
from weightwarden.logger.serving.event_log import Events
from weightwarden.logger.tlog.cosignature import Quorum
from weightwarden.logger.tlog.keys import PublicKeys
from weightwarden.logger.tlog.signed_note import NoteError
from weightwarden.text import printable
from weightwarden.verifier.audit_selection import AuditDraw
from weightwarden.verifier.server.audit.hang_detector import HangDetector
from weightwarden.verifier.server.database.leases import Membership
from weightwarden.verifier.server.database.schema import ARCHIVE, QUARANTINE, TASK, TREE_ROOT
from weightwarden.verifier.server.database.series import next_position, set_series
from weightwarden.verifier.server.database.verdict_database import VerdictDatabase, mapping
from weightwarden.verifier.server.errors import LeaseLost, VerdictsUnusable
from weightwarden.verifier.server.ingest.archive_intake import ArchiveIntake, UnfitArchive
from weightwarden.verifier.server.ingest.archive_scanner import HELD, ArchiveScanner
from weightwarden.verifier.server.ingest.audit_rate import DesignSource
from weightwarden.verifier.server.ingest.quarantine import quarantine_archive, release_archive, set_gaps
from weightwarden.verifier.statistics.sampling_design import SamplingDesign
from weightwarden.verifier.verification.executor import Executor
from weightwarden.verifier.verification.length_table import LengthTable

MAX_TRIES = 3
"""Number of unfinished attempts to read an archive, after which it is ignored until its file changes."""


@dataclass(frozen=True, kw_only=True)
class Look:
    """Result of a search.

    Attributes:
        following: whether this server holds the lease to follow.
        checked: number of archives checked.
        troubles: faults of the folders.
    """

    following: bool
    checked: int
    troubles: list[str]


@dataclass(frozen=True, kw_only=True)
class Follower:
    """Follower of folders of archives.

    Attributes:
        keys: public keys of the logs.
        quorum: the witnesses that must have cosigned an archive, or one that continues it; None without witnesses.
        audit_key: audit key that draws records, in the sampling design of `selection`.
        selection: source of the sampling design.
        start_index: index in each log at which following begins; a missing range behind it is a gap.
    """

    database: VerdictDatabase
    membership: Membership
    scanner: ArchiveScanner
    keys: PublicKeys
    quorum: Quorum | None = None
    audit_key: bytes = field(repr=False)
    selection: DesignSource
    verifier: Executor
    start_index: int
    clock: Callable[[], float]
    events: Events
    hang_detector: HangDetector = field(default_factory=HangDetector, init=False)

    def look(self) -> Look:
        """Search for archives, and check the new ones.

        1. If no other server does so: update the archives' rows to the folders.
        2. Open each new archive, and sort them into the order of the logs.
        3. Check each; queue its selected records for replay, or put the archive into quarantine.
        4. Compare archives that were checked before and have been rewritten since.
        5. Record the missing ranges.

        Raises:
            VerdictsUnusable: the database fails.
            LeaseLost: another server took over.
        """
        if not self.membership.take("follow"):
            return Look(following=False, checked=0, troubles=[])
        self.hang_detector.progressed()
        try:
            # 1
            troubles, anew = self.scanner.find()
            # 2
            opened = self._opened()
            designs = self._designs(opened)
            # 3
            for number, archive in opened:
                self._guarded(number, partial(self._check, number, archive, designs[number]))
            # 4
            for file in anew:
                self._guarded(None, partial(self.scanner.compare, file))
            # 5
            self._say_gaps()
        finally:
            self.hang_detector.ended()
            self.membership.give_back("follow")
        return Look(following=True, checked=len(opened), troubles=troubles)

    def _guarded(self, number: int | None, work: Callable[[], None]) -> None:
        """Isolated work on an archive: a failure, even of the reading process, does not stop the work on others."""
        self.hang_detector.progressed()
        try:
            work()
        except (VerdictsUnusable, LeaseLost):
            raise
        except Exception as error:
            self.events.defect(error)
            if number is not None:
                self._quarantine(number, "defect", f"an internal error: {type(error).__name__}")

    def _opened(self) -> list[tuple[int, Archive]]:
        """The new archives with a valid seal, in log order; the others are quarantined.

        An archive that could not be read, or caused a defect, is tried again. One with `MAX_TRIES` attempts that never
        ended is not, since it crashes its reader.
        """
        retried = select(QUARANTINE.c.archive).where(
            QUARANTINE.c.kind.in_(("unreadable", "defect")), QUARANTINE.c.resolved.is_(None)
        )
        with self.database.writing() as connection:
            self.membership.require(connection, "follow")
            new = connection.execute(
                select(ARCHIVE.c.id, ARCHIVE.c.url, ARCHIVE.c.tries)
                .where(or_(ARCHIVE.c.state == "found", ARCHIVE.c.id.in_(retried)), ARCHIVE.c.tries <= MAX_TRIES)
                .order_by(ARCHIVE.c.url)
            ).all()
        opened: list[tuple[int, Archive]] = []
        for number, url, tries in new:
            if tries == MAX_TRIES:
                self._quarantine(number, "unreadable", f"reading it was begun {tries} times and never ended", tries + 1)
            else:
                self._guarded(number, partial(self._open, number, url, opened))
        return sorted(opened, key=lambda one: (one[1].checkpoint.origin, one[1].start, one[1].end, one[1].url))

    def _open(self, number: int, url: str, opened: list[tuple[int, Archive]]) -> None:
        """Open an archive, if its seal is valid."""
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

    def _designs(self, opened: Sequence[tuple[int, Archive]]) -> dict[int, SamplingDesign]:
        """The sampling design of each archive: its own since it was first seen, or that of this search."""
        if not opened:
            return {}
        with self.database.writing() as connection:
            self.membership.require(connection, "follow")
            numbers = [number for number, _ in opened]
            kept = connection.execute(
                select(ARCHIVE.c.id, ARCHIVE.c.audit_rate, ARCHIVE.c.audit_by).where(
                    ARCHIVE.c.id.in_(numbers), ARCHIVE.c.audit_rate.is_not(None)
                )
            )
            designs = {row.id: SamplingDesign(row.audit_rate, row.audit_by) for row in kept}
            records = sum(archive.end - archive.start for number, archive in opened if number not in designs)
            if records:
                design = self.selection.design(connection, records, self.clock(), self.membership.living(connection))
                new = [number for number in numbers if number not in designs]
                drawn = {"audit_rate": design.rate, "audit_by": design.by}
                connection.execute(update(ARCHIVE).where(ARCHIVE.c.id.in_(new)).values(**drawn))
                designs |= dict.fromkeys(new, design)
        return designs

    def _place(self, number: int, archive: Archive) -> None:
        """Store the range of an archive with a valid seal."""
        says = {"origin": archive.checkpoint.origin, "start": archive.start, "end": archive.end}
        with self.database.writing() as connection:
            connection.execute(update(ARCHIVE).where(ARCHIVE.c.id == number).values(**says))

    def _check(self, number: int, archive: Archive, design: SamplingDesign) -> None:
        """Check an archive's records against its log, and queue the selected ones for replay."""
        origin = archive.checkpoint.origin
        with self.database.writing() as connection:
            self.membership.require(connection, "follow")
            base = next_position(connection)
            connection.execute(delete(TASK).where(TASK.c.position >= base))  # from an aborted check
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
        intake = ArchiveIntake(
            membership=self.membership,
            verifier=self.verifier,
            draw=AuditDraw(design.rate, self.audit_key, design.by),
            number=number,
            archive=archive,
            base=base,
            start_index=self.start_index,
        )
        try:
            findings = check_archive(archive, known, intake.keep, lambda _: self.hang_detector.progressed())
        except ArchiveUnreadable as error:
            self._quarantine(number, "unreadable", str(error))
            return
        wrong: UnfitArchive | None = None
        lacking = self._lack_of_cosignatures(archive)
        if findings:
            wrong = UnfitArchive(findings[0].kind, findings[0].what)
        elif lacking is not None:
            wrong = UnfitArchive("cosignature", lacking)
        elif overlapped is not None:
            wrong = UnfitArchive("duplicate", f"its records are in {printable(overlapped)}, too")
        elif archive.end <= self.start_index:
            wrong = UnfitArchive("duplicate", f"its records come before record {self.start_index}, the first followed")
        elif intake.unfit is not None:
            wrong = intake.unfit
            with self.database.writing() as connection:
                self._add_roots(connection, archive)
        if wrong is not None:
            self._quarantine(number, wrong.kind, str(wrong))
        else:
            self._publish(intake)

    def _lack_of_cosignatures(self, archive: Archive) -> str | None:
        """The lack of an archive that has no quorum, and that no checked archive continues; else None.

        A checked archive that begins at its end covers it: the check compared its root with the tree from which that
        archive continues.
        """
        if self.quorum is None:
            return None
        try:
            lacking = self.quorum.missing(self.quorum.witnesses.cosignatures(archive.note))
        except NoteError as error:
            return str(error)
        with self.database.reading() as connection:
            continued = connection.execute(
                select(ARCHIVE.c.id).where(
                    ARCHIVE.c.origin == archive.checkpoint.origin,
                    ARCHIVE.c.state.in_(HELD),
                    ARCHIVE.c.start == archive.end,
                )
            ).first()
        return None if continued is not None else lacking

    def _publish(self, intake: ArchiveIntake) -> None:
        """Release the selected records for replay: from now on the archive counts."""
        archive, now, releases = intake.archive, self.clock(), intake.releases.table
        with self.database.writing() as connection:
            self.membership.require(connection, "follow")
            if intake.page:
                connection.execute(insert(TASK), intake.page)
            self._add_roots(connection, archive)
            published = connection.execute(
                update(ARCHIVE)
                .where(ARCHIVE.c.id == intake.number, ARCHIVE.c.state.not_in(HELD))
                .values(
                    state="auditing" if intake.selected else "audited",
                    checked=now,
                    audited=None if intake.selected else now,
                    origin=archive.checkpoint.origin,
                    start=archive.start,
                    end=archive.end,
                    root=archive.checkpoint.root,
                    note=archive.note,
                    records=archive.end - archive.start,
                    tokens=intake.tokens,
                    cost=intake.cost,
                    unit_cost=intake.unit_cost,
                    audit_rate=intake.draw.rate,
                    audit_by=intake.draw.by,
                    selected=intake.selected,
                    selected_tokens=intake.selected_tokens,
                    position_end=intake.base + intake.selected,
                    unaudited=LengthTable.of(intake.unaudited).to_bytes(),
                    paced_records=releases.records,
                    paced_tokens=releases.tokens,
                    timing_bits=releases.bits,
                    tries=0,
                )
            ).rowcount
            if not published:
                raise LeaseLost("another server put this archive up")
            self.selection.spend(connection, intake.selected_cost)
            release_archive(connection, intake.number, now)
            self._recheck_before(connection, archive)
            set_series(connection, next_position=intake.base + intake.selected, model_name=intake.model)
        self.events.say(
            "archive checked",
            url=printable(archive.url),
            records=archive.end - archive.start,
            selected=intake.selected,
            rate=intake.draw.rate,
            by=intake.draw.by,
        )

    def _recheck_before(self, connection: Connection, archive: Archive) -> None:
        """Have an archive without a quorum checked anew, now that this archive covers it."""
        uncosigned = select(QUARANTINE.c.archive).where(
            QUARANTINE.c.kind == "cosignature", QUARANTINE.c.resolved.is_(None)
        )
        connection.execute(
            update(ARCHIVE)
            .where(
                ARCHIVE.c.id.in_(uncosigned),
                ARCHIVE.c.origin == archive.checkpoint.origin,
                ARCHIVE.c.end == archive.start,
            )
            .values(state="found")
        )

    def _add_roots(self, connection: Connection, archive: Archive) -> None:
        origin = archive.checkpoint.origin
        for size, root in ((archive.start, archive.frontier.root()), (archive.end, archive.checkpoint.root)):
            there = select(TREE_ROOT.c.size).where(TREE_ROOT.c.origin == origin, TREE_ROOT.c.size == size)
            if connection.execute(there).first() is None:
                connection.execute(insert(TREE_ROOT).values(origin=origin, size=size, root=root))

    def _quarantine(self, number: int, kind: str, what: str, tries: int = 0) -> None:
        with self.database.writing() as connection:
            self.membership.require(connection, "follow")
            connection.execute(delete(TASK).where(TASK.c.position >= next_position(connection)))
            connection.execute(update(ARCHIVE).where(ARCHIVE.c.id == number).values(tries=tries))
            quarantine_archive(connection, number, kind, what, self.clock())
        self.events.say("archive quarantined", archive=number, kind=kind, why=what)

    def _say_gaps(self) -> None:
        """Record the ranges of each log that no authentic archive holds.

        An authentic archive counts whether its records are verifiable here or not.
        """
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
                at = reached.setdefault(origin, self.start_index)
                if start > at:
                    gaps[origin, at, start] = url
                reached[origin] = max(at, end)
            set_gaps(connection, gaps, self.clock())
