import asyncio
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from scipy.stats import chisquare

from weightwarden.logger.files.private import KeyFileError
from weightwarden.logger.record import Engine, Grammar, Reasoning, Record
from weightwarden.logger.sidecar.log.draw import draw_digest
from weightwarden.logger.sidecar.log.seeds import (
    BLOCK,
    MAX_KEPT,
    MAX_KEPT_SECONDS,
    MIN_KEY_BYTES,
    SeedIssuer,
    SeedStore,
    read_seed_key,
    seed_of,
    write_seed_key,
)
from weightwarden.logger.store.changes import OpenSeed
from weightwarden.logger.store.errors import LogWriteError
from weightwarden.logger.store.reader import LogReader
from weightwarden.logger.store.writer import LogWriter
from weightwarden.sampler.params import SamplingParams

KEY = b"k" * 32


NONCE = b"n" * 32


class Store:
    """Hands out blocks and keeps open seeds, as a log does."""

    def __init__(self) -> None:
        self.next = 0
        self.open: dict[int, OpenSeed] = {}

    async def reserve_seeds(self, number: int) -> int:
        self.next += number
        return self.next - number

    async def open_seeds(self, seeds: Sequence[OpenSeed]) -> None:
        self.open |= {seed.counter: seed for seed in seeds}

    def close_seeds(self, counters: Sequence[int]) -> None:
        for counter in counters:
            del self.open[counter]


def issuer_of(store: SeedStore, **more: Any) -> SeedIssuer:
    options: dict[str, Any] = {"nonces": {1: NONCE}, "start": 1, **more}
    return SeedIssuer(KEY, "log", store, **options)


def issued(issuer: SeedIssuer, *requests: bytes) -> list[OpenSeed]:
    """The counters of requests, one after the other."""

    async def all_seeds() -> list[OpenSeed]:
        seeds: list[OpenSeed] = []
        for request in requests:
            one = await issuer.issue([request])
            await one.recorded()
            seeds += one.seeds
        return seeds

    return asyncio.run(all_seeds())


def test_seeds_are_in_the_range_of_every_engine_with_all_their_choices() -> None:
    seeds = [seed_of(KEY, "log", NONCE, counter, 1000) for counter in range(2000)]
    assert all(seed >= 0 and seed + 999 < 2**31 for seed in seeds)
    assert len(set(seeds)) == 2000


def test_seeds_look_uniform_and_depend_on_key_log_start_and_counter() -> None:
    seeds = [seed_of(KEY, "log", NONCE, counter) for counter in range(20_000)]
    counts = [0] * 16
    for seed in seeds:
        counts[seed >> 27] += 1
    assert chisquare(counts).pvalue > 1e-4
    assert seeds[1] not in (
        seed_of(b"x" * 32, "log", NONCE, 1),
        seed_of(KEY, "other", NONCE, 1),
        seed_of(KEY, "log", b"m" * 32, 1),
    )


def test_a_counter_is_never_issued_twice_over_restarts(tmp_path: Path) -> None:
    seen: list[int] = []
    for _ in range(3):
        with LogWriter.open(str(tmp_path / "log.db"), origin="log") as log:
            start = log.start(NONCE)
            issuer = issuer_of(log, nonces={start: NONCE}, start=start)
            seen += [one.counter for one in issued(issuer, *(b"%d" % i for i in range(5)))]
    assert len(set(seen)) == 15
    assert seen == [*range(5), *range(BLOCK, BLOCK + 5), *range(2 * BLOCK, 2 * BLOCK + 5)]


def test_a_request_that_failed_gets_its_counter_again_once_and_another_does_not() -> None:
    store = Store()
    issuer = issuer_of(store)
    first = issued(issuer, b"request")[0]
    issuer.keep(first)
    assert issued(issuer, b"other")[0] != first
    assert issued(issuer, b"request")[0] == first
    assert issued(issuer, b"request")[0] != first
    issuer.complete([first])
    assert first.counter not in store.open


@pytest.mark.parametrize("how", ["failed", "under way"])
def test_the_seed_of_a_request_that_did_not_complete_outlasts_a_restart(tmp_path: Path, how: str) -> None:
    url = str(tmp_path / "log.db")
    with LogWriter.open(url, origin="log") as log:
        issuer = issuer_of(log, nonces={log.start(b"a" * 32): b"a" * 32})
        first, completed = issued(issuer, b"request", b"completed")
        seed = issuer.seed(first)
        issuer.complete([completed])
        if how == "failed":
            issuer.keep(first)
    for nonce in (b"b" * 32, b"c" * 32):
        with LogWriter.open(url, origin="log") as log:
            reader = LogReader(url)
            start = log.start(nonce)
            issuer = issuer_of(log, nonces=reader.starts(), start=start, left_open=reader.open_seeds())
            again, new = issued(issuer, b"request", b"completed")
            assert issuer.seed(again) == seed
            assert new.counter != completed.counter
            issuer.complete([new])


def test_a_server_that_fails_requests_cannot_try_seeds() -> None:
    issuer = issuer_of(Store())
    tried = set()
    for _ in range(100):
        seed = issued(issuer, b"request")[0]
        tried.add(issuer.seed(seed))
        issuer.keep(seed)
    assert len(tried) == 1


def test_equal_requests_that_fail_side_by_side_keep_all_their_counters() -> None:
    issuer = issuer_of(Store())
    tried: set[OpenSeed] = set()
    for _ in range(20):
        seeds = issued(issuer, b"request", b"request")
        tried.update(seeds)
        for seed in seeds:
            issuer.keep(seed)
    assert len(tried) == 2


def test_what_is_kept_is_bounded_in_number_and_age() -> None:
    store, now = Store(), [1000.0]
    issuer = issuer_of(store, clock=lambda: now[0])
    seeds = [OpenSeed(1, i, b"%d" % (i // 2), 1000) for i in range(MAX_KEPT + 10)]
    asyncio.run(store.open_seeds(seeds))
    for seed in seeds:
        issuer.keep(seed)
    assert len(store.open) == MAX_KEPT
    store.next = MAX_KEPT + 10
    assert issued(issuer, seeds[-1].request)[0] == seeds[-2]
    assert issued(issuer, seeds[0].request)[0].counter >= MAX_KEPT + 10
    now[0] += MAX_KEPT_SECONDS + 1
    assert issued(issuer, seeds[-3].request)[0].counter >= MAX_KEPT + 10
    assert not {seed.counter for seed in seeds[:-2]} & store.open.keys()


@pytest.mark.parametrize("failing", ["reserve_seeds", "open_seeds"])
def test_without_a_log_there_is_no_seed_and_what_was_kept_stays(failing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(_: object) -> int:
        raise LogWriteError("full")

    store = Store()
    issuer = issuer_of(store)
    first = issued(issuer, b"request")[0]
    issuer.keep(first)
    issuer._next = issuer._end

    async def ask() -> None:
        one = await issuer.issue([b"request", b"new"])
        try:
            await one.recorded()
        finally:
            issuer.end(one, complete=False)

    with monkeypatch.context() as patched:
        patched.setattr(store, failing, fail)
        with pytest.raises(LogWriteError):
            asyncio.run(ask())
    kept, fresh = issued(issuer, b"request", b"new")
    assert kept == first
    assert fresh.counter in store.open  # not the one that was never durable


def test_a_request_that_was_cut_off_before_its_seed_was_durable_leaves_no_seed() -> None:
    store = Store()
    issuer = issuer_of(store)

    async def ask() -> OpenSeed:
        one = await issuer.issue([b"request"])  # its recording has not begun
        issuer.end(one, complete=False)
        await one.recorded()
        return one.seeds[0]

    assert asyncio.run(ask()) != issued(issuer, b"request")[0]


def asked(**sampling: Any) -> Record:
    return Record(
        engine=Engine(name="vllm", version="0.32.0", sampler="vllm-cpu"),
        model="small",
        prompt_token_ids=sampling.pop("prompt", [1, 2, 3]),
        output_token_ids=[],
        seed=0,
        choice_index=0,
        sampling=SamplingParams.model_validate({"max_tokens": 9} | sampling),
        finish_reason="abort",
        stop_reason="logger",
    )


@pytest.mark.parametrize(
    "cuts_nothing",
    [
        {"stop": ["x"]},
        {"stop": ["x"], "include_stop_str_in_output": True},
        {"skip_special_tokens": False},
        {"max_tokens": 10},
        {"stop_token_ids": [7]},
        {"ignore_eos": True},
        {"top_k": -1},
        {"top_k": 0},
        {"top_k": 100},
        {"top_k": 101},
        {"top_k": 2**31 - 1},
        {"top_p": 1.0},
        {"top_p": 1 - 1e-12},
        {"temperature": 1 + 1e-12},
        {"min_p": 0.0},
        {"min_p": 1e-60},
        {"presence_penalty": -0.0},
        {"frequency_penalty": 1e-60},
        {"repetition_penalty": 1.0 + 1e-12},
        {"logit_bias": {5: 0.0, 6: -0.0}},
        {"allowed_token_ids": list(range(100))},
        {"n": 1},
    ],
)
def test_a_request_that_cuts_nothing_is_the_same_draw(cuts_nothing: dict[str, Any]) -> None:
    assert draw_digest(asked(**cuts_nothing), 100) == draw_digest(asked(), 100)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"allowed_token_ids": [5, 6]}, {"allowed_token_ids": [6, 5, 6]}),
        ({"logit_bias": {5: 1.0, 6: 2.0}}, {"logit_bias": {6: 2.0, 5: 1.0, 7: 0.0}}),
        ({"min_tokens": 2, "stop_token_ids": [5, 6]}, {"min_tokens": 2, "stop_token_ids": [6, 5, 5]}),
    ],
)
def test_order_and_repetition_are_the_same_draw(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert draw_digest(asked(**one), 100) == draw_digest(asked(**other), 100) != draw_digest(asked(), 100)


def test_what_changes_the_draw_changes_the_digest() -> None:
    different: list[dict[str, Any]] = [
        {},
        {"prompt": [1, 2, 4]},
        {"prompt": [1, 2]},
        {"temperature": 0.5},
        {"top_k": 99},
        {"top_p": 0.5},
        {"min_p": 0.5},
        {"presence_penalty": 0.5},
        {"frequency_penalty": 0.5},
        {"repetition_penalty": 2.0},
        {"logit_bias": {5: 1.0}},
        {"allowed_token_ids": [5]},
        {"min_tokens": 2},
        {"min_tokens": 2, "stop_token_ids": [5]},
        {"min_tokens": 2, "ignore_eos": True},
        {"n": 2},
    ]
    digests = {draw_digest(asked(**one), 100) for one in different}
    grammars = [Grammar(kind="regex", text=text, backend="guidance", version="1.7.6") for text in ("a", "b")]
    digests |= {draw_digest(asked().model_copy(update={"grammar": one}), 100) for one in grammars}
    budgets = [
        Reasoning(start="", end="</think>", budget=budget, forced_end=end)
        for budget, end in ((5, "</think>"), (6, "</think>"), (6, "</think>\n"))
    ]
    digests |= {draw_digest(asked().model_copy(update={"reasoning": one}), 100) for one in budgets}
    assert len(digests) == len(different) + len(grammars) + len(budgets)


def test_reasoning_without_a_budget_does_not_affect_the_draw() -> None:
    reasoning = Reasoning(start="<think>", end="</think>")
    assert draw_digest(asked().model_copy(update={"reasoning": reasoning}), 100) == draw_digest(asked(), 100)


def test_a_seed_key_is_written_for_its_owner_alone_and_read_back(tmp_path: Path) -> None:
    path = tmp_path / "seed.key"
    write_seed_key(path, lambda count: b"x" * count)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_seed_key(path) == b"x" * 32
    with pytest.raises(KeyFileError, match="already"):
        write_seed_key(path, bytes)
    path.chmod(0o640)
    with pytest.raises(KeyFileError, match="others than its owner"):
        read_seed_key(path)


def test_a_short_seed_key_is_refused_and_never_shown(tmp_path: Path) -> None:
    path = tmp_path / "seed.key"
    path.write_bytes(b"secret")
    path.chmod(0o600)
    with pytest.raises(KeyFileError, match=f"at least {MIN_KEY_BYTES}") as failed:
        read_seed_key(path)
    assert "secret" not in str(failed.value)
    assert KEY.decode() not in repr(issuer_of(Store()))
