"""Checks of files, folders and disks."""

import getpass
import os
import shutil
import ssl
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

import fsspec
from cryptography import x509
from fsspec.implementations.local import LocalFileSystem

from weightwarden.logger.archive.errors import ArchiveUnreadable, FolderMissing
from weightwarden.logger.archive.storage import list_archives
from weightwarden.logger.doctor.finding import Finding, fault, ok, warning
from weightwarden.logger.doctor.network import without_secrets
from weightwarden.logger.files.private import KeyFileError, read_private, require_distinct
from weightwarden.text import first_line

GIB = 2**30
LITTLE_SPACE, NO_SPACE = 10 * GIB, GIB
"""Free space in bytes below which a disk is a warning, and a fault."""
SHORT_VALIDITY = timedelta(days=14)
"""Remaining validity of a certificate below which it is a warning."""

Secret = TypeVar("Secret")


def secret_file(check: str, path: Path, read: Callable[[Path], Secret], *, make: str) -> tuple[Finding, Secret | None]:
    """The check of a file with a secret, and the secret if it can be used.

    Args:
        check: name of the check.
        path: the file.
        read: reads it, and raises `KeyFileError` if it cannot be used.
        make: the command that makes such a file.
    """
    try:
        secret = read(path)
    except KeyFileError as error:
        if "chmod 600" in str(error):
            return fault(
                check, f"{path}: others than its owner may read it", f"make a new key, of mode 600: {make}"
            ), None
        return fault(check, str(error), f"correct the path, or make the file: {make}"), None
    return ok(check, f"{path}: readable by its owner alone"), secret


def shared_secrets(files: Mapping[str, Path | None]) -> list[Finding]:
    """The fault of secrets that serve two purposes, if there is one. Unreadable files have checks of their own.

    Args:
        files: a file of secrets for each purpose (the name of an option), or None.
    """
    try:
        require_distinct({purpose: path for purpose, path in files.items() if path is not None and _is_private(path)})
    except KeyFileError as error:
        return [fault("secrets", str(error), "make a new key for one of them")]
    return []


def _is_private(path: Path) -> bool:
    """True if a secret can be read from the file."""
    try:
        read_private(path)
    except KeyFileError:
        return False
    return True


def present_user() -> Finding:
    """The user for whom the other checks hold: files and folders differ by user."""
    return ok("user", f"{getpass.getuser()}: run this as the user of the service")


def exists(path: Path) -> bool:
    """True if this user can see a file or folder of that name."""
    return os.access(path, os.F_OK, effective_ids=True)


def writable_folder(check: str, folder: Path) -> Finding:
    """The check of a local folder in which files are made."""
    if not exists(folder):
        return fault(check, f"{folder}: there is no such folder for this user", f"mkdir -m 750 {folder}")
    if not folder.is_dir():
        return fault(check, f"{folder}: is a file, not a folder", "name a folder")
    if not os.access(folder, os.W_OK | os.X_OK, effective_ids=True):
        return fault(check, f"{folder}: this user cannot write there", f"give it to the user that runs this: {folder}")
    return ok(check, f"{folder}: writable")


def archive_folder(check: str, url: str, *, writes: bool) -> Finding:
    """The check of a folder of archives, local or in a store.

    Args:
        check: name of the check.
        url: path or fsspec URL.
        writes: True: archives are written there; a missing local folder in a writable one is made at the start.
    """
    place = without_secrets(url)
    try:
        files, path = fsspec.core.url_to_fs(url)
        local = Path(path) if isinstance(files, LocalFileSystem) else None
        if local is not None and writes:
            if not exists(local):
                above = writable_folder(check, local.parent)
                return above if above.advice else ok(check, f"{place}: will be made at the start")
            found = writable_folder(check, local)
            if found.advice:
                return found
        count = len(list_archives(url).files)
    except FolderMissing as error:
        if writes and local is None:  # in an object store a folder exists once it holds a file
            return ok(check, f"{url}: no archive yet")
        return fault(check, str(error), "correct --archives, or give this user access to it")
    except (ArchiveUnreadable, ValueError, ImportError, OSError) as error:
        what = str(error) if isinstance(error, ArchiveUnreadable) else f"{place}: {first_line(error)}"
        return fault(check, what.replace(url, place), "correct --archives, or give this user access to it")
    if not writes and not count:
        return warning(check, f"{place}: holds no archive yet", "seal the log, or look at the copy job")
    return ok(check, f"{place}: {count} archives{', writable' if local is not None and writes else ''}")


def free_space(
    check: str, places: Sequence[Path], *, little: int = LITTLE_SPACE, none: int = NO_SPACE
) -> list[Finding]:
    """The check of the free space on each disk of files and folders, which need not exist yet.

    Args:
        check: name of the check.
        places: the files and folders.
        little: bytes below which the space is a warning.
        none: bytes below which it is a fault.
    """
    disks: dict[int, list[Path]] = {}
    for place in places:
        disks.setdefault(_nearest(place).stat().st_dev, []).append(place)
    advice = "make room on the disk, or move the files to a larger one: a full disk stops the service"
    findings = []
    for shared in disks.values():
        free = shutil.disk_usage(_nearest(shared[0])).free
        found = f"{free / GIB:.1f} GiB free for {', '.join(map(str, shared))}"
        if free < little:
            findings.append(fault(check, found, advice) if free < none else warning(check, found, advice))
        else:
            findings.append(ok(check, found))
    return findings


def _nearest(place: Path) -> Path:
    """The place itself, or the nearest folder above it that exists."""
    return next(folder for folder in (place.absolute(), *place.absolute().parents) if exists(folder))


def tls_files(check: str, certificate: Path, key: Path, now: datetime) -> Finding:
    """The check that a TLS certificate and its key can be read, belong together, and are valid now.

    Args:
        check: name of the check.
        certificate: PEM file.
        key: PEM file.
        now: the time, with a zone.
    """
    try:
        read_private(key)
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password="")
        leaf = x509.load_pem_x509_certificate(certificate.read_bytes())
    except KeyFileError as error:
        return fault(check, str(error), f"chmod 600 {key}, or correct --tls-key")
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        reason = getattr(error, "reason", None)
        what = "the key is not that of the certificate" if reason == "KEY_VALUES_MISMATCH" else "cannot be read as PEM"
        return fault(check, f"{certificate} and {key}: {what}", "give the certificate and the key that belongs to it")
    until = f"{certificate}: valid until {leaf.not_valid_after_utc:%Y-%m-%d}"
    renew = "renew the certificate, then start anew"
    if not leaf.not_valid_before_utc <= now < leaf.not_valid_after_utc:
        return fault(check, f"{until}: not valid now", renew)
    return warning(check, until, renew) if leaf.not_valid_after_utc - now < SHORT_VALIDITY else ok(check, until)


def now_utc() -> datetime:
    """The present time of this machine."""
    return datetime.now(tz=UTC)
