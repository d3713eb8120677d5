"""Events are counted wherever the blocks of a response and the heads of its chunks split them."""

import pytest

from benchmarks.sidecar.event_counter import EventCounter
from benchmarks.sidecar.token_source import EVENTS, LAST

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
BODY = b"".join([*EVENTS[:2], LAST])
"""Three events of tokens, and `[DONE]`."""


def chunked(*pieces: bytes) -> bytes:
    """The body of these pieces, a chunk each."""
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces if piece) + b"0\r\n\r\n"


def test_the_head_of_a_chunk_within_an_event_hides_no_event() -> None:
    for at in range(len(BODY)):
        counter = EventCounter()
        counter.add(HEAD + chunked(BODY[:at], BODY[at:]))
        assert counter.events == 4, at
        assert counter.done, at


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 64, 100])
@pytest.mark.parametrize("response", [HEAD + chunked(*EVENTS[:2], LAST), HEAD + BODY], ids=["chunked", "plain"])
def test_events_are_counted_once_in_blocks_of_any_size(response: bytes, size: int) -> None:
    counter = EventCounter()
    came = [counter.add(response[at : at + size]) for at in range(0, len(response), size)]
    assert min(came) >= 0
    assert sum(came) == counter.events == 4
    assert counter.done


def test_no_event_is_counted_before_its_end() -> None:
    counter = EventCounter()
    response = HEAD + chunked(EVENTS[0])
    end = response.index(b"\n\n\r\n") + 2
    assert counter.add(response[: end - 1]) == 0
    assert counter.add(response[end - 1 :]) == 1
    assert not counter.done
