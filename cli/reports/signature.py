"""Detached signature of reports by an auditor's key: a signed note over the SHA-256 of each file.

    weightwarden-report-signature/1
    2026-11-29T12:00:00Z
    SHA256 NAME, one line a file

The first line keeps it apart from checkpoints and seals, whose texts begin otherwise. The key is an auditor's by its
name (`weightwarden.logger.tlog.auditor_key`), so that the key of a log signs no report.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from weightwarden.errors import WeightwardenError
from weightwarden.logger.tlog.auditor_key import is_auditor, require_auditor
from weightwarden.logger.tlog.keys import PublicKeys, SigningKey
from weightwarden.logger.tlog.signed_note import NoteError, SignatureError, open_note, sign_note
from weightwarden.text import printable
from weightwarden.verifier.audit_selection import file_sha256

SIGNATURE_FORMAT = "weightwarden-report-signature/1"
MAX_FILES = 64
_TIME = "%Y-%m-%dT%H:%M:%SZ"
_FILE = re.compile(r"([0-9a-f]{64}) (\S.*)")


class ReportFileError(WeightwardenError, OSError):
    """A report or a signature that cannot be read, or that cannot be signed under its name."""


@dataclass(frozen=True)
class SignedFile:
    """A signed file: its name without folders, and its SHA-256, hex."""

    name: str
    sha256: str


@dataclass(frozen=True, kw_only=True)
class ReportSignature:
    """A verified signature.

    Attributes:
        signer: name and id of the auditor's key, as "name+id".
        created: time that the auditor stated, UTC.
        files: the signed files.
    """

    signer: str
    created: datetime
    files: tuple[SignedFile, ...]


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, hex.

    Raises:
        ReportFileError: the file cannot be read.
    """
    try:
        return file_sha256(path).hex()
    except OSError as error:
        raise ReportFileError(f"{path}: cannot be read: {error.strerror or error}") from None


def sign_reports(paths: Sequence[Path], key: SigningKey, now: datetime) -> bytes:
    """The signature of some files.

    Raises:
        KeyFileError: the key is not an auditor's.
        ReportFileError: a file cannot be read, has a name that is not printable, or two have one name.
    """
    require_auditor(key.name)
    names = [path.name for path in paths]
    if len(set(names)) < len(names):
        raise ReportFileError("two of the files have the same name")
    for name in names:
        if not _FILE.fullmatch(f"{'0' * 64} {name}") or not name.isprintable():
            raise ReportFileError(f"{printable(name)}: a name that a signature cannot hold: rename the file")
    lines = [SIGNATURE_FORMAT, now.astimezone(UTC).strftime(_TIME)]
    lines += [f"{sha256_of(path)} {path.name}" for path in paths]
    return sign_note("".join(f"{line}\n" for line in lines), [key])


def open_signature(note: bytes, keys: PublicKeys) -> ReportSignature:
    """The signature in a note, after an auditor's key verified it.

    Raises:
        NoteError: the note is no signature of reports.
        SignatureError: no known auditor's key signed it.
    """
    opened = open_note(note, keys)
    signers = [key for key in opened.signed_by if is_auditor(key.name)]
    if not signers:
        raise SignatureError("no auditor's key signed it")
    lines = opened.text.split("\n")[:-1]
    if lines[0] != SIGNATURE_FORMAT or len(lines) < 3:
        raise NoteError(f"not of the form {SIGNATURE_FORMAT}")
    files = [_FILE.fullmatch(line) for line in lines[2:]]
    try:
        created = datetime.strptime(lines[1], _TIME).replace(tzinfo=UTC)
    except ValueError:
        raise NoteError("its second line is no time") from None
    if len(files) > MAX_FILES or not all(files):
        raise NoteError("its lines do not name files")
    return ReportSignature(
        signer=f"{signers[0].name}+{signers[0].key_id.hex()}",
        created=created,
        files=tuple(SignedFile(file[2], file[1]) for file in files if file is not None),
    )
