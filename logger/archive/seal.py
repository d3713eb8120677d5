"""The seal of an archive file, or of the companion beside it: a signature over all its bytes.

The log's tree covers the records. The seal covers the rest of the file (statistics that other readers trust, page
headers, schema), so that no byte can change. It is in the Parquet footer as

    weightwarden-seal/1 LENGTH\\n, then a signed note of LENGTH bytes: format, origin, digest, key ids

The format is "weightwarden-archive/1" or "weightwarden-requests/1", so that neither file can pass for the other.

The digest is SHA-256 (base64) of the file with the note's bytes taken as zeros. The key ids (hex) are those of all
signers, so that no signature can be removed or replaced by one of an unknown key. The seal is found and checked before
the rest of the file is parsed. Only the bytes of a signature whose key is unknown here can differ unnoticed.
"""

import base64
import hashlib
import re
from collections.abc import Sequence
from itertools import islice
from typing import BinaryIO

from weightwarden.errors import WeightwardenError
from weightwarden.logger.tlog.keys import PublicKeys, SigningKey
from weightwarden.logger.tlog.signed_note import NoteError, open_note, sign_note
from weightwarden.text import printable

FORMAT = "weightwarden-archive/1"
MAX_FOOTER_BYTES = 64 * 2**20
_MARKER = re.compile(rb"weightwarden-seal/1 ([0-9]{6})\n")
_HEX_IDS = re.compile("[0-9a-f]{8}")
_TAIL_BYTES = 8
_BLOCK_BYTES = 2**20


class SealError(WeightwardenError, ValueError):
    """A file without a seal, or with an invalid one."""


def blank_seal(file_format: str, origin: str, signers: Sequence[SigningKey]) -> str:
    """A placeholder of the seal's length for the footer, which `seal` fills in."""
    note = sign_note(_text(file_format, origin, bytes(32), _ids(signers)), signers).decode("utf-8")
    return f"weightwarden-seal/1 {len(note.encode()):06}\n{note}"


def seal(stream: BinaryIO, file_format: str, origin: str, signers: Sequence[SigningKey]) -> None:
    """Fill in the blank seal of a finished file, open for reading and writing."""
    place = _find(stream)
    note = sign_note(_text(file_format, origin, _digest(stream, place), _ids(signers)), signers)
    if len(note) != len(place):
        raise SealError("the blank seal was made for other signers")
    stream.seek(place.start)
    stream.write(note)


def open_seal(stream: BinaryIO, file_format: str, keys: PublicKeys) -> str:
    """The origin that sealed a file of this format, after its signature and every byte were checked.

    Raises:
        SealError: there is no seal, a signature is invalid or not the origin's, or bytes differ from the sealed ones.
    """
    place = _find(stream)
    stream.seek(place.start)
    try:
        note = open_note(stream.read(len(place)), keys)
    except NoteError as error:
        raise SealError(f"its seal: {error}") from None
    lines = note.text.split("\n")
    if lines[0] != file_format and lines[0].startswith(file_format.partition("/")[0] + "/"):
        raise SealError(f"its format is {printable(lines[0])}, not {file_format}: a later version wrote it; upgrade")
    if len(lines) != 5 or lines[0] != file_format:
        raise SealError(f"its seal is not one of {file_format}")
    origin = lines[1]
    if origin not in [key.name for key in note.signed_by]:
        raise SealError("its seal is not signed by the log that it names")
    if note.signatures != tuple((origin, bytes.fromhex(one)) for one in _HEX_IDS.findall(lines[3])):
        raise SealError("its seal does not bear the signatures that it names")
    if note.text != _text(file_format, origin, _digest(stream, place), [key_id for _, key_id in note.signatures]):
        raise SealError("its bytes are not those that were sealed")
    return origin


def _text(file_format: str, origin: str, digest: bytes, key_ids: Sequence[bytes]) -> str:
    ids = " ".join(key_id.hex() for key_id in key_ids)
    return f"{file_format}\n{origin}\n{base64.b64encode(digest).decode()}\n{ids}\n"


def _ids(signers: Sequence[SigningKey]) -> list[bytes]:
    return [key.verifier.key_id for key in signers]


def _find(stream: BinaryIO) -> range:
    """The byte range of the seal's note in the file."""
    size = stream.seek(0, 2)
    tail = _read(stream, max(0, size - _TAIL_BYTES), _TAIL_BYTES)
    if tail[4:] != b"PAR1":
        raise SealError("not a whole Parquet file")
    length = int.from_bytes(tail[:4], "little")
    start = size - _TAIL_BYTES - length
    if start < 0 or length > MAX_FOOTER_BYTES:
        raise SealError("not a whole Parquet file")
    found = list(islice(_MARKER.finditer(_read(stream, start, length)), 2))
    if len(found) != 1:
        raise SealError("several seals in its footer" if found else "no seal in its footer")
    note = range(start + found[0].end(), start + found[0].end() + int(found[0][1]))
    if note.stop > size - _TAIL_BYTES:
        raise SealError("its seal is cut off")
    return note


def _digest(stream: BinaryIO, blank: range) -> bytes:
    """SHA-256 of the file with a byte range taken as zeros."""
    digest, at = hashlib.sha256(), 0
    stream.seek(0)
    while block := stream.read(min(_BLOCK_BYTES, blank.start - at)):
        digest.update(block)
        at += len(block)
    digest.update(bytes(len(blank)))
    stream.seek(blank.stop)
    while block := stream.read(_BLOCK_BYTES):
        digest.update(block)
    return digest.digest()


def _read(stream: BinaryIO, start: int, count: int) -> bytes:
    stream.seek(start)
    return stream.read(count)
