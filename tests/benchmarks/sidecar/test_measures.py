"""The three measures of a server, with the plain proxy and the token source as processes."""

from collections.abc import Iterator

import pytest

from benchmarks.free_port import free_port
from benchmarks.sidecar.measures import beginning, steady, token_way
from benchmarks.sidecar.servers import Server, running


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Server]]:
    """The source, and the proxy before it."""
    folder = tmp_path_factory.mktemp("servers")
    source, proxy = free_port(), free_port()
    url = f"http://127.0.0.1:{source}"
    commands = {
        "direct": (source, ["benchmarks.sidecar.token_source", str(source)]),
        "pass-through": (proxy, ["benchmarks.sidecar.plain_proxy", str(proxy), url]),
    }
    with running(folder, commands) as found:
        yield found


@pytest.mark.parametrize("way", ["direct", "pass-through"])
def test_steady_streams_all_get_tokens_until_their_clients_leave(servers: dict[str, Server], way: str) -> None:
    for _ in range(2):  # what the first clients left behind does not occupy the server
        measured = steady(servers[way], servers["direct"], way, 8, 0.1)
        assert measured.tokens_per_second > 1000
        assert measured.processor_us >= 0


@pytest.mark.parametrize("way", ["direct", "pass-through"])
def test_every_request_that_begins_has_a_first_token_before_its_second(servers: dict[str, Server], way: str) -> None:
    measured = beginning(servers[way], way, 8, 20)
    assert len(measured.first_s) == 8
    assert min(measured.first_s) > 0


def test_a_tokens_way_is_measured_for_every_token(servers: dict[str, Server]) -> None:
    for way in ("direct", "pass-through"):
        under_way = token_way(servers[way], servers["direct"], way, 2, 20, 5)
        assert len(under_way) == 40
        assert min(under_way) > 0


def test_an_answer_that_is_refused_is_no_measurement(servers: dict[str, Server]) -> None:
    with pytest.raises(AssertionError, match=r"chat: an answer ended early: .*404 Not Found"):
        beginning(servers["pass-through"], "chat", 1, 20)  # the proxy has no chats
