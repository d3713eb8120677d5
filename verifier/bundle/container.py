"""The file of a bundle: a ZIP archive with exactly the bundle's members, in one canonical form.

The members have fixed names, order, times and permissions, and are not compressed, so that the same members always
make the same bytes. A file in any other form is refused, and nothing is extracted to disk: no name in it can lead
outside, and no member can be larger than its limit.
"""

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping

from weightwarden.verifier.bundle.errors import BundleError

BUNDLE_FORMAT = "weightwarden-bundle/1"
MANIFEST = "manifest.json"
LIMITS: dict[str, int] = {
    "README.txt": 64 * 2**10,
    MANIFEST: 64 * 2**10,
    "record.bin": 16 * 2**20,
    "record.jsonl": 64 * 2**20,
    "record.proof": 128 * 2**10,
    "log.pub": 64 * 2**10,
    "policy.toml": 2**20,
    "verdict.json": 2**20,
    "replay.json": 256 * 2**20,
}
"""The members of a bundle in their order, and the largest size of each, bytes."""
MAX_BUNDLE_BYTES = sum(LIMITS.values()) + 2**16
_TIME = (1980, 1, 1, 0, 0, 0)
_READABLE = 0o100600 << 16
_UNIX = 3


def pack(members: Mapping[str, bytes], version: str) -> bytes:
    """The file of these members, with its manifest.

    Args:
        members: content by name, all but the manifest.
        version: version of the software that made them.

    Raises:
        BundleError: a member is missing, unknown or too large.
    """
    if {MANIFEST, *members} != LIMITS.keys():
        raise BundleError(f"a bundle has the members {', '.join(LIMITS)}")
    hashes = {name: hashlib.sha256(members[name]).hexdigest() for name in LIMITS if name != MANIFEST}
    manifest = {"format": BUNDLE_FORMAT, "weightwarden_version": version, "sha256": hashes}
    return _zipped({**members, MANIFEST: json.dumps(manifest, indent=2).encode() + b"\n"})


def unpack(data: bytes) -> dict[str, bytes]:
    """The members of a bundle, each as its manifest states.

    Raises:
        BundleError: the bytes are no bundle in its canonical form, or a member differs from the manifest.
    """
    if len(data) > MAX_BUNDLE_BYTES:
        raise BundleError(f"{len(data)} bytes, more than {MAX_BUNDLE_BYTES}")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
            if [entry.filename for entry in entries] != list(LIMITS):
                raise BundleError(f"its members are not {', '.join(LIMITS)}, in this order")
            for entry in entries:
                if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size:
                    raise BundleError(f"{entry.filename}: is compressed")
                if entry.file_size > LIMITS[entry.filename]:
                    raise BundleError(f"{entry.filename}: more than {LIMITS[entry.filename]} bytes")
            members = {entry.filename: archive.read(entry) for entry in entries}
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError, ValueError, EOFError) as error:
        if isinstance(error, BundleError):
            raise
        raise BundleError(f"not a whole ZIP file: {error}") from None
    if _zipped(members) != data:
        raise BundleError("not in the canonical form of a bundle")
    _check_manifest(members)
    return members


def _zipped(members: Mapping[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for name, limit in LIMITS.items():
            if len(members[name]) > limit:
                raise BundleError(f"{name}: {len(members[name])} bytes, more than {limit}")
            entry = zipfile.ZipInfo(name, _TIME)
            entry.create_system, entry.external_attr = _UNIX, _READABLE
            archive.writestr(entry, members[name])
    return stream.getvalue()


def _check_manifest(members: Mapping[str, bytes]) -> None:
    try:
        manifest = json.loads(members[MANIFEST])
        stated, hashes = manifest["format"], manifest["sha256"]
        if stated != BUNDLE_FORMAT:
            raise BundleError(f"not of the format {BUNDLE_FORMAT}, the only one that is known here")
        for name, content in members.items():
            if name != MANIFEST and hashes[name] != hashlib.sha256(content).hexdigest():
                raise BundleError(f"{name}: its SHA-256 is not the manifest's")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        if isinstance(error, BundleError):
            raise
        raise BundleError(f"{MANIFEST}: not the manifest of a bundle") from None
