"""The account of capture files against the archives of a log."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from weightwarden.logger.tlog.keys import PublicKeys
from weightwarden.verifier.egress.account import EgressAccount
from weightwarden.verifier.egress.captures import CaptureFile, in_order_of_time
from weightwarden.verifier.egress.frames import Event
from weightwarden.verifier.egress.link import Link
from weightwarden.verifier.egress.logged_answers import read_logged_answers
from weightwarden.verifier.egress.report import CaptureSummary, EgressReport
from weightwarden.verifier.egress.reporting import report_of

PROGRESS_EVENTS = 10_000


def account_for(
    captures: Sequence[Path],
    archives: Sequence[str],
    keys: PublicKeys,
    link: Link,
    *,
    records: Callable[[int], None],
    frames: Callable[[int], None],
) -> EgressReport:
    """The report about captures.

    Args:
        captures: the files, in any order.
        archives: URLs of the archives.
        keys: known keys of the log.
        link: the declared link.
        records: called with the number of records just read.
        frames: called with the number of frames just read.

    Raises:
        CaptureError: a file is no capture, or malformed.
        EncryptedLink: a connection of the sidecar is encrypted.
        LogDoesNotHold: the archives failed their check.
        OtherLog: the archives are of different logs.
        ArchiveUnreadable: an archive cannot be read.
    """
    ordered = in_order_of_time(captures)
    account = EgressAccount(link, read_logged_answers(archives, keys, records))
    summaries = []
    for path in ordered:
        before = account.frames
        with CaptureFile(path) as capture:
            account.add(_counted(capture.events(), frames))
            read = account.frames - before
            summaries.append(CaptureSummary(file=str(path), frames=read, unfinished=capture.unfinished))
    account.finish()
    return report_of(account, summaries)


def _counted(events: Iterator[Event], progress: Callable[[int], None]) -> Iterator[Event]:
    """The events; the progress is told of many at once."""
    count = 0
    for event in events:
        yield event
        count += 1
        if count % PROGRESS_EVENTS == 0:
            progress(PROGRESS_EVENTS)
    progress(count % PROGRESS_EVENTS)
