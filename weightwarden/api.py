"""The public functions, for notebooks and scripts. The commands run the same code."""

from collections.abc import Callable
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from weightwarden.extras import needs_extra
from weightwarden.logger.archive.seen import read_seen
from weightwarden.logger.archive.storage import archive_urls
from weightwarden.logger.tlog.cosignature import Quorum, WitnessKeys
from weightwarden.logger.tlog.keys import PublicKeys
from weightwarden.verifier.audit_selection import AuditDraw
from weightwarden.verifier.calibration.fit import CalibrationResult
from weightwarden.verifier.calibration.fit import calibrate as fit
from weightwarden.verifier.calibration.limits import CalibrationLimits
from weightwarden.verifier.model.embedded import ensure_embedded_model
from weightwarden.verifier.model.identity import identify_model
from weightwarden.verifier.model.source import resolve_model
from weightwarden.verifier.policy.base import BasePolicy
from weightwarden.verifier.policy.file import read_policy as read_policy_file
from weightwarden.verifier.statistics.sampling_design import AuditBy
from weightwarden.verifier.verification.compatibility import check_against_model, check_against_policy
from weightwarden.verifier.verification.run import Run, run_of
from weightwarden.verifier.verification.run_input import RunInput, from_archives, from_traffic
from weightwarden.verifier.verification.token_frame import TokenFrame
from weightwarden.verifier.verification.verifier import Verifier

if TYPE_CHECKING:
    from weightwarden.verifier.replay.transformers.replayer import TransformersReplayer

StrPath = str | PathLike[str]
Progress = Callable[[int], None]


def read_traffic(*paths: StrPath) -> RunInput:
    """The records of traffic files, which carry no signature; the `Run` has a warning.

    Args:
        paths: JSON Lines files (docs/traffic.md).

    Raises:
        TrafficError: a file cannot be read, or a record is invalid; the message names file, line and field.
    """
    return from_traffic([Path(path) for path in paths])


def read_archives(
    *archives: StrPath,
    public_key: StrPath,
    seen: StrPath | None = None,
    witness_key: StrPath | None = None,
    min_witnesses: int = 0,
    audit_rate: float | None = None,
    audit_key: StrPath | None = None,
    audit_by: AuditBy = "records",
    progress: Progress | None = None,
) -> RunInput:
    """The records of a log's archives. The archives are checked against each other first.

    Args:
        archives: archive files, folders of them, or fsspec URLs.
        public_key: file of the log's public key.
        seen: file with an earlier checkpoint of the log; the archives must extend it.
        witness_key: file with the keys of the witnesses that you trust; None without witnesses.
        min_witnesses: number of these witnesses, more than half, that must have cosigned the newest archive.
        audit_rate: share of the records to draw, in (0, 1]; None for all records.
        audit_key: file of the secret key for the draw.
        audit_by: "records" draws all records with one probability, "tokens" in proportion to their tokens; the rate is
            then that of an answer of 1,016 output tokens.
        progress: called with the number of records just checked.

    Raises:
        LogDoesNotHold: the archives are not the log that the key's holder sealed.
        ArchiveUnreadable: an archive cannot be read.
        AuditError: the rate is outside (0, 1], it draws no record, or only one of rate and key is given.
        KeyFileError: a key cannot be used, or `min_witnesses` is not more than half of the witnesses.
    """
    keys = PublicKeys.read(Path(public_key))
    quorum = None if witness_key is None else Quorum(WitnessKeys.read(Path(witness_key)), min_witnesses)
    seen_before = None if seen is None else read_seen(Path(seen), keys)
    draw = AuditDraw.of(audit_rate, None if audit_key is None else Path(audit_key), audit_by)
    return from_archives(
        archive_urls([str(archive) for archive in archives]), keys, seen_before, draw, progress, quorum
    )


def read_policy(path: StrPath) -> BasePolicy:
    """The policy in a file that `calibrate` or `verify calibrate` made.

    Raises:
        PolicyError: the file cannot be read, or is no policy; the message names the field.
    """
    return read_policy_file(Path(path))


def load_model(
    folder: StrPath | None = None,
    *,
    dtype: str = "float32",
    device: str | None = None,
    token_budget: int | None = None,
    max_model_len: int | None = None,
) -> "TransformersReplayer":
    """A trusted copy of a model that replays answers with transformers.

    Args:
        folder: folder of the weights, or a hub name; None for the embedded model.
        dtype: arithmetic of the replay: float32, bfloat16 or float16.
        device: device in torch's notation, such as cpu or cuda:0; None for the first GPU, or the CPU without one.
        token_budget: tokens a forward pass, padding included; None for 2,048 on a CPU and 16,384 on a GPU.
        max_model_len: the server's context length, tokens; None for the model's default.

    Raises:
        ModelError: the model cannot be used.
        MissingExtra: torch or transformers is not installed.
    """
    with needs_extra("replay"):
        from weightwarden.verifier.replay.transformers.replayer import TransformersReplayer
    identity = identify_model(ensure_embedded_model() if folder is None else resolve_model(str(folder)))
    return TransformersReplayer.load(
        identity, dtype=dtype, device=device, token_budget=token_budget, max_model_len=max_model_len
    )


def verify(
    given: RunInput, policy: BasePolicy, model: "TransformersReplayer", *, progress: Progress | None = None
) -> Run:
    """The verification of an input: a verdict for every record and for the run, with every token's scores.

    Args:
        given: result of `read_traffic` or `read_archives`.
        policy: policy for this model, dtype, sampling scheme and context.
        model: result of `load_model`.
        progress: called with the number of output tokens just replayed; `given.tokens` is their sum.

    Raises:
        UnfitRecord: a record does not fit the model.
        PolicyError: the policy was made for another model, dtype, scheme or context.
        NothingToVerify: there is no record, or no record has a token.
    """
    check_against_model(given.boundary, model.identity)
    check_against_policy(given.boundary, policy)
    policy.check_context(model.identity, model.max_model_len)
    tokens = TokenFrame()
    verifier = Verifier(model, policy, model.max_model_len or policy.made_for.max_model_len, tokens=tokens)
    return replace(run_of(verifier, given, progress), tokens=tokens)


def calibrate(
    given: RunInput,
    model: "TransformersReplayer",
    limits: CalibrationLimits | None = None,
    *,
    unlisted_engine: bool = False,
    progress: Progress | None = None,
) -> CalibrationResult:
    """A policy from honest records: fitted on one half of them, measured on the other.

    Args:
        given: records of an honest server.
        model: result of `load_model`.
        limits: largest shares of honest tokens beyond the thresholds, and the seed of the split into halves.
        unlisted_engine: calibrate also if the sampling scheme was not compared with the records' engine and version.
        progress: called with the number of output tokens just replayed.

    Raises:
        UnfitRecord: a record does not fit the model; the message names file and line.
        CalibrationError: no threshold satisfies the limits, or there are too few records, or they are of several
            engines or profiles, or of an engine and version with which the scheme was not compared.
    """
    placed = [item for item in given.placed() if item.record.output_token_ids]
    check_against_model(placed, model.identity)
    records = [item.record for item in placed]
    found = fit(
        model,
        records,
        limits or CalibrationLimits(),
        traffic_digests=given.digests,
        unlisted_engine=unlisted_engine,
        progress=progress,
    )
    return replace(found, policy=found.policy.with_context(model.max_model_len))
