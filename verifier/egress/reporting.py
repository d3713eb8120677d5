"""The report of an account, and its verdict."""

from collections.abc import Sequence

from weightwarden.verifier.egress.account import FROM_BEFORE, HEARTBEATS, OPEN, RESOLUTIONS, EgressAccount
from weightwarden.verifier.egress.connection import CONTROL, OUT_OF_ORDER, REPEATED
from weightwarden.verifier.egress.conversation import OUTSIDE_EXCHANGE
from weightwarden.verifier.egress.ended_exchanges import READINESS
from weightwarden.verifier.egress.frame_counts import FrameCounts
from weightwarden.verifier.egress.logged_answers import Match
from weightwarden.verifier.egress.report import (
    CaptureLoss,
    CaptureSummary,
    EgressReport,
    Exchanges,
    FrameClass,
    HeartbeatReport,
    LoggedRecords,
    UnexplainedFrames,
    Verdict,
)

EXPLAINED = (
    Match.RECORDED.value,
    Match.FAILED_ATTEMPT.value,
    READINESS,
    CONTROL,
    REPEATED,
    OUT_OF_ORDER,
    RESOLUTIONS,
    HEARTBEATS,
)
"""The classes of explained frames."""
UNDECIDED = (OPEN, FROM_BEFORE)
"""The classes of frames that other captures may explain."""


def report_of(account: EgressAccount, captures: Sequence[CaptureSummary] = ()) -> EgressReport:
    """The present report of an account.

    Args:
        account: the account; call its `finish` first if no more frames are to come.
        captures: the captures that it was fed with.
    """
    waiting = list(account.ended.waiting())
    counts = account.counts.copy()
    for kind, count in waiting:
        counts.add_count(kind, count)
    opened, outside, open_exchanges = account.unfinished()
    counts.add_count(OPEN, opened)
    counts.add_count(OUTSIDE_EXCHANGE, outside)
    ended, unseen = account.ended, account.answers.unseen()
    heartbeats = account.heartbeats.until(account.last_time)
    declared = account.link.heartbeat
    losses = _losses(account)
    unexplained = [
        UnexplainedFrames(name=kind, frames=one.frames, bytes=one.bytes, example=one.example, bits=8 * one.bytes)
        for kind, one in sorted(counts.by_class.items(), key=lambda item: -item[1].bytes)
        if kind not in EXPLAINED and kind not in UNDECIDED
    ]
    undecided = _classes(counts, UNDECIDED)
    log = LoggedRecords(
        origin=account.answers.origin,
        records=account.answers.records,
        unseen_between=unseen.between,
        unseen_outside=unseen.outside,
        unseen_example=unseen.example,
    )
    pulse = HeartbeatReport(
        declared_seconds=None if declared is None else declared.seconds,
        count=heartbeats.count,
        gaps=heartbeats.gaps,
        longest_seconds=heartbeats.longest,
    )
    findings = _findings(account, undecided, losses, log, pulse)
    verdict: Verdict = "unexplained" if unexplained else "watch" if findings else "clear"
    return EgressReport(
        verdict=verdict,
        captures=list(captures),
        first_time=account.first_time,
        last_time=None if account.first_time is None else account.last_time,
        frames=account.frames,
        bytes=account.bytes,
        explained=_classes(counts, EXPLAINED),
        undecided=undecided,
        unexplained=unexplained,
        exchanges=Exchanges(
            completions=ended.numbers[Match.RECORDED.value],
            failed_attempts=ended.numbers[Match.FAILED_ATTEMPT.value],
            readiness=ended.numbers[READINESS],
            open=open_exchanges,
            response_bytes=ended.response_bytes,
            dropped_bytes=ended.response_bytes - ended.id_bytes,
            logged_tokens=ended.logged_tokens,
            cut_tokens=ended.cut_tokens,
        ),
        log=log,
        losses=losses,
        heartbeats=pulse,
        findings=findings,
        notes=_notes(account, log),
    )


def _classes(counts: FrameCounts, names: Sequence[str]) -> list[FrameClass]:
    return [
        FrameClass(name=name, frames=count.frames, bytes=count.bytes, example=count.example)
        for name in names
        if (count := counts.by_class.get(name)) is not None
    ]


def _losses(account: EgressAccount) -> list[CaptureLoss]:
    losses = [
        CaptureLoss(what=what, count=loss.frames, unit="frames", example=loss.file)
        for what, loss in account.losses.items()
    ]
    if account.lost_bytes:
        what = "acknowledged by their receiver, and not captured"
        losses.append(CaptureLoss(what=what, count=account.lost_bytes, unit="bytes", example=""))
    return losses


def _findings(
    account: EgressAccount,
    undecided: Sequence[FrameClass],
    losses: Sequence[CaptureLoss],
    log: LoggedRecords,
    pulse: HeartbeatReport,
) -> list[str]:
    """The faults that keep the account from being clear, besides unexplained frames."""
    found = []
    if not account.frames:
        found.append("The captures hold no frame.")
    found += [f"{one.frames} frames are undecided: {one.name} (from {one.example})." for one in undecided]
    found += [f"The captures lack {loss.count} {loss.unit}: {loss.what}." for loss in losses]
    if log.unseen_outside and not account.ended.numbers[Match.RECORDED.value]:
        found.append("The captures show no record of the log: they are of another link or another time.")
    if log.unseen_between:
        found.append(
            f"{log.unseen_between} records of the log passed the tap unseen, from record {log.unseen_example} on."
        )
    if pulse.gaps:
        found.append(
            f"{pulse.gaps} times no heartbeat came for more than 2.5 intervals, at the longest for"
            f" {pulse.longest_seconds:.1f} s: the tap may have been blind."
        )
    if account.backwards:
        found.append(f"{account.backwards} frames came out of the order of time: give whole sets of rotated files.")
    return found


def _notes(account: EgressAccount, log: LoggedRecords) -> list[str]:
    """The limits of the account."""
    notes = []
    if account.link.heartbeat is None:
        notes.append("No heartbeats were declared: a time in which the tap was blind is not excluded.")
    if log.unseen_outside and account.ended.numbers[Match.RECORDED.value]:
        notes.append(
            f"{log.unseen_outside} records of the log were not shown: they lie before the first or after the last one"
            " that was."
        )
    if not account.link.checks_checksums:
        notes.append("Checksums were not compared: a frame with a wrong one counts as if its receiver had taken it.")
    return notes
