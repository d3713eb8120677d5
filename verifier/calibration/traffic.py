"""Traffic for a calibration: the scope of its policy, and its two halves."""

from collections.abc import Sequence

import numpy as np

from weightwarden.logger.record import Record
from weightwarden.sampler.defined import undefined_field
from weightwarden.sampler.known_engines import unlisted
from weightwarden.sampler.types import BoolArray, IntArray
from weightwarden.text import printable
from weightwarden.verifier.errors import CalibrationError
from weightwarden.verifier.policy.base import MadeFor
from weightwarden.verifier.replay.replay import PlacedTable, Replay, Replayer
from weightwarden.verifier.scoring.token_scores import TokenScores

MIN_RECORDS = 8


def split_halves(records: Sequence[Record], seed: int) -> BoolArray:
    """The records that choose the thresholds, bool [records]. Choices of one request are never split.

    Raises:
        CalibrationError: there are too few records for two halves.
    """
    requests: dict[tuple[object, ...], list[int]] = {}
    for index, record in enumerate(records):
        requests.setdefault((record.seed, tuple(record.prompt_token_ids)), []).append(index)
    if len(records) < MIN_RECORDS or len(requests) < MIN_RECORDS // 2:
        raise CalibrationError(f"{len(records)} records are too few to calibrate on; at least {MIN_RECORDS} are needed")
    groups = list(requests.values())
    half = np.zeros(len(records), np.bool_)
    order = np.random.default_rng(seed).permutation(len(groups))
    for group in order[: (len(groups) + 1) // 2]:
        half[groups[group]] = True
    return half


def made_for_traffic(replayer: Replayer, records: Sequence[Record], *, unlisted_engine: bool = False) -> MadeFor:
    """The scope of a policy made from this traffic on this replayer.

    Args:
        unlisted_engine: make it also if the scheme was not compared with the engine and version.

    Raises:
        CalibrationError: the records are not all of one engine, version, scheme and engine profile; or one has no
            definite answer; or one was drawn by a scheme that was not compared with its engine and version.
    """
    for index, record in enumerate(records):
        undefined = undefined_field(record.sampling, replayer.identity.eos_ids, replayer.identity.vocabulary)
        if undefined is not None:
            raise CalibrationError(f"record {index}: sampling.{undefined[0]}: {undefined[1]}; leave it out")
    engines = {(r.engine.name, r.engine.version, r.engine.sampler) for r in records}
    if len(engines) != 1:
        listed = "; ".join(" ".join(engine) for engine in sorted(engines)) or "none"
        raise CalibrationError(f"the traffic must be of one engine, version and scheme; found: {listed}")
    profiles = {r.engine.profile for r in records}
    if len(profiles) != 1:
        listed = "; ".join(sorted(profile or "a record without one" for profile in profiles))
        raise CalibrationError(f"the traffic must be of one engine profile; found: {listed}")
    name, version, scheme = engines.pop()
    found = unlisted(scheme, printable(name), printable(version))
    drawn = next((index for index, record in enumerate(records) if not record.sampling.is_greedy), None)
    if found is not None and drawn is not None and not unlisted_engine:
        raise CalibrationError(f"record {drawn}: engine.version: {found}; --unlisted-engine calibrates all the same")
    return MadeFor(
        model_digest=replayer.identity.digest,
        engine=name,
        engine_version=version,
        scheme=scheme,
        replay=replayer.implementation,
        dtype=replayer.dtype,
        known_answer=replayer.known_answer(),
        profile=profiles.pop(),
        unlisted_engine=True if unlisted_engine and found is not None else None,
    )


def check_refused(replay: Replay) -> None:
    """Refuse traffic with a grammar that could not be used in its replay.

    Raises:
        CalibrationError: a grammar could not be used.
    """
    for index, why in replay.refused.items():
        raise CalibrationError(f"record {index}: its grammar cannot be used: {why}; leave it out")


def check_grammars(placed: PlacedTable, vocabulary: int) -> None:
    """Refuse traffic with a token outside its grammar.

    Raises:
        CalibrationError: a token of the table is outside.
    """
    for at in np.flatnonzero(placed.table.logit_rank_n > vocabulary):
        raise CalibrationError(
            f"record {placed.record_n[at]}: position {placed.position_n[at]} is outside the request's grammar: the"
            " server has another grammar library than the record says, or is not honest"
        )


def scores_of(placed: PlacedTable, scores: TokenScores, half_r: BoolArray) -> tuple[IntArray, TokenScores]:
    """Record indices and scores of the positions of some records."""
    which = half_r[placed.record_n]
    return placed.record_n[which], scores.take(which)
