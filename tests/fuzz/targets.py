"""What is fuzzed: each target takes bytes, and lets nothing but the project's own errors and broken promises out."""

import io
import json
import tempfile
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from random import Random

from benchmarks.egress.wire import write_pcap, write_pcapng
from benchmarks.reading.fixtures import cases
from benchmarks.reading.random_inputs import RandomInput, broken_promise
from tests.logger.archive.examples import ENTRIES, KEY, KEYS, ORIGIN, archived, certified, checkpoint_at
from tests.logger.sidecar.wire.bodies import BODIES, is_answered
from tests.logger.witness import StrictWitness
from tests.places import DATA
from tests.verifier.egress.examples import accounted, honest
from weightwarden.cli.reports.signature import open_signature, sign_reports
from weightwarden.errors import WeightwardenError
from weightwarden.logger.archive.check import check_archives
from weightwarden.logger.archive.companion import FORMAT as REQUESTS_FORMAT
from weightwarden.logger.archive.companion import companion_url, read_companion, write_companion
from weightwarden.logger.archive.errors import ArchiveRefused
from weightwarden.logger.archive.proving import proved_record
from weightwarden.logger.archive.reader import read_archive
from weightwarden.logger.archive.seal import FORMAT, SealError, seal
from weightwarden.logger.files.private import KeyFileError
from weightwarden.logger.formats.canonical import RecordEncodingError, decode_record, encode_record
from weightwarden.logger.formats.traffic_file import read_traffic
from weightwarden.logger.request_stamp import RequestStamp
from weightwarden.logger.sidecar.reading.families import FAMILIES
from weightwarden.logger.tlog.checkpoint import Checkpoint, CheckpointError, open_checkpoint
from weightwarden.logger.tlog.cosignature import WitnessKey, WitnessKeys
from weightwarden.logger.tlog.inclusion import RecordProof
from weightwarden.logger.tlog.keys import PublicKeys, SigningKey, VerifierKey
from weightwarden.logger.tlog.merkle import leaf_hash
from weightwarden.logger.tlog.proofs import ProofError
from weightwarden.logger.tlog.signed_note import NoteError, parse_signature_lines
from weightwarden.logger.tlog.witness_protocol import stated_size
from weightwarden.verifier.bundle.container import LIMITS, MANIFEST, pack, unpack
from weightwarden.verifier.bundle.errors import BundleError
from weightwarden.verifier.egress.captures import CaptureFile
from weightwarden.verifier.egress.errors import CaptureError, EncryptedLink

SIGNED = certified(7, bytes(range(32)))
_WITNESS = StrictWitness("witness.example/w1", {}, clock=lambda: 1_700_000_000.0)
_LISTED = WitnessKeys(WitnessKey.parse(_WITNESS.vkey))
_COSIGNED = checkpoint_at(7).text()
_LINE = _WITNESS.line(_COSIGNED.encode())
_FOLDER = tempfile.TemporaryDirectory(prefix="weightwarden-fuzz-")
_ARCHIVE = Path(_FOLDER.name) / "archive.parquet"
_AUDITOR = SigningKey.generate("example.org/auditor-1")
_SIGNATURE = sign_reports([Path(__file__)], _AUDITOR, datetime(2026, 11, 29, tzinfo=UTC))


def signed_checkpoint(data: bytes) -> None:
    """A checkpoint that is accepted was signed by the key: it is one that the key signed, byte for byte."""
    try:
        open_checkpoint(data, KEYS)
    except NoteError:
        return
    assert data == SIGNED


def checkpoint_text(data: bytes) -> None:
    """A checkpoint or key that is accepted is written in the one way that it can be."""
    text = data.decode("utf-8", "replace")
    with suppress(CheckpointError):
        assert Checkpoint.parse(text).text() == text
    with suppress(KeyFileError):
        assert str(VerifierKey.parse(text)) == text


def record(data: bytes) -> None:
    """A record that is accepted has these canonical bytes and no others."""
    try:
        decoded = decode_record(data)
    except RecordEncodingError:
        return
    assert encode_record(decoded) == data


def record_proof(data: bytes) -> None:
    """A proof that is accepted is written in the one way that it can be, and is the example if it verifies."""
    try:
        proof = RecordProof.decode(data)
    except ProofError:
        return
    assert proof.encode() == data
    with suppress(ProofError, NoteError):
        proof.verify(leaf_hash(ENTRIES[1]), KEYS)
        assert data == _example_proof()


def report_signature(data: bytes) -> None:
    """A signature of reports that is accepted was made by the auditor's key, byte for byte."""
    with suppress(NoteError):
        open_signature(data, PublicKeys(_AUDITOR.verifier))
        assert data == _SIGNATURE


def bundle(data: bytes) -> None:
    """A bundle that is accepted is the canonical file of its members; another one is refused."""
    with suppress(BundleError):
        members = unpack(data)
        version: str = json.loads(members.pop(MANIFEST))["weightwarden_version"]
        assert pack(members, version) == data


def archive(data: bytes) -> None:
    """A changed archive is refused; so is one sealed anew over changed bytes, unless its records are the log's."""
    _ARCHIVE.write_bytes(data)
    found = check_archives([str(_ARCHIVE)], KEYS)
    assert not found.holds or data == _example_archive()
    stream = io.BytesIO(data)
    try:
        seal(stream, FORMAT, ORIGIN, [KEY])
    except SealError:
        return
    _ARCHIVE.write_bytes(stream.getvalue())
    told: list[bytes] = []
    try:
        found = check_archives([str(_ARCHIVE)], KEYS, keep=lambda archive, index, entry: told.append(entry))
    except WeightwardenError:
        return
    assert not found.holds or (told == ENTRIES[: len(told)] and found.newest == checkpoint_at(len(told)))


def companion(data: bytes) -> None:
    """A changed companion is refused; one sealed anew over changed bytes has stamps of its archive's records alone."""
    url = f"{_FOLDER.name}/{0:012}-{3:012}.parquet"
    path = Path(companion_url(url))
    example = _example_companion()
    path.write_bytes(data)
    with suppress(ArchiveRefused):
        read_companion(url, KEYS)
        assert data == example
    stream = io.BytesIO(data)
    with suppress(WeightwardenError):
        seal(stream, REQUESTS_FORMAT, ORIGIN, [KEY])
        path.write_bytes(stream.getvalue())
        sealed = read_companion(url, KEYS)
        assert sealed is not None
        assert all(0 <= index < 3 for index, _ in sealed.stamps())


def _example_companion() -> bytes:
    if not _COMPANION:
        url = f"{_FOLDER.name}/{0:012}-{3:012}.parquet"
        write_companion(url, [(at, RequestStamp(f"req-{at}", at)) for at in range(3)], 0, 3, ORIGIN, [KEY])
        _COMPANION.append(Path(companion_url(url)).read_bytes())
    return _COMPANION[0]


def witness_answer(data: bytes) -> None:
    """A witness's answer that counts has the cosignature that the witness made, byte for byte."""
    with suppress(NoteError):
        stated_size(data)
    try:
        found = _LISTED.verified(_COSIGNED, parse_signature_lines(data.decode("utf-8")))
    except (NoteError, UnicodeDecodeError):
        return
    assert [str(one.line).encode() for one in found] in ([], [_LINE])


def answer(data: bytes) -> None:
    """A model's answer is read the same however it is split, in every form, and nothing in it is invented."""
    form, text = data[:1], data[1:].decode("utf-8", "replace")
    family = sorted(FAMILIES)[(form[0] if form else 0) % len(FAMILIES)]
    for whole_calls in (False, True):
        one = RandomInput(text, family, "think", "", whole_calls)
        assert (broken := broken_promise(one, one.parts([one.text]), Random(0))) is None, broken


def _example_archive() -> bytes:
    if not _EXAMPLE:
        _EXAMPLE.append(Path(archived(Path(_FOLDER.name) / "example.parquet", 0, 3)).read_bytes())
    return _EXAMPLE[0]


def _example_proof() -> bytes:
    path = Path(_FOLDER.name) / "proved.parquet"
    if not path.exists():
        archived(path, 0, 3)
    return proved_record(read_archive(str(path), KEYS), 1).proof.encode()


_EXAMPLE: list[bytes] = []
_COMPANION: list[bytes] = []


def request_body(data: bytes) -> None:
    """A body of the Responses or the Messages API becomes a chat, or is refused with one sentence."""
    for kind, _ in BODIES:
        for ignored in (None, set[str]()):
            is_answered(kind, data, ignored)


def capture(data: bytes) -> None:
    """A capture file is read or refused, and each of its frames has one class."""
    path = Path(_FOLDER.name) / "capture"
    path.write_bytes(data)
    with suppress(CaptureError, EncryptedLink), CaptureFile(path) as opened:
        accounted(list(opened.events()))


def _example_captures() -> list[bytes]:
    path = Path(_FOLDER.name) / "example.pcap"
    frames = honest().frames[:24]
    return [write_pcap(path, frames).read_bytes(), write_pcapng(path, frames, drops=1).read_bytes()]


TARGETS: dict[str, Callable[[bytes], None]] = {
    "signed-checkpoint": signed_checkpoint,
    "checkpoint-text": checkpoint_text,
    "record": record,
    "archive": archive,
    "companion": companion,
    "record-proof": record_proof,
    "report-signature": report_signature,
    "bundle": bundle,
    "witness-answer": witness_answer,
    "answer": answer,
    "request-body": request_body,
    "capture": capture,
}


def examples(target: str) -> list[bytes]:
    """Valid inputs to begin with."""
    match target:
        case "signed-checkpoint":
            return [SIGNED]
        case "checkpoint-text":
            return [checkpoint_at(7).text().encode(), str(KEY.verifier).encode()]
        case "record":
            recorded = [p.record for path in sorted(DATA.glob("*.jsonl")) for p in read_traffic(path)[:6]]
            return [*map(encode_record, recorded), *ENTRIES[:3]]
        case "companion":
            return [_example_companion()]
        case "request-body":
            return [json.dumps(body).encode() for _, body in BODIES]
        case "capture":
            return _example_captures()
        case "record-proof":
            return [_example_proof()]
        case "report-signature":
            return [_SIGNATURE]
        case "bundle":
            return [pack({name: b"{}" for name in LIMITS if name != MANIFEST}, "1")]
        case "answer":
            forms = sorted(FAMILIES)
            return [bytes([forms.index(c.family)]) + c.fixture.raw_output[:1000].encode() for c in cases()[0]]
        case "witness-answer":
            return [_LINE, b"20852014\n"]
        case _:
            return [_example_archive()]
