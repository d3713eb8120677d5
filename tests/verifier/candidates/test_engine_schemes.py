"""Honest answers of every engine are verified, and altered ones caught, from the specification's own arithmetic."""

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch

from tests.verifier.candidates.engine_samplers import LENGTH, KnownReplayer, Logits, answer, known_logits, log_error
from weightwarden.logger.record import Record
from weightwarden.sampler.noise import gumbel_noise
from weightwarden.sampler.support import Filters
from weightwarden.sampler.types import FloatArray
from weightwarden.verifier.calibration.exact import calibrate_exact
from weightwarden.verifier.calibration.fit import calibrate
from weightwarden.verifier.calibration.limits import CalibrationLimits
from weightwarden.verifier.candidates.draw_builder import DrawBuilder
from weightwarden.verifier.candidates.draws import Draws
from weightwarden.verifier.candidates.gumbel import gumbel_candidates
from weightwarden.verifier.candidates.ranked import range_maximum
from weightwarden.verifier.errors import ReplayError
from weightwarden.verifier.logits.partial_rows import CandidateRows, KnownLogits
from weightwarden.verifier.logits.whole_rows import TorchRows
from weightwarden.verifier.policy.exact import EXACT_TOLERANCE, EXACT_WINDOW
from weightwarden.verifier.replay.replay import Replay
from weightwarden.verifier.scoring.token_scores import TokenScores, score
from weightwarden.verifier.verification.verifier import Verifier

FILTERED: list[dict[str, Any]] = [
    {"temperature": 1.0},
    {"temperature": 0.7, "top_p": 0.9},
    {"temperature": 1.3, "top_k": 20, "n": 3},
    {"temperature": 2.0, "min_p": 0.05},
    {"temperature": 0.3, "top_k": 50, "top_p": 0.95},
]
PENALISED: list[dict[str, Any]] = [
    {"temperature": 1.0},
    {"temperature": 0.004},
    {"temperature": 1.5, "n": 2},
    {"frequency_penalty": 0.7, "presence_penalty": 0.4, "repetition_penalty": 1.6, "logit_bias": {3: 4.0, 9: -120.0}},
]
RANKED: list[dict[str, Any]] = [
    {"temperature": 1.0, "top_k": 20},
    {"temperature": 0.7, "top_p": 0.9},
    {"temperature": 1.5, "top_k": 40, "top_p": 0.9, "repetition_penalty": 1.3},
    {"temperature": 2.0, "top_p": 0.98},
]
SETTINGS = {
    "vllm-v1": FILTERED,
    "vllm-v1-fp64": FILTERED,
    "vllm-v2-fp64": FILTERED,
    "vllm-v2-one-hot": FILTERED,
    "sglang": PENALISED,
    "sglang-ranked": RANKED,
}
RECORDS = 15
SEEDS = [0, 42, -1, 2**31 - 1, 2**40 + 7, 2**63 - 9, -(2**63)]


@cache
def traffic(scheme: str) -> tuple[Logits, list[Record]]:
    rng = np.random.default_rng(8)
    logits = known_logits(RECORDS, 3)
    settings, seeds = SETTINGS[scheme], SEEDS if scheme.startswith("sglang") else [s for s in SEEDS if s != -1]
    records = [
        answer(scheme, logits[i], i, seeds[i % len(seeds)], settings[i % len(settings)], rng) for i in range(RECORDS)
    ]
    return logits, records


def exact_scores(logits: FloatArray | Logits, records: list[Record]) -> list[TokenScores]:
    tables = Replay(KnownReplayer(logits), EXACT_WINDOW).tables(records)
    return [score(placed.table, EXACT_TOLERANCE, 0) for placed in tables]


def margins(logits: FloatArray | Logits, records: list[Record]) -> FloatArray:
    return np.concatenate([scores.margin_n for scores in exact_scores(logits, records)])


def changed(record: Record, **fields: Any) -> Record:
    return Record.model_validate(record.model_dump() | fields)


@pytest.mark.parametrize("scheme", SETTINGS)
def test_every_honest_token_has_margin_zero(scheme: str) -> None:
    logits, records = traffic(scheme)
    found = margins(logits, records)
    assert len(found) == RECORDS * LENGTH
    assert (found == 0).all()


@pytest.mark.parametrize("scheme", SETTINGS)
def test_few_tokens_but_the_honest_one_are_admissible(scheme: str) -> None:
    logits, records = traffic(scheme)
    found = np.concatenate([scores.admissible_n for scores in exact_scores(logits, records)])
    # Ties of a bfloat16 head: on a cut, and where ranks are noise. Drafts are expected to add one token.
    most = {"sglang-ranked": 1.5, "vllm-v2-one-hot": 2.5}
    assert found.mean() < most.get(scheme, 1.05)


@pytest.mark.parametrize("scheme", SETTINGS)
def test_seeds_off_by_one_are_caught_in_every_answer(scheme: str) -> None:
    logits, records = traffic(scheme)
    for record in records:
        assert record.seed is not None
        if record.sampling.temperature < 0.01:
            continue  # next to greedy: the seed hardly matters
        other = record.seed - 1 if record.seed > 0 else record.seed + 1
        other = other if other + record.choice_index != -1 else record.seed + 2
        found = margins(logits, [changed(record, seed=other)])
        least = 0.0 if scheme == "vllm-v2-one-hot" else 0.2  # a likely token is often one that a draft could give
        assert (found > EXACT_TOLERANCE.margin).mean() > least


@pytest.mark.parametrize("scheme", ["vllm-v2-fp64", "sglang", "sglang-ranked"])
def test_positions_off_by_one_are_caught(scheme: str) -> None:
    logits, records = traffic(scheme)
    longer = [changed(record, prompt_token_ids=[*record.prompt_token_ids, 1]) for record in records]
    assert (margins(logits, longer) > EXACT_TOLERANCE.margin).mean() > 0.3


@pytest.mark.parametrize(
    ("scheme", "other"),
    [
        ("vllm-v1", "vllm-v1-fp64"),
        ("vllm-v1", "vllm-v2"),
        ("vllm-v1", "vllm-v1-cpu"),
        ("vllm-v2-fp64", "vllm-v2"),
        ("vllm-v2-one-hot", "vllm-v2-fp64"),
        ("sglang", "vllm-v2"),
    ],
)
def test_schemes_are_told_apart(scheme: str, other: str) -> None:
    logits, records = traffic(scheme)
    some = [r for r in records if r.seed != -1 and not r.sampling.has_penalties and r.sampling.temperature > 0.01]
    engine = some[0].engine.model_dump() | {"sampler": other}
    assert (margins(logits, [changed(record, engine=engine) for record in some]) > 0).mean() > 0.3


@pytest.mark.parametrize("scheme", SETTINGS)
def test_exact_policy_is_made_of_honest_answers_and_flags_each_altered_one(scheme: str) -> None:
    logits, records = traffic(scheme)
    replayer = KnownReplayer(logits)
    policy = calibrate_exact(replayer, records, [str(i) for i in range(len(records))], unlisted_engine=True)
    verifier = Verifier(replayer, policy)
    assert not verifier.verify(records).alarm
    altered = []
    for record in records:
        tokens = list(record.output_token_ids)
        tokens[5] = int(logits[record.prompt_token_ids[0], 5].argmin())
        altered.append(changed(record, output_token_ids=tokens))
    assert len(verifier.verify(altered).flagged) == len(altered)


def test_calibrated_policy_covers_ranks_that_two_implementations_disagree_on() -> None:
    rng = np.random.default_rng(11)
    logits = known_logits(60, 5)
    records = [answer("sglang-ranked", logits[i], i, 100 + i, RANKED[i % len(RANKED)], rng) for i in range(60)]
    replayer = KnownReplayer(logits + rng.normal(0, 0.01, logits.shape).astype(np.float32))
    limits = CalibrationLimits(max_dangerous_rate=0.002, max_unsafe_rate=0.01)
    policy = calibrate(replayer, records, limits, unlisted_engine=True).policy
    found = Verifier(replayer, policy).verify(records)
    assert not found.flagged
    others = [changed(record, seed=record.seed + 1000) for record in records if record.seed is not None]
    assert len(Verifier(replayer, policy).verify(others).flagged) > 0.8 * len(records)


@pytest.mark.parametrize(("scheme", "divisor"), [("sglang", 0.004), ("vllm-v1", 0.01)])
def test_temperature_of_a_draw_is_the_engines(scheme: str, divisor: float) -> None:
    record = changed(
        traffic("sglang")[1][0],
        engine={"name": "engine", "version": "1", "sampler": scheme},
        sampling={"temperature": 0.004},
    )
    replayer = KnownReplayer(traffic("sglang")[0])
    (chunk,) = replayer.replay([0], [record])
    draws = DrawBuilder(scheme, replayer.identity, replayer.tokenizer).draws(chunk.rows, chunk.pieces, [record])
    assert set(draws.temperature_n.tolist()) == {divisor}


def test_ranks_are_refused_where_some_logits_are_unknown() -> None:
    known = KnownLogits(
        ids_mk=np.array([[1, 2]]),
        logits_mk=np.array([[3.0, 2.0]]),
        ceiling_m=np.array([1.0]),
        claimed_rank_m=np.array([1]),
        drawn_m=np.array([-1]),
        claim_only_m=np.array([-1]),
    )
    _, draws, _ = flat_race(1, 50)
    ranked = replace(draws, noise=gumbel_noise("sglang-ranked", 50), claimed_n=np.array([1]))
    with pytest.raises(ReplayError, match="ranks need every logit"):
        gumbel_candidates(CandidateRows(known, 50), ranked, EXACT_WINDOW)


def test_head_of_ranked_rows_grows_until_no_token_below_it_is_possible() -> None:
    # A nucleus of hundreds of tokens: none below the head is possible, and none has a possible token's rank.
    rng = np.random.default_rng(4)
    logits = known_logits(3, 9, vocabulary=2_000, length=4) / 4
    sampling = {"temperature": 1.5, "top_p": 0.9}
    records = [answer("sglang-ranked", logits[i], i, 5 + i, sampling, rng) for i in range(3)]
    assert (margins(logits, records) == 0).all()
    weights = np.sort(np.exp(logits / 1.5), axis=2)[:, :, ::-1]
    assert (weights.cumsum(axis=2) < 0.9 * weights.sum(axis=2, keepdims=True)).sum(axis=2).min() > 300


@pytest.mark.parametrize("width", [1, 2, 7, 64, 100])
def test_range_maximum_is_that_of_the_columns(width: int) -> None:
    rng = np.random.default_rng(width)
    values = rng.normal(size=(5, width))
    ends = np.sort(rng.integers(0, width, (5, 40, 2)), axis=2)
    found = range_maximum(values, ends[..., 0], ends[..., 1])
    for row, query in np.ndindex(5, 40):
        first, last = ends[row, query]
        assert found[row, query] == values[row, first : last + 1].max()


# The tolerance of the exponential race


def flat_race(positions: int, vocabulary: int) -> tuple[Logits, Draws, FloatArray]:
    """Nearly flat logits, whose winners are improbable, so that E is small; and the noise of the emulation."""
    rng = np.random.default_rng(2)
    logits = rng.normal(0, 0.5, (positions, vocabulary)).astype(np.float32)
    noise = gumbel_noise("vllm-v1", vocabulary)
    keys, ones = noise.keys(77, 1, positions), np.ones(positions)
    draws = Draws(
        claimed_n=np.zeros(positions, np.int64),
        temperature_n=ones,
        filters=Filters(
            temperature_n=ones, top_k_n=np.full(positions, vocabulary), top_p_n=ones, min_p_n=np.zeros(positions)
        ),
        noise=noise,
        keys_n=keys,
        uniforms_n=None,
        raw_rank_n=np.zeros(positions, np.int64),
    )
    return logits, draws, noise.at(keys, np.tile(np.arange(vocabulary), (positions, 1)))


@pytest.mark.parametrize("sign", [-1, 1])
def test_no_error_of_the_engines_logarithm_flags_an_honest_token(sign: int) -> None:
    positions = 200
    logits, draws, g = flat_race(positions, 40_000)
    # The worst that the documented error can do to each pair: the emulation's winner slower, all others faster.
    exponential = np.exp(-g)
    emulated = (logits + g).argmax(axis=1)
    off = log_error(exponential)
    own = np.arange(positions), emulated
    erring = exponential - sign * off
    erring[own] += 2 * sign * off[own]
    erring = np.where(exponential < 1.5 * 2.0**-24, exponential, erring)  # the engine's constant
    claimed = (logits - np.log(np.maximum(erring, 1e-30))).argmax(axis=1)
    assert sign < 0 or (claimed != emulated).any()
    table = gumbel_candidates(TorchRows(torch.from_numpy(logits)), replace(draws, claimed_n=claimed), EXACT_WINDOW)
    scores = score(table, EXACT_TOLERANCE, 0)
    assert (scores.margin_n <= EXACT_TOLERANCE.margin).all()
    # Where the engine's token is another, the emulation's own is admissible, too.
    assert (scores.admissible_n[claimed != emulated] > 1).all()
    assert scores.admissible_n.mean() < 1.1


def test_masked_token_stays_outside_whatever_its_noise_may_differ_by() -> None:
    _, draws, _ = flat_race(1, 50)
    rarest = np.array([[-np.log(2.0**-23)]])
    least, largest = draws.reach(np.array([[-np.inf]]), rarest)
    assert least[0, 0] == largest[0, 0] == -np.inf
    least, largest = draws.reach(rarest, rarest)
    assert largest[0, 0] - rarest[0, 0] == rarest[0, 0] - least[0, 0] > 1


def test_admissible_set_counts_the_tokens_that_the_logarithms_error_could_let_win() -> None:
    positions, vocabulary = 250, 60_000
    logits, draws, g = flat_race(positions, vocabulary)
    exponential = np.exp(-g)
    off = log_error(exponential)
    with np.errstate(invalid="ignore"):  # of the engine's constant
        fastest = -np.log(exponential - off) + 1e-6
        slowest = -np.log(exponential - off) - g + 1e-6
    constant = exponential < 1.5 * 2.0**-24
    fastest, slowest = np.where(constant, g + 1e-6, fastest), np.where(constant, g - 1e-6, g - slowest)
    best = (logits + slowest).max(axis=1)
    expected = ((logits + fastest) >= best[:, None] - EXACT_TOLERANCE.margin).sum(axis=1)
    claimed = (logits + g).argmax(axis=1)
    table = gumbel_candidates(TorchRows(torch.from_numpy(logits)), replace(draws, claimed_n=claimed), EXACT_WINDOW)
    assert score(table, EXACT_TOLERANCE, 0).admissible_n.tolist() == expected.tolist()
    assert expected.max() > 1
