"""Follower of taps: the reports in their folders become rows, each once."""

from collections.abc import Callable, Set
from dataclasses import dataclass

from sqlalchemy import Delete, delete, insert, select

from weightwarden.logger.archive.errors import ArchiveUnreadable
from weightwarden.logger.archive.storage import StoredFile, list_files
from weightwarden.logger.serving.event_log import Events
from weightwarden.text import printable
from weightwarden.verifier.egress.report import EgressReport
from weightwarden.verifier.server.database.leases import Membership
from weightwarden.verifier.server.database.schema import EGRESS_REPORT
from weightwarden.verifier.server.database.verdict_database import VerdictDatabase
from weightwarden.verifier.server.errors import LeaseLost, VerdictsUnusable
from weightwarden.verifier.server.ingest.egress_report import UnfitReport, read_report, text_of

MAX_FILES = 500
"""Number of files read in one search."""
_LARGEST = 2**63 - 1


@dataclass(frozen=True, kw_only=True)
class EgressFollower:
    """Follower of folders of reports, each the folder of one tap. Only one server follows them at a time.

    Attributes:
        folders: paths or fsspec URLs, as `listed_url` makes them.
        origins: origins of the logs that explain the taps' frames.
    """

    database: VerdictDatabase
    membership: Membership
    folders: tuple[str, ...]
    origins: Set[str]
    clock: Callable[[], float]
    events: Events

    def look(self) -> list[str] | None:
        """Read new and rewritten reports. Return the faults of folders, or None if another server follows them.

        A file that cannot be used is kept with its fault, and is read again in each search until it can, or is gone.

        Raises:
            VerdictsUnusable: the database fails.
            LeaseLost: another server took over.
        """
        if not self.folders:
            return []
        if not self.membership.take("egress"):
            return None
        try:
            return [trouble for folder in self.folders for trouble in self._look_in(folder)]
        finally:
            self.membership.give_back("egress")

    def _look_in(self, folder: str) -> list[str]:
        try:
            listed = list_files(folder, ".json")
        except ArchiveUnreadable as error:
            return [str(error)]
        columns = EGRESS_REPORT.c.url, EGRESS_REPORT.c.fingerprint, EGRESS_REPORT.c.fault
        with self.database.reading() as connection:
            rows = connection.execute(select(*columns).where(EGRESS_REPORT.c.folder == folder)).all()
        known = {(row.url, row.fingerprint) for row in rows if row.fault is None}
        faults = {row.url: (row.fingerprint, row.fault) for row in rows if row.fault is not None}
        new = [file for file in listed.files if (file.url, file.fingerprint) not in known]
        self._forget(faults.keys() - {file.url for file in new})
        for file in sorted(new, key=lambda file: (file.url in faults, file.url))[:MAX_FILES]:
            try:
                report = read_report(file, self.origins, self.clock())
            except (UnfitReport, ArchiveUnreadable) as error:
                self._refuse(folder, file, str(error), faults.get(file.url))
            except (VerdictsUnusable, LeaseLost):
                raise
            except Exception as error:  # a defect: the other reports are read
                self.events.defect(error)
                self._refuse(folder, file, f"an internal error: {type(error).__name__}", faults.get(file.url))
            else:
                self._keep(folder, file, report)
        return listed.strange

    def _keep(self, folder: str, file: StoredFile, report: EgressReport) -> None:
        """Store a report, in place of a fault of its file."""
        frames, size = report.total("unexplained")
        with self.database.writing() as connection:
            self.membership.require(connection, "egress")
            connection.execute(_fault_of(file.url))
            connection.execute(
                insert(EGRESS_REPORT).values(
                    folder=folder,
                    url=file.url,
                    fingerprint=file.fingerprint,
                    read=self.clock(),
                    subject=f"{folder} from {report.first_time:.3f}: {frames} frames, {size} bytes",
                    origin=report.log.origin,
                    verdict=report.verdict,
                    first_time=report.first_time,
                    last_time=report.last_time,
                    frames=min(report.frames, _LARGEST),
                    unexplained_frames=min(frames, _LARGEST),
                    unexplained_bytes=min(size, _LARGEST),
                    what=text_of(report),
                )
            )
        self.events.say("tap reported", url=printable(file.url), verdict=report.verdict, unexplained_frames=frames)

    def _refuse(self, folder: str, file: StoredFile, fault: str, before: tuple[str, str] | None) -> None:
        """Store the fault of a file, unless it is stored already."""
        if before == (file.fingerprint, fault):
            return
        with self.database.writing() as connection:
            self.membership.require(connection, "egress")
            connection.execute(_fault_of(file.url))
            connection.execute(
                insert(EGRESS_REPORT).values(
                    folder=folder, url=file.url, fingerprint=file.fingerprint, read=self.clock(), fault=fault
                )
            )
        self.events.say("tap's report refused", url=printable(file.url), why=fault)

    def _forget(self, urls: Set[str]) -> None:
        """Remove the faults of files that are gone, or are again what they were."""
        for url in sorted(urls):
            with self.database.writing() as connection:
                self.membership.require(connection, "egress")
                connection.execute(_fault_of(url))


def _fault_of(url: str) -> Delete:
    """The removal of a file's fault."""
    return delete(EGRESS_REPORT).where(EGRESS_REPORT.c.url == url, EGRESS_REPORT.c.fault.is_not(None))
