"""Bundle of one record of a log with its evidence: made where the record was flagged, verified on another machine."""

from collections.abc import Callable
from dataclasses import dataclass, field

from weightwarden import __version__
from weightwarden.logger.archive.proving import proved_record
from weightwarden.logger.archive.reader import Archive
from weightwarden.logger.files.private import KeyFileError
from weightwarden.logger.formats.canonical import RecordEncodingError, decode_record
from weightwarden.logger.formats.location import PlacedRecord
from weightwarden.logger.formats.traffic_file import traffic_line
from weightwarden.logger.record import Record
from weightwarden.logger.tlog.checkpoint import Checkpoint
from weightwarden.logger.tlog.inclusion import RecordProof
from weightwarden.logger.tlog.keys import PublicKeys, VerifierKey
from weightwarden.logger.tlog.merkle import leaf_hash
from weightwarden.logger.tlog.proofs import ProofError
from weightwarden.logger.tlog.signed_note import NoteError, open_note
from weightwarden.verifier.bundle.container import pack, unpack
from weightwarden.verifier.bundle.errors import BundleError
from weightwarden.verifier.bundle.readme import readme
from weightwarden.verifier.bundle.replay_table import (
    LEAST_TOLERANCE,
    MOST_APART,
    BundledVerdict,
    ReplayTable,
    decode,
    encode,
)
from weightwarden.verifier.errors import PolicyError
from weightwarden.verifier.policy.base import BasePolicy
from weightwarden.verifier.policy.file import parse_policy
from weightwarden.verifier.verification.compatibility import check_against_model, check_against_policy
from weightwarden.verifier.verification.verifier import Verifier


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A bundle whose members fit together. Its proof is not verified yet.

    Attributes:
        record: the record.
        entry: its canonical bytes.
        proof: proof that it is in the log.
        keys: the log's public keys that its maker used. A verifier takes keys from elsewhere.
        policy: the policy that judged it.
        verdict: its verdict.
        table: scores and verdicts of its tokens.
    """

    record: Record
    entry: bytes
    proof: RecordProof
    keys: PublicKeys
    policy: BasePolicy
    verdict: BundledVerdict
    table: ReplayTable


@dataclass(kw_only=True)
class BundleCheck:
    """The result of a check.

    Attributes:
        checkpoint: the verified checkpoint; None where it does not hold.
        findings: sentences about what does not hold.
        notes: sentences about what holds.
    """

    checkpoint: Checkpoint | None = None
    findings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def make_bundle(archive: Archive, index: int, verifier: Verifier) -> tuple[bytes, BundledVerdict]:
    """The bundle of a record, as bytes, and its verdict. The record is replayed.

    Raises:
        ProofError: the archive does not hold the record, or its records do not come to its root.
        UnfitRecord: the record does not fit the model.
        PolicyError: the policy was made for another model, engine, scheme or replay.
    """
    proved = proved_record(archive, index)
    record = decode_record(proved.entry)
    verdict, table = _judged(record, archive.checkpoint.origin, index, verifier)
    signed_by = open_note(archive.note, archive.keys).signed_by
    members = {
        "README.txt": readme(__version__).encode(),
        "record.bin": proved.entry,
        "record.jsonl": traffic_line(record).encode(),
        "record.proof": proved.proof.encode(),
        "log.pub": _key_lines(signed_by),
        "policy.toml": verifier.policy.to_toml().encode(),
        "verdict.json": encode(verdict),
        "replay.json": encode(table),
    }
    return pack(members, __version__), verdict


def open_bundle(data: bytes) -> Bundle:
    """The bundle in these bytes, after its members were compared with its manifest and with each other.

    1. Unpack the members, which must be those of the manifest.
    2. Parse each one.
    3. Compare those that speak of the same thing.

    Raises:
        BundleError: the bytes are no bundle, or its members do not fit together.
    """
    # 1
    members = unpack(data)
    # 2
    try:
        entry = members["record.bin"]
        record = decode_record(entry)
        proof = RecordProof.decode(members["record.proof"])
        keys = PublicKeys.parse(members["log.pub"], "log.pub")
        policy = parse_policy(members["policy.toml"], "policy.toml")
    except (RecordEncodingError, ProofError, PolicyError, KeyFileError) as error:
        raise BundleError(f"a member cannot be read: {error}") from None
    verdict = decode(BundledVerdict, "verdict.json", members["verdict.json"])
    table = decode(ReplayTable, "replay.json", members["replay.json"])
    # 3
    version = verdict.weightwarden_version
    for holds, what in (
        (members["record.jsonl"] == traffic_line(record).encode(), "record.jsonl: not the record of record.bin"),
        (verdict.record == proof.index, "verdict.json: of another record than record.proof"),
        (table.token == ([] if verdict.undefined else record.output_token_ids), "replay.json: not the record's tokens"),
        (verdict.policy_digest == policy.digest(), "verdict.json: under another policy than policy.toml"),
        (verdict.model_digest == policy.made_for.model_digest, "verdict.json: of another model than the policy's"),
        (verdict.flagged == bool(verdict.reasons), "verdict.json: flagged without a reason, or not flagged with one"),
        (
            version != __version__ or members["README.txt"] == readme(version).encode(),
            "README.txt: not the text of this version",
        ),
    ):
        if not holds:
            raise BundleError(what)
    return Bundle(record=record, entry=entry, proof=proof, keys=keys, policy=policy, verdict=verdict, table=table)


def check_bundle(bundle: Bundle, keys: PublicKeys) -> BundleCheck:
    """The check that the record is in the log of trusted keys.

    Args:
        bundle: the bundle.
        keys: public keys of the log, from a source that the bundle's maker does not control.
    """
    found = BundleCheck()
    try:
        found.checkpoint = checkpoint = bundle.proof.verify(leaf_hash(bundle.entry), keys)
    except (ProofError, NoteError) as error:
        found.findings.append(f"record.proof: {error}")
        return found
    if bundle.verdict.log != checkpoint.origin:
        found.findings.append(f"verdict.json: of the log {bundle.verdict.log}, not {checkpoint.origin}")
    if not set(map(str, bundle.keys)) & set(map(str, keys)):
        found.findings.append("log.pub: none of its keys is trusted here")
    found.notes.append(
        f"record {bundle.proof.index} of {checkpoint.origin} is in the signed tree of {checkpoint.size} records"
    )
    found.notes += [f"the log was {extension}" for extension in checkpoint.extensions]
    return found


def replay_bundle(bundle: Bundle, replayer_of: Callable[[BasePolicy], Verifier], found: BundleCheck) -> None:
    """Replay the record under the bundle's policy, and compare verdict and table. The result is added to the check.

    Compared exactly: the model (by the policy), whether the record is flagged, the kinds of reasons, the kinds of stop
    findings, and the number of tokens. Compared within a tolerance: margins (`ReplayTable.apart`), at all but
    `MOST_APART` of the positions. Ranks, p-values and charges depend on margins, and are not compared.

    Raises:
        UnfitRecord: the record does not fit the model.
        PolicyError: the model or the replay is not the policy's.
    """
    verifier = replayer_of(bundle.policy)
    verdict, table = _judged(bundle.record, bundle.verdict.log, bundle.proof.index, verifier)
    theirs = bundle.verdict
    exact = [
        ("flagged", theirs.flagged, verdict.flagged),
        ("reasons", sorted(theirs.kinds), sorted(verdict.kinds)),
        ("stop findings", [kind for kind, _ in theirs.stop_findings], [kind for kind, _ in verdict.stop_findings]),
        ("tokens", len(bundle.table.token), len(table.token)),
    ]
    differing = [
        f"{name}: {ours} in this replay, {stated} in the bundle" for name, stated, ours in exact if stated != ours
    ]
    found.findings += differing
    if len(bundle.table.token) != len(table.token):
        return
    tolerance = max(bundle.policy.tolerance.margin, LEAST_TOLERANCE)
    apart = bundle.table.apart(table, tolerance)
    if len(apart) > max(1, int(MOST_APART * len(table.token))):
        found.findings.append(
            f"replay.json: {len(apart)} of {len(table.token)} margins are more than {tolerance:g} logits from this"
            f" replay's, first at position {apart[0]}"
        )
    elif not differing:
        found.notes.append(
            f"replayed here: {'flagged' if verdict.flagged else 'not flagged'} again,"
            f" {len(table.token) - len(apart)} of {len(table.token)} margins within {tolerance:g} logits"
        )


def _judged(record: Record, origin: str, index: int, verifier: Verifier) -> tuple[BundledVerdict, ReplayTable]:
    placed = [PlacedRecord(record, origin, index, "index")]
    check_against_model(placed, verifier.replayer.identity)
    check_against_policy(placed, verifier.policy)
    judged = verifier.judge([record]).records[0]
    verdict = BundledVerdict.of(
        judged,
        origin=origin,
        index=index,
        policy=verifier.policy,
        replayer=verifier.replayer,
        environment=verifier.environments[0],
        version=__version__,
    )
    table = ReplayTable.of(
        record if judged.undefined is None else record.model_copy(update={"output_token_ids": []}), judged
    )
    return verdict, table


def _key_lines(keys: tuple[VerifierKey, ...]) -> bytes:
    return "".join(f"{key}\n" for key in keys).encode()
