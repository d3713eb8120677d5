"""The draw of a report's audited records, repeated with the audit key."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from weightwarden.cli.reports.contents import ArchiveInput, Report, Selection, TrafficInput
from weightwarden.logger.archive.reader import output_lengths
from weightwarden.logger.formats.traffic_file import read_traffic_file
from weightwarden.verifier.audit_selection import AuditDraw


def lengths_of_input(one: ArchiveInput | TrafficInput, path: Path) -> list[int]:
    """Output tokens of each record of an input, whose file is at `path`.

    Raises:
        ArchiveUnreadable: the archive cannot be read.
        ArchiveRefused: the file is no archive.
        TrafficError: the file holds no traffic.
    """
    if isinstance(one, ArchiveInput):
        return output_lengths(str(path))
    return [len(placed.record.output_token_ids) for placed in read_traffic_file(path).records]


def draw_faults(report: Report, key: bytes, lengths: Mapping[str, Sequence[int]]) -> Iterator[str]:
    """Sentences about audited records that the key does not draw, and about others that it draws.

    By tokens a record's length decides. Where the lengths of an input are missing, those of the audited records are the
    report's, and the others are checked as if they were empty.

    Args:
        report: the report, free of contradictions.
        key: audit key.
        lengths: output tokens of the records of inputs, by the inputs' SHA-256.
    """
    selection = report.selection
    if selection is None:
        return
    draw = AuditDraw(selection.rate, key, selection.by)
    if draw.key_digest != selection.key_digest:
        yield "selection: drawn with another audit key"
        return
    audited = iter(report.statistics.records.tokens)
    for part, known in zip(selection.ranges, _lengths(report, selection, lengths), strict=True):
        selected, root = set(part.selected), bytes.fromhex(part.root)
        for index in range(part.start, part.end):
            stated = next(audited) if index in selected else None
            length = stated if known is None else known[index - part.start]
            if stated is not None and stated != length:
                yield f"selection: record {index} has {length} output tokens, not {stated}"
            if (stated is not None) != draw.selects(root, index, length or 0):
                verb = "does not select" if stated is not None else "selects"
                yield f"selection: the audit key {verb} record {index}"


def complete_lengths(report: Report, lengths: Mapping[str, Sequence[int]]) -> bool:
    """True if the draw can be repeated for every record: by records, or with the lengths of all inputs."""
    by_records = report.selection is None or report.selection.by == "records"
    return by_records or all(one.sha256 in lengths for one in report.inputs)


def _lengths(
    report: Report, selection: Selection, lengths: Mapping[str, Sequence[int]]
) -> Iterator[Sequence[int] | None]:
    """Output tokens of the records of each range; None where they are not known."""
    if isinstance(report.inputs[0], ArchiveInput):
        for one in report.inputs:
            yield lengths.get(one.sha256)
        return
    files = [lengths.get(one.sha256) for one in report.inputs]
    for _ in selection.ranges:
        yield None if any(file is None for file in files) else [n for file in files for n in file or ()]
