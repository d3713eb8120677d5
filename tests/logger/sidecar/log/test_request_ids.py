import pytest

from weightwarden.logger.request_stamp import is_request_id
from weightwarden.logger.sidecar.log.request_ids import RequestIds

KEY, NONCE = b"k" * 32, b"n" * 32


def own(issuer: RequestIds, count: int = 100) -> list[str]:
    return [issuer.of([])[0] for _ in range(count)]


def test_own_ids_follow_from_key_log_start_and_counter_and_from_nothing_else() -> None:
    ids = own(RequestIds(KEY, "example.org/log", NONCE))
    assert ids == own(RequestIds(KEY, "example.org/log", NONCE))
    assert len(set(ids)) == 100
    assert all(map(is_request_id, ids))
    for other in (
        RequestIds(b"j" * 32, "example.org/log", NONCE),
        RequestIds(KEY, "example.org/other", NONCE),
        RequestIds(KEY, "example.org/log", b"m" * 32),
    ):
        assert not set(own(other)) & set(ids)


@pytest.mark.parametrize("given", [b"a", b"req_7.B-3", b"x" * 128, b"1b4e28ba-2fa1-11d2-883f-0016d3cca427"])
def test_a_well_formed_id_of_a_client_is_used(given: bytes) -> None:
    assert RequestIds(KEY, "a", NONCE).of([(b"x-request-id", given)]) == (given.decode(), "used")


@pytest.mark.parametrize(
    "headers",
    [
        [(b"x-request-id", b"")],
        [(b"x-request-id", b"x" * 129)],
        [(b"x-request-id", b'"}{"event": "forged')],
        [(b"x-request-id", b"\xff")],
        [(b"x-request-id", b"a"), (b"x-request-id", b"b")],
    ],
)
def test_any_other_is_replaced(headers: list[tuple[bytes, bytes]]) -> None:
    request_id, clients = RequestIds(KEY, "a", NONCE).of(headers)
    assert clients == "replaced"
    assert request_id == own(RequestIds(KEY, "a", NONCE), 1)[0]


def test_the_key_is_not_shown() -> None:
    assert repr(RequestIds(KEY, "a", NONCE)) == "<RequestIds>"
