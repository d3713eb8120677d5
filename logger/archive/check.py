"""Check that archives hold the whole log in order: against each other, and against the seen checkpoint.

Every archive is replayed into the tree: its starting frontier, then every leaf. At all sizes where an archive begins
or ends, or that the auditor saw, the roots must agree. This is the consistency proof between any two archives, with
the records themselves as its path.
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from weightwarden.errors import WeightwardenError
from weightwarden.logger.archive.errors import ArchiveRefused
from weightwarden.logger.archive.reader import Archive, read_archive
from weightwarden.logger.tlog.checkpoint import Checkpoint
from weightwarden.logger.tlog.cosignature import Cosignature, Quorum
from weightwarden.logger.tlog.keys import PublicKeys
from weightwarden.logger.tlog.merkle import Frontier, leaf_hash
from weightwarden.logger.tlog.signed_note import NoteError
from weightwarden.text import printable

FindingKind = Literal["seal", "root", "gap", "fork", "duplicate", "rollback", "cosignature"]
Keep = Callable[[Archive, int, bytes], None]
"""Callback that receives each record's archive, index and canonical bytes, before the root is verified."""


class NothingToCheck(WeightwardenError, ValueError):
    """An empty list of archives. It is an error, not a log without findings."""


class OtherLog(WeightwardenError, ValueError):
    """Archives or a seen checkpoint of two different logs, which cannot be compared."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A defect of the archives.

    Attributes:
        kind: seal (changed, or not sealed by a known key), root (records differ from the certified ones), gap, fork
            (two histories), duplicate (a range twice), rollback (shorter than the seen checkpoint), cosignature (an
            invalid one of a listed witness, or too few).
        where: the archive or range.
        what: one sentence.
    """

    kind: FindingKind
    where: str
    what: str


@dataclass(kw_only=True)
class LogCheck:
    """The result of a check.

    Attributes:
        archives: archives with a valid seal, in log order.
        findings: the defects.
        newest: the checkpoint of the largest size among them; None without archives.
        records: number of records in the archives; a record in two archives counts twice.
        cosignatures: those of listed witnesses on the newest checkpoint.
    """

    archives: list[Archive] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    records: int = 0
    cosignatures: list[Cosignature] = field(default_factory=list)

    @property
    def newest(self) -> Checkpoint | None:
        return max((a.checkpoint for a in self.archives), key=lambda checkpoint: checkpoint.size, default=None)

    @property
    def holds(self) -> bool:
        """True if there are no findings."""
        return not self.findings


@dataclass
class _Roots:
    """Roots by tree size, each with the archive or seen checkpoint that states it."""

    known: dict[int, tuple[bytes, str]] = field(default_factory=dict)

    def contradiction(self, size: int, root: bytes, who: str) -> Finding | None:
        """A finding if another root is known at that size, else None."""
        other, by = self.known.setdefault(size, (root, who))
        if other == root:
            return None
        return Finding(kind="fork", where=who, what=f"its tree of {size} records is not that of {printable(by)}")


def check_archives(
    urls: Sequence[str],
    keys: PublicKeys,
    seen: Checkpoint | None = None,
    keep: Keep | None = None,
    progress: Callable[[int], None] | None = None,
    partial: bool = False,
    quorum: Quorum | None = None,
) -> LogCheck:
    """The check of one log's archives, given in any order, in bounded memory.

    1. Open each: seal, checkpoint, start.
    2. Replay each into the tree. Compare the roots where archives meet, and with the seen checkpoint.
    3. Find gaps and duplicate ranges.
    4. Compare the end with the seen checkpoint.
    5. Verify the cosignatures. The newest checkpoint must have a quorum. It covers all records before it, since they
       lead to its root.

    Args:
        urls: the archives.
        keys: known keys.
        seen: the last checkpoint that this auditor saw.
        keep: receives every record.
        progress: called with the number of records just checked.
        quorum: the witnesses that must have cosigned the newest checkpoint, or None.
        partial: True: without `seen`, the archives may begin anywhere. False: missing records before them are a gap.

    Raises:
        NothingToCheck: there are no archives.
        OtherLog: archives or seen checkpoint are of different logs.
        ArchiveUnreadable: an archive cannot be read at all.
    """
    if not urls:
        raise NothingToCheck("no archive was given")
    found = LogCheck()
    # 1
    for url in urls:
        try:
            found.archives.append(read_archive(url, keys))
        except ArchiveRefused as refused:
            found.findings.append(Finding(kind="seal", where=url, what=refused.what))
    found.archives.sort(key=lambda archive: (archive.start, archive.end))
    _same_origin(found.archives, seen)

    # 2
    roots = _Roots({} if seen is None else {seen.size: (seen.root, "the seen checkpoint")})
    boundaries = sorted({size for a in found.archives for size in (a.start, a.end)} | set(roots.known))
    for archive in found.archives:
        found.findings.extend(_replayed(archive, boundaries, roots, keep, progress))
        found.records += archive.end - archive.start

    # 3, 4
    if found.archives:
        first = found.archives[0].start
        reached = first if partial and seen is None else min(first, seen.size if seen else 0)
        found.findings.extend(_coverage(found.archives, reached))
        found.findings.extend(_rollback(found.archives, seen))
        # 5
        if quorum is not None:
            found.cosignatures, lacking = _cosigned(found.archives, quorum)
            found.findings.extend(lacking)
    return found


def check_archive(
    archive: Archive,
    known: Mapping[int, bytes],
    keep: Keep | None = None,
    progress: Callable[[int], None] | None = None,
) -> list[Finding]:
    """The findings of one opened archive: its records must lead to its root, and to the known roots of its log.

    Args:
        archive: the archive.
        known: roots by tree size, of archives of the same log that were checked before.
        keep: receives every record.
        progress: called with the number of records just checked.

    Raises:
        ArchiveUnreadable: the archive can no longer be read.
    """
    roots = _Roots({size: (root, "an archive that was checked before") for size, root in known.items()})
    return _replayed(archive, sorted({archive.start, archive.end, *known}), roots, keep, progress)


def certified_entries(archive: Archive) -> Iterator[tuple[int, bytes]]:
    """Index and canonical bytes of the records of a checked archive, in order, in bounded memory.

    The root is compared again after the last record, since the file may have changed after the check.

    Raises:
        ArchiveUnreadable: the archive can no longer be read.
        ArchiveRefused: the archive has changed since the check; the records returned before are invalid.
    """
    tree = archive.frontier.copy()
    for entries in archive.entries():
        yield from enumerate(entries, tree.size)
        tree.extend(map(leaf_hash, entries))
    if tree.root() != archive.checkpoint.root:
        raise ArchiveRefused(archive.url, "its records are no longer those that were checked")


def _same_origin(archives: Sequence[Archive], seen: Checkpoint | None) -> None:
    origins = sorted({a.checkpoint.origin for a in archives} | ({seen.origin} if seen else set()))
    if len(origins) > 1:
        raise OtherLog(f"of different logs: {', '.join(origins)}; check each by itself, with its own seen file")


def _replayed(
    archive: Archive,
    boundaries: Sequence[int],
    roots: _Roots,
    keep: Keep | None,
    progress: Callable[[int], None] | None,
) -> list[Finding]:
    """The findings of replaying one archive into the tree."""
    tree = archive.frontier.copy()
    findings = [roots.contradiction(tree.size, tree.root(), archive.url)]
    ahead = deque(boundaries[bisect_right(boundaries, archive.start) : bisect_right(boundaries, archive.end)])
    try:
        for entries in archive.entries():
            if keep is not None:
                for at, entry in enumerate(entries, tree.size):
                    keep(archive, at, entry)
            _append(
                tree, entries, ahead, lambda: findings.append(roots.contradiction(tree.size, tree.root(), archive.url))
            )
            if progress is not None:
                progress(len(entries))
    except ArchiveRefused as refused:
        return [Finding(kind="root", where=archive.url, what=refused.what)]
    if tree.root() != archive.checkpoint.root:
        what = "its records do not come to the root that its checkpoint certifies"
        return [Finding(kind="root", where=archive.url, what=what)]
    return [finding for finding in findings if finding is not None]


def _append(tree: Frontier, entries: Sequence[bytes], ahead: deque[int], at_boundary: Callable[[], None]) -> None:
    """Append leaves, and call back at each boundary ahead, which is then removed from the list."""
    done = 0
    while done < len(entries):
        stop = len(entries)
        if ahead and ahead[0] - tree.size <= len(entries) - done:
            stop = done + ahead[0] - tree.size
        tree.extend(map(leaf_hash, entries[done:stop]))
        done = stop
        if ahead and tree.size == ahead[0]:
            ahead.popleft()
            at_boundary()


def _coverage(archives: Sequence[Archive], reached: int) -> list[Finding]:
    """Gaps and duplicate ranges from a size on, in log order."""
    findings = []
    for archive in archives:
        if archive.start > reached:
            what = f"records {reached} to {archive.start - 1} are in none of the archives"
            findings.append(Finding(kind="gap", where=archive.url, what=what))
        elif archive.start < reached:
            what = f"records {archive.start} to {min(reached, archive.end) - 1} are in an earlier archive, too"
            findings.append(Finding(kind="duplicate", where=archive.url, what=what))
        reached = max(reached, archive.end)
    return findings


def _cosigned(archives: Sequence[Archive], quorum: Quorum) -> tuple[list[Cosignature], list[Finding]]:
    """The cosignatures of the newest checkpoint, and the findings of all."""
    findings: list[Finding] = []
    newest: list[Cosignature] = []
    for archive in sorted(archives, key=lambda archive: archive.end):
        try:
            newest = quorum.witnesses.cosignatures(archive.note)
        except NoteError as error:
            newest = []
            findings.append(Finding(kind="cosignature", where=archive.url, what=str(error)))
    lacking = quorum.missing(newest)
    if lacking is not None:
        last = max(archives, key=lambda archive: archive.end)
        findings.append(Finding(kind="cosignature", where=last.url, what=lacking))
    return newest, findings


def _rollback(archives: Sequence[Archive], seen: Checkpoint | None) -> list[Finding]:
    """A finding if the archives end before the seen size."""
    reached = max(archive.end for archive in archives)
    if seen is None or reached >= seen.size:
        return []
    what = f"{seen.size} records were seen, here are {reached}: the log was cut off, or archives are missing"
    return [Finding(kind="rollback", where=archives[-1].url, what=what)]
