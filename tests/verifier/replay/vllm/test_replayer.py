"""Exact replay over HTTP: what is honest passes, what is altered is named, a failure is never a pass."""

import functools
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from tests.verifier.replay.vllm.small_server import EOS, IDENTITY, Behaviour, V, logits_after, record, small_server
from weightwarden.logger.record import Record
from weightwarden.logger.text.ending import TextOfTokens
from weightwarden.sampler.params import SamplingParams
from weightwarden.verifier import http_client
from weightwarden.verifier.calibration.exact import NotExact, calibrate_exact
from weightwarden.verifier.errors import CalibrationError, PolicyError, ReplayServerError
from weightwarden.verifier.policy.exact import EXACT_TOLERANCE, ExactPolicy
from weightwarden.verifier.replay.vllm.client import VllmClient
from weightwarden.verifier.replay.vllm.replayer import VllmReplayer
from weightwarden.verifier.verification.judgement import Judgement
from weightwarden.verifier.verification.run_verdict import Verification
from weightwarden.verifier.verification.verifier import Verifier

KINDS: dict[str, dict[str, Any]] = {
    "greedy": {"temperature": 0.0},
    "filtered": {"top_p": 0.95, "top_k": 50},
    "unfiltered": {},
    "top-p alone": {"top_p": 0.9},
}


class Words:
    """A tokenizer of numbers."""

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        del add_special_tokens
        return [int(word) for word in text.split()]

    def encode_answer(self, text: str) -> list[int]:
        return self.encode(text, add_special_tokens=False)

    def detokenizer(self, sampling: SamplingParams, prompt: Sequence[int]) -> TextOfTokens:
        raise NotImplementedError("no stop strings here")

    def token_text(self, token: int) -> str:
        return f"{token} "


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_client, "FIRST_WAIT", 0.0)
    monkeypatch.setattr(http_client, "MAX_WAIT", 0.0)


@contextmanager
def replayer(behaviour: Behaviour, policy: ExactPolicy | None = None, **options: Any) -> Iterator[VllmReplayer]:
    with small_server(behaviour) as url, VllmClient(url, timeout=20) as client:
        options = {"dtype": "bfloat16", "redraw": True, "concurrency": 4, **options}
        yield VllmReplayer(client, IDENTITY, Words(), policy=policy, **options)


def honest(kind: str, count: int = 9) -> list[Record]:
    return [_honest(kind, i) for i in range(count)]


@functools.cache
def _honest(kind: str, i: int) -> Record:
    return record([5, 6, i], seed=100 + i, count=20, **KINDS[kind])


@functools.cache
def greedy_policy() -> ExactPolicy:
    return policy_of(honest("greedy"))


def policy_of(records: list[Record], behaviour: Behaviour | None = None) -> ExactPolicy:
    with replayer(behaviour or Behaviour()) as some:
        return calibrate_exact(some, records, [f"t.jsonl:{i}" for i in range(len(records))])


def verified(records: list[Record], behaviour: Behaviour | None = None, **options: Any) -> Verification:
    policy = greedy_policy()
    with replayer(behaviour or Behaviour(), policy, **options) as some:
        return Verifier(some, policy).verify(records)


def judged(records: list[Record], behaviour: Behaviour, **options: Any) -> Judgement:
    policy = greedy_policy()
    with replayer(behaviour, policy, **options) as some:
        return Verifier(some, policy).judge(records)


def altered(one: Record, position: int, token: int) -> Record:
    output = list(one.output_token_ids)
    output[position] = token
    return one.model_copy(update={"output_token_ids": output})


@pytest.mark.parametrize("kind", KINDS)
def test_honest_answers_are_equal_token_for_token_with_nothing_left_open(kind: str) -> None:
    found = verified(honest(kind))
    assert found.exact_match_rate == 1.0
    assert not found.flagged
    assert not found.alarm
    assert found.unresolved_positions == 0
    assert found.charged_fraction < 0.01


@pytest.mark.parametrize("kind", KINDS)
def test_one_token_that_the_engine_would_not_have_drawn_flags_its_record(kind: str) -> None:
    rng = np.random.default_rng(4)
    records = [one for one in honest(kind, 20) if len(one.output_token_ids) > 3]
    tampered = []
    for one in records:
        at = int(rng.integers(0, len(one.output_token_ids) - 1))
        likely = np.argsort(-logits_after([*one.prompt_token_ids, *one.output_token_ids[:at]]))
        tampered.append(altered(one, at, next(int(i) for i in likely if i not in (one.output_token_ids[at], EOS))))
    found = verified(tampered)
    assert len(found.flagged) == len(tampered)
    assert found.alarm


def test_without_drawing_again_a_token_that_an_unseen_one_beats_would_pass() -> None:
    # The attack that drawing again is for: the honest token lies far down, and the first choice among the few known
    # candidates is put in its place. Nothing known beats it.
    # Asking for more candidates, as happens after the difference, must not forget what was learnt.
    hidden, tampered = [], []
    for one in honest("unfiltered", 120):
        for at, token in enumerate(one.output_token_ids[:-1]):
            logits = logits_after([*one.prompt_token_ids, *one.output_token_ids[:at]])
            if (logits > logits[token]).sum() > 300:
                hidden.append((one, at))
                tampered.append(altered(one, at, int(logits.argmax())))
                break
    assert len(hidden) > 10
    few = Behaviour(most=64)
    blind = judged(tampered, few, redraw=False)
    at_position = [blind.records[i].tokens for i in range(len(tampered))]
    charged = [t.unseen[at] > 0 for t, (_, at) in zip(at_position, hidden, strict=True)]
    assert np.mean(charged) > 0.9  # not flagged there, and charged for it
    assert verified(tampered, few, redraw=False).unresolved_positions > 0
    for behaviour in (few, Behaviour(most=200)):
        found = judged(tampered, behaviour)
        assert all(verdict.flagged for verdict in found.records)
        for verdict, (_, at) in zip(found.records, hidden, strict=True):
            assert verdict.tokens.margin[at] > EXACT_TOLERANCE.margin


@pytest.mark.parametrize("kind", ["greedy", "filtered", "unfiltered"])
def test_what_the_engine_draws_itself_is_no_mismatch_though_scoring_says_otherwise(kind: str) -> None:
    # Engines compute a prompt and an answer in different ways, and long contexts show it.
    noisy = Behaviour(prefill_noise=0.3)
    records = honest(kind, 30)
    with replayer(noisy, redraw=False) as some, pytest.raises(NotExact):
        calibrate_exact(some, records, [str(i) for i in range(len(records))])
    policy = policy_of(records, noisy)
    with replayer(noisy, policy) as some:
        found = Verifier(some, policy).verify(records)
    assert found.exact_match_rate == 1.0
    assert not found.flagged
    altered_ones = [
        altered(one, 2, (one.output_token_ids[2] + 1) % V) for one in records if len(one.output_token_ids) > 4
    ]
    with replayer(noisy, policy) as some:
        assert len(Verifier(some, policy).verify(altered_ones).flagged) == len(altered_ones)


def test_positions_after_a_divergence_are_asked_for_with_more_candidates() -> None:
    one = honest("unfiltered")[0]
    behaviour = Behaviour()
    found = verified([altered(one, 0, one.output_token_ids[1])], behaviour)
    assert len(found.flagged) == 1
    sizes = sorted({body.get("prompt_logprobs", 0) for body in behaviour.asked})
    assert max(sizes) > 64 * 4
    assert found.unresolved_positions < len(one.output_token_ids) / 2


def test_a_tolerant_replay_never_draws_again_and_asks_for_more_candidates() -> None:
    behaviour = Behaviour()
    verified(honest("unfiltered", 3), behaviour, redraw=False)
    assert not any(body.get("return_token_ids") for body in behaviour.asked)
    assert any(body.get("prompt_logprobs", 0) > 64 for body in behaviour.asked)


def test_a_transcript_that_fills_the_context_is_replayed_to_its_last_token() -> None:
    prompt = [3 + i % 700 for i in range(52)]
    full = [record(prompt, seed=i, count=12, ignore_eos=False) for i in range(9)]
    full = [one for one in full if len(one.output_token_ids) == 12]
    assert len(full) > 5
    found = verified(full, Behaviour(context=64))
    assert found.exact_match_rate == 1.0
    last = [altered(one, 11, (one.output_token_ids[11] + 1) % V) for one in full]
    assert len(verified(last, Behaviour(context=64)).flagged) == len(last)
    too_long = record([*prompt, 1], seed=1, count=12)
    with pytest.raises(ReplayServerError, match="--max-model-len of 64"):
        verified([too_long], Behaviour(context=64))


def test_calibration_says_how_far_it_can_be_trusted() -> None:
    policy = policy_of(honest("filtered", 20))
    assert policy.check.records == 20
    assert policy.check.record_mismatch_upper == pytest.approx(1 - 0.05 ** (1 / 20))
    assert policy.made_for.known_answer is not None


def test_calibration_refuses_traffic_that_differs_and_names_every_position() -> None:
    records = honest("greedy", 9)
    records[4] = altered(records[4], 7, (records[4].output_token_ids[7] + 1) % V)
    with pytest.raises(NotExact, match=r"t\.jsonl:4, position 7: token \d+ \(") as caught:
        policy_of(records)
    assert (caught.value.mismatches[0].record, caught.value.mismatches[0].position) == ("t.jsonl:4", 7)


def test_calibration_refuses_too_few_and_mixed_records() -> None:
    with pytest.raises(CalibrationError, match="too few"):
        policy_of(honest("greedy", 3))
    other = honest("greedy", 1)[0]
    other = other.model_copy(update={"engine": other.engine.model_copy(update={"sampler": "vllm-v2"})})
    with pytest.raises(CalibrationError, match="one engine"):
        policy_of([*honest("greedy"), other])


@pytest.mark.parametrize(
    ("behaviour", "says"),
    [
        (Behaviour(log_probabilities=True), "raw_logits"),
        (Behaviour(version="0.31.0"), "0.31.0"),
        (Behaviour(most=5), "HTTP 400"),
    ],
)
def test_a_server_that_is_not_what_the_policy_needs_is_refused(behaviour: Behaviour, says: str) -> None:
    with pytest.raises(ReplayServerError, match=says):
        verified(honest("greedy"), behaviour)


def test_a_server_with_other_weights_is_refused_by_its_known_answer() -> None:
    policy = greedy_policy()
    known = policy.made_for.known_answer
    assert known is not None
    nudged = known.model_copy(update={"logits": [*known.logits[:-1], known.logits[-1] + 0.125]})
    made_for = policy.made_for.model_copy(update={"known_answer": nudged})
    other = policy.model_copy(update={"made_for": made_for})
    says = r"1 of 47 logits of the known answer differ, by up to 0\.125"
    with pytest.raises(ReplayServerError, match=says), replayer(Behaviour(), other):
        pass
    without = policy.model_copy(update={"made_for": policy.made_for.model_copy(update={"known_answer": None})})
    with pytest.raises(PolicyError, match="no known answer"), replayer(Behaviour(), without):
        pass


@pytest.mark.parametrize("status", [500, 503, 429])
def test_a_failure_that_passes_is_tried_again_and_changes_nothing(status: int) -> None:
    behaviour = Behaviour(fail=lambda number: (status, "busy") if number % 3 == 1 else None)
    found = verified(honest("filtered"), behaviour)
    assert found.exact_match_rate == 1.0
    assert not found.flagged


def test_an_answer_cut_off_is_tried_again() -> None:
    behaviour = Behaviour(cut=lambda number: 0.7 if number % 4 == 3 else 1.0)
    assert verified(honest("filtered"), behaviour).exact_match_rate == 1.0


@pytest.mark.parametrize(
    ("misbehave", "says"),
    [
        ({"fail": lambda number: (500, "out of memory") if number > 2 else None}, "failed 4 times.*out of memory"),
        ({"fail": lambda number: (400, '{"error": {"message": "no"}}') if number > 2 else None}, "HTTP 400: no"),
        ({"fail": lambda number: (404, "gone") if number > 2 else None}, "HTTP 404: gone"),
        ({"cut": lambda number: 0.5 if number > 2 else 1.0}, "failed 4 times"),
    ],
)
def test_a_failure_that_stays_is_an_error_and_never_a_verdict(
    misbehave: dict[str, Callable[[int], Any]], says: str
) -> None:
    with pytest.raises(ReplayServerError, match=says):
        verified(honest("filtered"), Behaviour(**misbehave))  # type: ignore[arg-type]


def _without_rows(content: Any) -> Any:
    rows = content["choices"][0].get("prompt_logprobs")
    if rows and len(rows) not in (2, 48):
        content["choices"][0]["prompt_logprobs"] = rows[:-1]
    return content


def _broken(entry: Any) -> Callable[[Any], Any]:
    def change(content: Any) -> Any:
        rows = content["choices"][0].get("prompt_logprobs")
        if rows and len(rows) not in (2, 48):
            rows[-1] = entry
        return content

    return change


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_without_rows, "positions"),
        (_broken({}), "cannot be read"),
        (_broken(None), "cannot be read"),
        (_broken({"5": {"logprob": 1.0}}), "cannot be read"),
        (_broken({"x": {"logprob": 1.0, "rank": 1}}), "cannot be read"),
        (_broken({"5": 1.0}), "cannot be read"),
        (lambda content: {"choices": []}, "positions|not a vLLM"),
        (lambda content: [1], "positions|not a vLLM"),
    ],
)
def test_an_answer_that_is_not_what_was_asked_for_is_an_error(change: Callable[[Any], Any], says: str) -> None:
    with pytest.raises(ReplayServerError, match=says):
        verified(honest("filtered"), Behaviour(change=change))


def test_an_answer_longer_than_it_can_be_is_cut_off() -> None:
    def padded(content: Any) -> Any:
        return {"padding": "x" * 40_000_000, **content} if content["choices"][0].get("prompt_logprobs") else content

    with pytest.raises(ReplayServerError, match="longer than"):
        verified(honest("greedy"), Behaviour(change=padded))


def test_a_server_that_is_not_there_is_an_error_that_names_it() -> None:
    with pytest.raises(ReplayServerError, match=r"127\.0\.0\.1:9: cannot be reached"):
        VllmClient("http://127.0.0.1:9", timeout=1).version()
    with pytest.raises(ReplayServerError, match="not an http"):
        VllmClient("ftp://somewhere")


def test_a_record_of_another_engine_or_version_is_refused() -> None:
    one = honest("greedy", 1)[0]
    for engine in ({"version": "0.31.0"}, {"name": "sglang"}):
        other = one.model_copy(update={"engine": one.engine.model_copy(update=engine)})
        with pytest.raises(ReplayServerError), replayer(Behaviour()) as some:
            list(some.replay([0], [other]))


def test_requests_under_way_never_exceed_the_concurrency() -> None:
    under_way, most = 0, 0

    def slow(content: Any) -> Any:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        time.sleep(0.02)
        under_way -= 1
        return content

    verified(honest("greedy", 20), Behaviour(change=slow), concurrency=3)
    assert 1 < most <= 3


def test_the_api_key_is_sent_and_shown_nowhere() -> None:
    with small_server(Behaviour(fail=lambda number: (401, "who are you"))) as url:
        client = VllmClient(url, api_key="a-secret-key")
        with pytest.raises(ReplayServerError, match="who are you") as caught:
            client.score([1, 2], 4, 1)
        assert "a-secret-key" not in str(caught.value) + repr(client)
