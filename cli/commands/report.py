"""The commands `verify report`, which sign and check reports of `verify run`."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import click

from weightwarden.cli import exit_codes
from weightwarden.cli.commands.log.key import show, write_key_pair
from weightwarden.cli.reports.consistency import faults
from weightwarden.cli.reports.contents import REPORT_FORMAT, Report
from weightwarden.cli.reports.reading import ReportError, parse_report, read_content
from weightwarden.cli.reports.redraw import complete_lengths, draw_faults, lengths_of_input
from weightwarden.cli.reports.signature import ReportFileError, open_signature, sha256_of, sign_reports
from weightwarden.logger.files.output import check_writable, write_text
from weightwarden.logger.tlog.auditor_key import require_auditor
from weightwarden.logger.tlog.keys import PublicKeys, SigningKey
from weightwarden.logger.tlog.signed_note import MAX_NOTE_BYTES, NoteError
from weightwarden.text import escaped, printable
from weightwarden.verifier.audit_selection import read_audit_key

MAX_DRAW_FAULTS = 10
"""Largest number of records named whose draw differs."""


@click.group()
def report() -> None:
    """Sign and check reports of `verify run`."""


@report.group()
def key() -> None:
    """Make and show the keys with which an auditor signs reports."""


@key.command()
@click.argument("name")
@click.option(
    "--out",
    "path",
    type=click.Path(path_type=Path),
    required=True,
    metavar="FILE",
    help="File for the signing key. The public key is written to FILE.pub.",
)
def new(name: str, path: Path) -> None:
    """Make an auditor's key named NAME, whose last part begins with "auditor", e.g. example.org/auditor-jane.

    Keep the signing key to yourself. FILE.pub is for all who check your reports. The key of a log signs no report, and
    this key no log.
    """
    require_auditor(name)
    write_key_pair(name, path)


key.add_command(show)


@report.command()
@click.argument("reports", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="REPORT...")
@click.option(
    "--key",
    "key_path",
    type=click.Path(path_type=Path),
    required=True,
    metavar="FILE",
    help="File with the auditor's signing key (`verify report key new`).",
)
@click.option(
    "--out", "out", type=click.Path(path_type=Path), required=True, metavar="FILE", help="File for the signature."
)
def sign(reports: tuple[Path, ...], key_path: Path, out: Path) -> None:
    """Sign REPORT files with an auditor's key: JSON, HTML, tokens, or any other file that belongs to them.

    The signature is a separate file. It states the SHA-256 and the name of each file, and the time. JSON reports are
    checked first: one that contradicts itself is not signed.
    """
    check_writable(out)
    signing = SigningKey.read(key_path)
    for path in reports:
        if _is_json(path):
            found = faults(_read(path))
            if found:
                raise ReportError(f"{path}: contradicts itself, and is not signed: {found[0]}")
    write_text(out, sign_reports(reports, signing, datetime.now(UTC)).decode("utf-8"), public=True)
    click.echo(f"{out}: {len(reports)} files, signed by {signing.name}+{signing.verifier.key_id.hex()}")


@report.command()
@click.argument("reports", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="REPORT...")
@click.option(
    "--signature",
    "signature_path",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Signature of the reports (`verify report sign`).",
)
@click.option(
    "--public-key",
    "public_key_path",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="File with the public keys of auditors that you trust.",
)
@click.option(
    "--input",
    "input_paths",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="FILE",
    help="A traffic file or archive that a JSON report names, to be compared by its SHA-256. Repeat for several.",
)
@click.option(
    "--audit-key",
    "audit_key_path",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="File with the audit key: repeat the draw of a JSON report. By tokens, --input must give all inputs for it.",
)
@click.pass_context
def check(
    ctx: click.Context,
    reports: tuple[Path, ...],
    signature_path: Path | None,
    public_key_path: Path | None,
    input_paths: tuple[Path, ...],
    audit_key_path: Path | None,
) -> None:
    """Check REPORT files: JSON against its schema and itself, and all files against a signature.

    A check repeats no replay. It shows that a report is the one that was signed, that its counts add up, that its
    verdict follows from its figures, with --input that it is about these files, and with --audit-key that this key
    draws the audited records and no others.

    Exit code 0: all checks passed. 1: a check failed, and is named. 2: error, and no result.
    """
    if (signature_path is None) != (public_key_path is None):
        raise click.UsageError("--signature and --public-key require each other")
    parsed = [path for path in reports if _is_json(path)]
    if signature_path is None and len(parsed) < len(reports):
        raise click.UsageError("only JSON reports can be checked without --signature")
    if input_paths and not parsed:
        raise click.UsageError("--input requires a JSON report, which names its inputs")
    if audit_key_path is not None and not parsed:
        raise click.UsageError("--audit-key requires a JSON report, which states the draw")
    found: list[str] = []
    notes: list[str] = []
    contents: list[Report] = []
    for path in parsed:
        try:
            contents.append(_read(path))
        except _Unfit as error:
            found.append(str(error))
        else:
            found += [f"{path}: {fault}" for fault in faults(contents[-1])]
    if signature_path is not None and public_key_path is not None:
        _check_signature(reports, signature_path, public_key_path, found, notes)
    digests = {sha256_of(path): path for path in input_paths}
    if input_paths:
        _check_inputs(contents, digests, found, notes)
    if audit_key_path is not None and not found:
        key = read_audit_key(audit_key_path)
        for path, content in zip(parsed, contents, strict=True):
            _check_draw(path, content, key, digests, found, notes)
    click.echo("Holds." if not found else "Does NOT hold:")
    for line in found or notes:
        click.echo(f"  {escaped(line)}")
    ctx.exit(exit_codes.ALARM if found else exit_codes.CLEAR)


class _Unfit(ReportError):
    """A JSON report of this version that its schema refuses."""


def _check_signature(
    reports: Sequence[Path], signature_path: Path, public_key_path: Path, found: list[str], notes: list[str]
) -> None:
    keys = PublicKeys.read(public_key_path)
    for public in keys:
        require_auditor(public.name)
    try:
        with signature_path.open("rb") as stream:
            note = stream.read(MAX_NOTE_BYTES + 1)
    except OSError as error:
        raise ReportFileError(f"{signature_path}: cannot be read: {error.strerror or error}") from None
    digests = {path: sha256_of(path) for path in reports}
    try:
        signature = open_signature(note, keys)
    except NoteError as error:
        found.append(f"{signature_path}: {error}")
        return
    signed = {file.sha256: file.name for file in signature.files}
    found += [f"{path}: is not among the signed files" for path, digest in digests.items() if digest not in signed]
    notes.append(f"signed by {signature.signer} at {signature.created:%Y-%m-%dT%H:%M:%SZ}")
    for path, digest in digests.items():
        name = signed.get(digest, path.name)
        notes.append(f"{path}: sha256 {digest}" + ("" if name == path.name else f", signed as {printable(name)}"))
    left = [name for digest, name in signed.items() if digest not in digests.values()]
    notes += [f"{printable(name)}: signed too, and not given here" for name in left]


def _check_draw(
    path: Path, content: Report, key: bytes, digests: dict[str, Path], found: list[str], notes: list[str]
) -> None:
    """Repeat the draw of a report."""
    if content.selection is None:
        notes.append(f"{path}: all records were audited, and none was drawn")
        return
    lengths = {
        one.sha256: lengths_of_input(one, digests[one.sha256]) for one in content.inputs if one.sha256 in digests
    }
    faulty = list(draw_faults(content, key, lengths))
    found += [f"{path}: {fault}" for fault in faulty[:MAX_DRAW_FAULTS]]
    if len(faulty) > MAX_DRAW_FAULTS:
        found.append(f"{path}: selection: {len(faulty) - MAX_DRAW_FAULTS} more such faults")
    if complete_lengths(content, lengths):
        notes.append(f"{path}: the audit key draws these records, and no others")
    else:
        more = "for others, whose lengths decide, give every input with --input"
        notes.append(f"{path}: the audit key draws these records; {more}")


def _check_inputs(contents: Sequence[Report], digests: dict[str, Path], found: list[str], notes: list[str]) -> None:
    named = {one.sha256: one.path for content in contents for one in content.inputs}
    found += [f"{path}: is not an input of the report" for digest, path in digests.items() if digest not in named]
    notes += [f"{path}: is an input of the report" for digest, path in digests.items() if digest in named]
    notes += [
        f"{printable(path)}: an input that was not compared" for digest, path in named.items() if digest not in digests
    ]


def _is_json(path: Path) -> bool:
    """True if a file begins like JSON."""
    try:
        with path.open("rb") as stream:
            return stream.read(64).lstrip()[:1] == b"{"
    except OSError as error:
        raise ReportFileError(f"{path}: cannot be read: {error.strerror or error}") from None


def _read(path: Path) -> Report:
    content = read_content(path)
    try:
        return parse_report(content, path)
    except ReportError as error:
        if _format_of(content) in (None, REPORT_FORMAT):
            raise _Unfit(str(error)) from None
        raise


def _format_of(content: bytes) -> str | None:
    """The format that a JSON text states; None where it states none."""
    try:
        stated = json.loads(content)["format"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return stated if isinstance(stated, str) else None
