"""Answers under grammars: drawn from masked logits by each scheme's own arithmetic, replayed with the same masks."""

from functools import cache
from typing import Any

import numpy as np
import pytest

from tests.verifier.candidates.drawn_masks import DrawnMasks, allowed_tokens, constrained
from tests.verifier.candidates.engine_samplers import LENGTH, KnownReplayer, Logits, V, answer, known_logits
from tests.verifier.candidates.test_engine_schemes import SEEDS, SETTINGS
from weightwarden.logger.record import Record
from weightwarden.sampler.types import FloatArray
from weightwarden.verifier.calibration.exact import calibrate_exact
from weightwarden.verifier.calibration.fit import calibrate
from weightwarden.verifier.calibration.limits import CalibrationLimits
from weightwarden.verifier.errors import CalibrationError
from weightwarden.verifier.policy.exact import EXACT_TOLERANCE, EXACT_WINDOW, ExactPolicy
from weightwarden.verifier.replay import replay as replay_module
from weightwarden.verifier.replay.replay import Replay
from weightwarden.verifier.scoring.token_scores import TokenScores, score
from weightwarden.verifier.scoring.token_verdicts import Verdict
from weightwarden.verifier.verification.judgement import Judgement
from weightwarden.verifier.verification.verifier import Verifier

RECORDS = 20
GREEDY: list[dict[str, Any]] = [{"temperature": 0.0}]
TRAFFIC = {**SETTINGS, "greedy": GREEDY}


def text_of(number: int) -> str:
    return f"expression {number}"


def masked(logits_nv: Logits, text: str) -> Logits:
    allowed = np.array([allowed_tokens(text, at, V) for at in range(len(logits_nv))])
    return np.where(allowed, logits_nv, np.float32(-np.inf))


@cache
def traffic(name: str) -> tuple[Logits, list[Record]]:
    """Logits, and records of which every fourth has no grammar."""
    rng = np.random.default_rng(18)
    scheme = "vllm-v2-fp64" if name == "greedy" else name
    logits = known_logits(RECORDS, 13)
    settings, seeds = TRAFFIC[name], SEEDS if scheme.startswith("sglang") else [s for s in SEEDS if s != -1]
    records = []
    for i in range(RECORDS):
        plain = i % 4 == 3
        seen = logits[i] if plain else masked(logits[i], text_of(i))
        if name == "greedy":
            drawn = answer(scheme, seen, i, 1, {"temperature": 1.0}, rng)
            fields = {"output_token_ids": seen.argmax(axis=1).tolist(), "sampling": {"temperature": 0.0}}
            record = Record.model_validate(drawn.model_dump() | fields)
        else:
            record = answer(scheme, seen, i, seeds[i % len(seeds)], settings[i % len(settings)], rng)
        records.append(record if plain else constrained(record, text_of(i)))
    return logits, records


def exact_scores(logits: FloatArray | Logits, records: list[Record]) -> list[TokenScores]:
    tables = Replay(KnownReplayer(logits), EXACT_WINDOW, grammars=DrawnMasks(V)).tables(records)
    return [score(placed.table, EXACT_TOLERANCE, 0) for placed in tables]


def margins(logits: FloatArray | Logits, records: list[Record]) -> FloatArray:
    return np.concatenate([scores.margin_n for scores in exact_scores(logits, records)])


def without_grammar(record: Record) -> Record:
    return record.model_copy(update={"grammar": None})


def swapped(record: Record, position: int, token: int) -> Record:
    output = list(record.output_token_ids)
    output[position] = token
    return record.model_copy(update={"output_token_ids": output})


@pytest.mark.parametrize("name", TRAFFIC)
def test_every_honest_token_under_a_grammar_has_margin_zero_and_without_the_masks_many_would_not(name: str) -> None:
    logits, records = traffic(name)
    unmasked = margins(logits, [without_grammar(record) for record in records])
    assert (unmasked > EXACT_TOLERANCE.margin).mean() > 0.3  # what the masks are for
    found = margins(logits, records)
    assert len(found) == RECORDS * LENGTH
    assert (found == 0).all()


@pytest.mark.parametrize("name", TRAFFIC)
def test_masks_leave_fewer_admissible_tokens_and_one_where_one_is_allowed(name: str) -> None:
    logits, records = traffic(name)
    ours = np.concatenate([s.admissible_n for s in exact_scores(logits, records)])
    assert ours.mean() < {"sglang-ranked": 1.5, "vllm-v2-one-hot": 3.0}.get(name, 1.05)
    alone = [
        allowed_tokens(text_of(i), at, V).sum() == 1 if record.grammar else False
        for i, record in enumerate(records)
        for at in range(LENGTH)
    ]
    assert sum(alone) > 5
    assert (ours[alone] == 1).all()


@cache
def policy() -> tuple[KnownReplayer, ExactPolicy]:
    logits, records = traffic("vllm-v2-fp64")
    replayer = KnownReplayer(logits)
    plain = [record for record in records if record.grammar is None]
    more = [
        answer("vllm-v2-fp64", logits[i], i, 5, {"temperature": 1.0}, np.random.default_rng(1)) for i in range(RECORDS)
    ]
    return replayer, calibrate_exact(
        replayer, [*plain, *more], [str(i) for i in range(len(plain) + len(more))], unlisted_engine=True
    )


def judged(records: list[Record], source: DrawnMasks | None = None) -> Judgement:
    replayer, exact = policy()
    return Verifier(replayer, exact, grammars=source or DrawnMasks(V)).judge(records)


def places(records: list[Record], *, allowed: bool) -> list[tuple[int, int, int]]:
    """Places (record, position) with more than one allowed token, and another token there, allowed or not."""
    found = []
    for i, record in enumerate(records):
        for at in (1, 2, 6, 7):
            may = allowed_tokens(text_of(i), at, V)
            may[record.output_token_ids[at]] = allowed is False
            others = np.flatnonzero(may == allowed)
            if record.grammar is not None and len(others):
                found.append((i, at, int(others[len(others) // 2])))
    return found


def test_honest_records_are_clear_with_and_without_grammars_in_one_chunk() -> None:
    _, records = traffic("vllm-v2-fp64")
    found = judged(records)
    assert not any(verdict.flagged for verdict in found.records)
    assert all((verdict.tokens.verdict == Verdict.SAFE).all() for verdict in found.records)
    assert not any(verdict.tokens.outside_grammar.any() for verdict in found.records)


def test_a_token_swapped_for_one_that_the_grammar_allows_is_caught_by_the_replay() -> None:
    _, records = traffic("vllm-v2-fp64")
    for i, at, token in places(records, allowed=True)[::5]:
        (verdict,) = judged([swapped(records[i], at, token)]).records
        assert verdict.flagged
        assert verdict.tokens.margin[at] > EXACT_TOLERANCE.margin
        assert not verdict.tokens.outside_grammar.any()


def test_a_token_outside_the_grammar_is_dangerous_flags_its_record_and_ends_the_masks() -> None:
    _, records = traffic("vllm-v2-fp64")
    changed = places(records, allowed=False)
    assert len(changed) > 20
    tampered = [swapped(records[i], at, token) for i, at, token in changed]
    found = judged(tampered)
    for verdict, (i, at, token) in zip(found.records, changed, strict=True):
        assert verdict.flagged
        assert verdict.p_value == 0
        detail = verdict.tokens
        assert np.flatnonzero(detail.outside_grammar).tolist() == [at]
        assert detail.verdict[at] == Verdict.DANGEROUS
        assert detail.logit_rank[at] == V + 1
        assert detail.charged_bits[at] == pytest.approx(np.log2(V))
        (reason,) = [reason for reason in verdict.reasons if reason.startswith("outside the grammar:")]
        assert f"token {token} " in reason
        assert f"at position {at} " in reason
        for said in ("regular expression", "guidance 1.7.6", "llguidance 1.", "another grammar library"):
            assert said in reason
        (plain,) = judged([without_grammar(tampered[changed.index((i, at, token))])]).records
        assert np.array_equal(detail.margin[at + 1 :], plain.tokens.margin[at + 1 :])


def test_records_without_a_grammar_are_judged_as_before_beside_records_with_one() -> None:
    _, records = traffic("vllm-v2-fp64")
    plain = [i for i, record in enumerate(records) if record.grammar is None]
    together, alone = judged(records), judged([records[i] for i in plain])
    for i, verdict in zip(plain, alone.records, strict=True):
        other = together.records[i]
        assert (verdict.evidence, verdict.reasons) == (other.evidence, other.reasons)
        for name in vars(verdict.tokens):
            assert np.array_equal(getattr(verdict.tokens, name), getattr(other.tokens, name), equal_nan=True)


def test_a_grammar_that_cannot_be_used_leaves_its_record_alone_without_a_verdict() -> None:
    _, records = traffic("vllm-v2-fp64")
    hostile = constrained(without_grammar(records[4]), "bad one")
    beside = [*records[:4], hostile, *records[5:]]
    found, expected = judged(beside), judged(records)
    assert found.records[4].undefined == "its grammar cannot be used: the expression is bad"
    assert not found.records[4].flagged
    assert found.charges.counting_bits_r[4] >= LENGTH * np.log2(V)
    for i in (*range(4), *range(5, RECORDS)):
        assert found.records[i].evidence == expected.records[i].evidence
        assert found.charges.counting_bits_r[i] == expected.charges.counting_bits_r[i]
    assert found.charges.tokens_r.tolist() == expected.charges.tokens_r.tolist()
    alone = judged([hostile])
    assert alone.records[0].undefined is not None


def test_masks_are_made_once_a_record_and_the_source_is_closed_with_the_verifier() -> None:
    _, records = traffic("vllm-v2-fp64")
    replayer, exact = policy()
    source = DrawnMasks(V)
    verifier = Verifier(replayer, exact, grammars=source)
    verifier.judge(records)
    assert sorted(source.made) == sorted(record.grammar.text for record in records if record.grammar)
    verifier.close()
    assert source.closed


def test_calibration_refuses_tokens_outside_and_grammars_that_cannot_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay_module, "GrammarProcess", lambda folder, vocabulary: DrawnMasks(vocabulary))
    logits, records = traffic("vllm-v2-fp64")
    replayer, names = KnownReplayer(logits), [str(i) for i in range(RECORDS)]
    assert calibrate_exact(replayer, records, names, unlisted_engine=True).check.records == RECORDS
    i, at, token = places(records, allowed=False)[0]
    outside = [*records[:i], swapped(records[i], at, token), *records[i + 1 :]]
    hostile = [*records[:5], constrained(without_grammar(records[5]), "bad one"), *records[6:]]
    limits = CalibrationLimits(max_dangerous_rate=0.002, max_unsafe_rate=0.01)
    for some, what in ((outside, f"record {i}: position {at} is outside"), (hostile, "record 5: its grammar cannot")):
        with pytest.raises(CalibrationError, match=what):
            calibrate_exact(replayer, some, names, unlisted_engine=True)
        with pytest.raises(CalibrationError, match=what):
            calibrate(replayer, some, limits, unlisted_engine=True)
