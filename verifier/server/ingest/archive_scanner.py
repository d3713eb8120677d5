"""Search for archives: new files become rows, and rewritten files are compared."""

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import insert, select, update

from weightwarden.logger.archive.errors import ArchiveRefused, ArchiveUnreadable
from weightwarden.logger.archive.reader import read_archive
from weightwarden.logger.archive.storage import StoredFile, list_archives
from weightwarden.logger.tlog.keys import PublicKeys
from weightwarden.verifier.server.database.leases import Membership
from weightwarden.verifier.server.database.schema import ARCHIVE
from weightwarden.verifier.server.database.verdict_database import VerdictDatabase
from weightwarden.verifier.server.ingest.quarantine import note_archive, release_archive

HELD = ("auditing", "audited")
"""States of archives whose records are, or were, queued for replay; never queued again."""
MAX_AGAIN = 10
"""Number of rewritten checked archives compared in one search, so that new archives need not wait for all of them."""


@dataclass(frozen=True, kw_only=True)
class ArchiveScanner:
    """Scanner of folders, used by the one server that follows.

    Attributes:
        folders: paths or fsspec URLs.
        keys: public keys of the logs.
        largest: largest size of an archive, bytes; larger files are ignored.
    """

    database: VerdictDatabase
    membership: Membership
    folders: tuple[str, ...]
    keys: PublicKeys
    largest: int
    clock: Callable[[], float]

    def find(self) -> tuple[list[str], list[StoredFile]]:
        """Update the rows to the folders. Return the faults of folders, and the checked archives that were rewritten.

        Raises:
            VerdictsUnusable: the database fails.
            LeaseLost: another server follows.
        """
        troubles: list[str] = []
        anew: list[StoredFile] = []
        for folder in self.folders:
            try:
                listed = list_archives(folder)
            except ArchiveUnreadable as error:
                troubles.append(str(error))
                continue
            troubles.extend(listed.strange)
            large = [file for file in listed.files if file.size is not None and file.size > self.largest]
            troubles.extend(f"{file.url}: {file.size} bytes, more than an archive has" for file in large)
            anew += self._rows(folder, [file for file in listed.files if file not in large])
        return troubles, anew[:MAX_AGAIN]

    def _rows(self, folder: str, listed: list[StoredFile]) -> list[StoredFile]:
        """Rows of new, changed and missing files, and checked archives that were rewritten."""
        with self.database.reading() as connection:
            rows = connection.execute(select(ARCHIVE.c.id, ARCHIVE.c.url, ARCHIVE.c.fingerprint, ARCHIVE.c.state)).all()
        known = {row.url: row for row in rows}
        anew = []
        for file in listed:
            row = known.pop(file.url, None)
            if row is not None and row.fingerprint == file.fingerprint:
                continue
            if row is not None and row.state in HELD:
                anew.append(file)
                continue
            found = {"fingerprint": file.fingerprint, "state": "found", "found": self.clock(), "tries": 0}
            with self.database.writing() as connection:
                self.membership.require(connection, "follow")
                if row is None:
                    connection.execute(insert(ARCHIVE).values(url=file.url, folder=folder, **found))
                else:
                    connection.execute(update(ARCHIVE).where(ARCHIVE.c.id == row.id).values(**found))
        for row in known.values():
            if row.state in ("found", "quarantined"):
                self._forget(row.id, folder)
        return anew

    def _forget(self, archive: int, folder: str) -> None:
        """Remove a missing file that was never audited. The range of its archive, if known, becomes a gap."""
        with self.database.writing() as connection:
            self.membership.require(connection, "follow")
            gone = (
                update(ARCHIVE)
                .where(ARCHIVE.c.id == archive, ARCHIVE.c.folder == folder)
                .values(state="gone", fingerprint="")
            )
            if connection.execute(gone).rowcount:
                release_archive(connection, archive, self.clock())

    def compare(self, file: StoredFile) -> None:
        """Compare a rewritten archive that was checked before: it must be the same archive."""
        what = None
        try:
            archive = read_archive(file.url, self.keys)
        except ArchiveRefused as error:
            what = error.what
        except ArchiveUnreadable:
            return
        with self.database.writing() as connection:
            self.membership.require(connection, "follow")
            row = connection.execute(select(ARCHIVE).where(ARCHIVE.c.url == file.url)).one()
            if what is None and (archive.start, archive.checkpoint.root) != (row.start, row.root):
                what = "it holds other records"
            if what is None:
                release_archive(connection, row.id, self.clock())
            else:
                note_archive(connection, row.id, "seal", f"written anew after it was checked: {what}", self.clock())
            connection.execute(update(ARCHIVE).where(ARCHIVE.c.id == row.id).values(fingerprint=file.fingerprint))
