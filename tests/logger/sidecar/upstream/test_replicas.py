"""Which of several servers a request is given to, and for how long one that failed is left out."""

import io
import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from weightwarden.logger.record import Record
from weightwarden.logger.serving.event_log import Events
from weightwarden.logger.sidecar.errors import SettingsError, UpstreamError, UpstreamRefusal
from weightwarden.logger.sidecar.metrics import Metrics
from weightwarden.logger.sidecar.upstream.replica_url import ReplicaUrl, replica_urls
from weightwarden.logger.sidecar.upstream.replicas import BACKOFF_SECONDS, LONGEST_BACKOFF_SECONDS, Replica, Replicas

LOST = UpstreamError("lost")
ANSWERED = Record.model_validate(
    {
        "engine": {"name": "vllm", "version": "0.32.0", "sampler": "vllm-v2"},
        "model": "small",
        "prompt_token_ids": [5],
        "output_token_ids": [6],
        "seed": 1,
        "choice_index": 0,
        "sampling": {"max_tokens": 1},
        "finish_reason": "length",
        "stop_reason": None,
    }
)


class Fleet:
    """Ready servers without a client, and a clock that is set."""

    def __init__(self, *names: str) -> None:
        self.now = 0.0
        self.metrics, self.said = Metrics(), io.StringIO()
        client: Any = None
        self.replicas = Replicas(
            [Replica(name, client, unfit=None) for name in names], self.metrics, Events(self.said), lambda: self.now
        )

    def choose(self, choices: int = 1) -> str | None:
        """The server of a request that ends at once."""
        with self.replicas.chosen(choices) as name:
            return name

    def fail(self, name: str, error: UpstreamError = LOST) -> None:
        self.replicas.failed(_record(name), error)

    def answer(self, name: str) -> None:
        self.replicas.answered(_record(name))

    def sample(self, name: str) -> float | None:
        """A metric of the server a."""
        return self.metrics.registry.get_sample_value(f"weightwarden_sidecar_replica_{name}", {"replica": "a"})

    @contextmanager
    def holding(self, *choices: int) -> Iterator[list[str | None]]:
        """The servers of requests of so many choices, which stay under way."""
        with ExitStack() as stack:
            yield [stack.enter_context(self.replicas.chosen(number)) for number in choices]


def _record(replica: str | None) -> Record:
    return ANSWERED.model_copy(update={"replica": replica})


def test_the_only_server_has_no_name() -> None:
    fleet = Fleet("a")
    assert fleet.choose() is None
    fleet.replicas.failed(_record(None), LOST)
    assert fleet.choose() is None
    assert fleet.said.getvalue() == ""


def test_a_request_goes_to_the_server_with_the_fewest_choices_under_way() -> None:
    fleet = Fleet("a", "b", "c")
    with fleet.holding(4, 1, 2, 1) as names:
        assert names == ["a", "b", "c", "b"]  # b and c have 2 each now; b was chosen last
        with fleet.holding(1, 1, 2, 1) as more:
            assert more == ["c", "b", "c", "b"]
    assert [one.choices for one in fleet.replicas.all] == [0, 0, 0]


def test_idle_servers_take_turns() -> None:
    fleet = Fleet("a", "b", "c")
    assert [fleet.choose() for _ in range(7)] == ["a", "b", "c", "a", "b", "c", "a"]


def test_a_load_of_many_requests_is_spread_evenly() -> None:
    fleet, rng = Fleet("a", "b", "c", "d"), random.Random(5)
    under_way: list[ExitStack] = []
    for _ in range(2000):
        if len(under_way) >= 64:
            under_way.pop(rng.randrange(64)).close()
        stack = ExitStack()
        stack.enter_context(fleet.replicas.chosen(rng.choice([1, 1, 1, 2])))
        under_way.append(stack)
        if len(under_way) == 64:
            loads = [one.choices for one in fleet.replicas.all]
            assert max(loads) - min(loads) <= 12, loads


def test_a_server_that_failed_is_left_out_for_a_time_that_doubles() -> None:
    fleet = Fleet("a", "b")
    seconds = BACKOFF_SECONDS
    for _ in range(8):
        fleet.fail("a")
        fleet.fail("a")  # a request that began before
        fleet.now += seconds - 0.001
        assert [fleet.choose() for _ in range(3)] == ["b", "b", "b"]
        fleet.now += 0.001
        assert "a" in (fleet.choose(), fleet.choose())
        seconds = min(2 * seconds, LONGEST_BACKOFF_SECONDS)
    assert fleet.said.getvalue().count('"replica failed"') == 8
    assert (
        fleet.metrics.registry.get_sample_value("weightwarden_sidecar_replica_failures_total", {"replica": "a"}) == 16
    )
    fleet.answer("a")
    fleet.fail("a")
    fleet.now += BACKOFF_SECONDS
    assert "a" in (fleet.choose(), fleet.choose())


def test_after_its_backoff_a_server_is_tried_with_one_request() -> None:
    fleet = Fleet("a", "b")
    with fleet.holding(1, 1, 1, 1, 1):
        fleet.fail("a")
        fleet.now = BACKOFF_SECONDS
        assert fleet.choose() == "b"  # a has requests of before under way
    with fleet.holding(1, 1, 1, 1) as names:
        assert sorted(map(str, names)) == ["a", "b", "b", "b"]
        fleet.answer("a")
        with fleet.holding(1, 1) as more:
            assert more == ["a", "a"]


def test_a_refused_request_leaves_no_server_out() -> None:
    fleet = Fleet("a", "b")
    fleet.fail("a", UpstreamRefusal(400))
    assert {fleet.choose(), fleet.choose()} == {"a", "b"}


def test_a_server_that_a_check_found_unfit_is_left_out_until_the_next_check() -> None:
    fleet = Fleet("a", "b")
    first = fleet.replicas.all[0]
    fleet.replicas.checked(first, "cannot be reached")
    assert [fleet.choose() for _ in range(3)] == ["b", "b", "b"]
    assert not fleet.replicas.unfit
    fleet.replicas.checked(first, None)
    assert "a" in (fleet.choose(), fleet.choose())
    assert fleet.sample("up") == 1


def test_if_all_are_left_out_the_least_loaded_is_asked_all_the_same() -> None:
    fleet = Fleet("a", "b")
    fleet.fail("a")
    fleet.fail("b")
    with fleet.holding(3, 1, 1) as names:
        assert names == ["a", "b", "b"]
    for one in fleet.replicas.all:
        fleet.replicas.checked(one, "cannot be reached")
    assert fleet.replicas.unfit
    assert fleet.choose() in ("a", "b")


@pytest.mark.parametrize(
    ("text", "name", "url"),
    [
        ("http://10.0.0.2:8000", "10.0.0.2:8000", "http://10.0.0.2:8000"),
        ("https://gpu-3.internal/v1", "gpu-3.internal:443", "https://gpu-3.internal/v1"),
        ("http://[::1]:8000", "[::1]:8000", "http://[::1]:8000"),
        ("http://user:secret@10.0.0.2:8000", "10.0.0.2:8000", "http://user:secret@10.0.0.2:8000"),
        ("gpu-3=http://10.0.0.2:8000", "gpu-3", "http://10.0.0.2:8000"),
        ("rack.1:b=http://10.0.0.2:8000/x?a=b", "rack.1:b", "http://10.0.0.2:8000/x?a=b"),
        ("http://10.0.0.2:8000/x?a=b", "10.0.0.2:8000", "http://10.0.0.2:8000/x?a=b"),
    ],
)
def test_a_server_has_a_name_or_is_called_by_host_and_port(text: str, name: str, url: str) -> None:
    assert ReplicaUrl.parse(text) == ReplicaUrl(name, url)


@pytest.mark.parametrize(
    ("texts", "why"),
    [
        ([], "is needed"),
        (["a=http://10.0.0.2", "a=http://10.0.0.3"], "one name"),
        (["a=http://10.0.0.2", "b=http://10.0.0.2/"], "one URL"),
        (["http://10.0.0.2:port"], "URL is http://"),
        (["http://[::1"], "URL is http://"),
    ],
)
def test_servers_that_cannot_be_told_apart_or_are_no_urls_are_refused(texts: list[str], why: str) -> None:
    with pytest.raises(SettingsError, match=why):
        replica_urls(texts)
