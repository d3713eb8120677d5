import asyncio
import stat
from pathlib import Path

import pytest
from scipy.stats import chisquare

from logger.private_file import KeyFileError
from logger.sidecar.seeds import BLOCK, MAX_KEPT, MIN_KEY_BYTES, SeedIssuer, read_seed_key, seed_of, write_seed_key
from logger.store.errors import LogWriteError
from logger.store.writer import LogWriter

KEY = b"k" * 32


class Counter:
    """Hands out blocks, as a log does."""

    def __init__(self) -> None:
        self.next = 0

    async def __call__(self, count: int) -> int:
        self.next += count
        return self.next - count


def counted(issuer: SeedIssuer, *requests: bytes) -> list[int]:
    """The counters of requests, one after the other."""

    async def all_counters() -> list[int]:
        return [await issuer.counter(request) for request in requests]

    return asyncio.run(all_counters())


def test_seeds_are_in_the_range_of_every_engine_with_all_their_choices() -> None:
    seeds = [seed_of(KEY, "log", counter, 1000) for counter in range(2000)]
    assert all(seed >= 0 and seed + 999 < 2**31 for seed in seeds)
    assert len(set(seeds)) == 2000


def test_seeds_look_uniform_and_depend_on_key_log_and_counter() -> None:
    seeds = [seed_of(KEY, "log", counter) for counter in range(20_000)]
    counts = [0] * 16
    for seed in seeds:
        counts[seed >> 27] += 1
    assert chisquare(counts).pvalue > 1e-4
    assert seed_of(b"x" * 32, "log", 1) != seeds[1] != seed_of(KEY, "other", 1)


def test_a_counter_is_never_issued_twice_over_restarts(tmp_path: Path) -> None:
    seen: list[int] = []
    for _ in range(3):
        with LogWriter.open(str(tmp_path / "log.db"), origin="log") as log:
            issuer = SeedIssuer(KEY, "log", log.reserve_seeds)
            seen += counted(issuer, *(b"%d" % i for i in range(5)))
    assert len(set(seen)) == 15
    assert seen == [*range(5), *range(BLOCK, BLOCK + 5), *range(2 * BLOCK, 2 * BLOCK + 5)]


def test_a_request_that_failed_gets_its_counter_again_once_and_another_does_not() -> None:
    issuer = SeedIssuer(KEY, "log", Counter())
    first = counted(issuer, b"request")[0]
    issuer.keep(b"request", first)
    assert counted(issuer, b"other")[0] != first
    assert counted(issuer, b"request")[0] == first
    assert counted(issuer, b"request")[0] != first


def test_a_server_that_fails_requests_cannot_try_seeds() -> None:
    issuer = SeedIssuer(KEY, "log", Counter())
    tried = set()
    for _ in range(100):
        counter = counted(issuer, b"request")[0]
        tried.add(issuer.seed(counter))
        issuer.keep(b"request", counter)
    assert len(tried) == 1


def test_equal_requests_that_fail_side_by_side_keep_all_their_counters() -> None:
    issuer = SeedIssuer(KEY, "log", Counter())
    tried: set[int] = set()
    for _ in range(20):
        counters = counted(issuer, b"request", b"request")
        tried.update(counters)
        for counter in counters:
            issuer.keep(b"request", counter)
    assert len(tried) == 2


def test_what_is_kept_is_bounded() -> None:
    issuer = SeedIssuer(KEY, "log", Counter())
    for i in range(MAX_KEPT + 10):
        issuer.keep(b"%d" % i, i)
    assert len(issuer._failed) == MAX_KEPT
    assert counted(issuer, b"%d" % (MAX_KEPT + 9))[0] == MAX_KEPT + 9


def test_without_a_log_there_is_no_seed() -> None:
    async def failing(_: int) -> int:
        raise LogWriteError("full")

    with pytest.raises(LogWriteError):
        counted(SeedIssuer(KEY, "log", failing), b"request")


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
    assert KEY.decode() not in repr(SeedIssuer(KEY, "log", Counter()))
