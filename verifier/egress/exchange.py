"""One exchange of a request and its response: the prompt that was asked, and the token ids that were drawn."""

from array import array
from typing import Literal

import msgspec

from weightwarden.verifier.egress.byte_stream import Memory
from weightwarden.verifier.egress.frame_counts import FrameCount
from weightwarden.verifier.egress.http_messages import Head, MessageReader
from weightwarden.verifier.egress.logged_answers import Drawn, request_key

MAX_REQUEST_BYTES = 1 << 26
LINE_BYTES, PROMPT_ID_BYTES = 1 << 16, 16
"""Longest line of an event stream, and what each prompt id adds to it."""
COMPLETIONS, MODELS = "/v1/completions", "/v1/models"
_DATA, _DONE = b"data:", b"[DONE]"


class _Choice(msgspec.Struct):
    index: int = 0
    token_ids: list[int] | None = None
    finish_reason: str | None = None


class _Event(msgspec.Struct):
    choices: list[_Choice]


class _Asked(msgspec.Struct):
    prompt: list[int]
    seed: int | None = None


_EVENT, _ASKED = msgspec.json.Decoder(_Event), msgspec.json.Decoder(_Asked)


class RequestBody:
    """The body of a request.

    Attributes:
        data: the body so far.
        whole: False if more came than is kept.
    """

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self.data, self.whole = bytearray(), True

    def add(self, data: bytes) -> None:
        """Receive the next bytes of the body."""
        if self.whole and len(self.data) + len(data) <= MAX_REQUEST_BYTES and self._memory.take(len(data)):
            self.data += data
        else:
            self.whole = False
            self.forget()

    def forget(self) -> None:
        """Drop the body."""
        self._memory.held -= len(self.data)
        self.data = bytearray()


class DrawnIds:
    """The token ids in an event stream, as the sidecar reads them: up to the end that the server reports.

    Attributes:
        ids: the token ids.
    """

    def __init__(self, prompt_tokens: int, memory: Memory) -> None:
        self.ids = array("i")
        self._memory = memory
        self._longest = LINE_BYTES + PROMPT_ID_BYTES * prompt_tokens
        self._rest = b""
        self._ended = False

    def add(self, data: bytes) -> None:
        """Receive the next bytes of the body."""
        if self._ended:
            return
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        for line in lines:
            if line.startswith(_DATA) and not self._ended:
                self._event(line[len(_DATA) :].strip())
        if self._ended or len(self._rest) > self._longest:
            self._ended, self._rest = True, b""

    def _event(self, data: bytes) -> None:
        self._ended = data == _DONE or len(data) > self._longest
        if self._ended:
            return
        try:
            for choice in _EVENT.decode(data).choices:
                ids = array("i", choice.token_ids or ())
                if choice.index != 0 or not self._memory.take(4 * len(ids)):
                    self._ended = True
                    return
                self.ids += ids
                self._ended = self._ended or choice.finish_reason is not None
        except (msgspec.MsgspecError, OverflowError, RecursionError, ValueError):
            self._ended = True


class Exchange:
    """A request of the sidecar, and the server's response as far as it was captured.

    Attributes:
        kind: completion, readiness, or other for a request that the sidecar does not send.
        frames: the frames that carry the exchange.
        response_bytes: bytes of the response, its head included.
        ended: True once the response is whole, or the connection has ended.
    """

    def __init__(self, head: Head, body: RequestBody, frames: FrameCount, memory: Memory) -> None:
        """An exchange whose request is whole.

        Args:
            head: head of the request.
            body: body of the request, which is dropped here.
            frames: the frames of the request.
            memory: counts the bytes that are held.
        """
        self.frames, self._memory = frames, memory
        self.response_bytes, self.ended = 0, False
        self.kind: Literal["completion", "readiness", "other"] = "other"
        self._key, prompt_tokens = b"", 0
        if (head.method, head.path) == ("GET", MODELS) and not body.data:
            self.kind = "readiness"
        elif (head.method, head.path) == ("POST", COMPLETIONS) and body.whole:
            asked = _asked(bytes(body.data))
            if asked is not None:
                self.kind, self._key, prompt_tokens = "completion", *asked
        body.forget()
        self._ids = DrawnIds(prompt_tokens, memory)
        self._reader = MessageReader(self._ids, response=True)

    @property
    def drawn(self) -> Drawn:
        """The completion as captured; a response that reports a failure draws nothing."""
        head = self._reader.head
        return Drawn(self._key, self._ids.ids if head is not None and head.status == 200 else array("i"))

    def add(self, data: bytes) -> bytes:
        """Read bytes of the server; returns those after the end of the response.

        Raises:
            Malformed: they are no HTTP response.
        """
        rest = self._reader.add(data)
        self.response_bytes += len(data) - len(rest)
        self.ended = self._reader.done
        return rest

    def end(self) -> None:
        """End the exchange with its connection."""
        self.ended = True

    def forget(self) -> None:
        """Release the memory of the token ids."""
        self._memory.held -= 4 * len(self._ids.ids)
        self._ids.ids = array("i")


def _asked(body: bytes) -> tuple[bytes, int] | None:
    """The key and the prompt tokens of a request for a completion, or None if it is none."""
    try:
        asked = _ASKED.decode(body)
        return request_key(array("i", asked.prompt), asked.seed), len(asked.prompt)
    except (msgspec.MsgspecError, OverflowError, RecursionError, ValueError):
        return None
