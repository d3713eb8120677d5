"""Frames between the main process and a worker."""

import asyncio
import io
import json
import socket

from weightwarden.logger.serving.event_log import Events
from weightwarden.logger.sidecar.log.failure_cause import cause_of
from weightwarden.logger.sidecar.workers.link import Kind, Link
from weightwarden.logger.sidecar.workers.told_failures import failure, told
from weightwarden.logger.store.errors import LogForked, LogWriteError


def test_frames_come_whole_however_they_are_split() -> None:
    got: list[tuple[Kind, bytes]] = []
    link = Link(lambda kind, payload: got.append((kind, bytes(payload))), lambda: None)
    sent = [(Kind.STOP, b""), (Kind.CHANGES, bytes(range(256)) * 9), (Kind.METRICS, b"{}")]
    content = b"".join(len(payload).to_bytes(4, "little") + bytes([kind]) + payload for kind, payload in sent)
    for size in (1, 2, 7, 1000, len(content)):
        got.clear()
        for at in range(0, len(content), size):
            link.data_received(content[at : at + size])
        assert got == sent


def test_both_ends_hear_each_other_and_that_the_other_is_gone() -> None:
    async def main() -> tuple[list[tuple[Kind, bytes]], bool]:
        loop = asyncio.get_running_loop()
        got: list[tuple[Kind, bytes]] = []
        lost: asyncio.Future[None] = loop.create_future()
        here, there = socket.socketpair()
        one = Link(lambda kind, payload: None, lambda: None)
        other = Link(lambda kind, payload: got.append((kind, bytes(payload))), lambda: lost.set_result(None))
        await loop.connect_accepted_socket(lambda: one, here)
        await loop.connect_accepted_socket(lambda: other, there)
        one.tell(Kind.ISSUE, number=1)
        one.close()
        await asyncio.wait_for(lost, 10)
        other.send(Kind.STOP)  # nobody is there: it is dropped
        return got, lost.done()

    assert asyncio.run(main()) == ([(Kind.ISSUE, b'{"number": 1}')], True)


def test_a_defect_in_one_frame_does_not_end_the_link() -> None:
    said, got = io.StringIO(), []

    def taken(kind: Kind, payload: memoryview) -> None:
        got.append(kind)
        raise KeyError(kind)

    link = Link(taken, lambda: None, Events(said))
    link.data_received((b"\0\0\0\0" + bytes([Kind.STOP])) * 2)
    assert got == [Kind.STOP, Kind.STOP]
    assert [json.loads(line)["kind"] for line in said.getvalue().splitlines()] == ["KeyError", "KeyError"]


def test_failures_of_the_log_keep_their_kind_message_and_cause() -> None:
    error = LogWriteError("log.db: not written")
    error.__cause__ = OSError(28, "No space left on device")
    here = failure(json.loads(json.dumps(told(error))))
    assert (type(here), str(here), cause_of(here)) == (LogWriteError, "log.db: not written", cause_of(error))
    assert cause_of(here) == "disk full"
    assert type(failure(told(LogForked("gone")))) is LogForked
    assert type(failure(told(RuntimeError("a client's text")))) is LogWriteError
    assert "client" not in str(failure(told(RuntimeError("a client's text"))))
