"""The channel of a response to a client."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from weightwarden.logger.sidecar.errors import ApiError
from weightwarden.logger.sidecar.gated_protocol import GateLink


class WriteEvent(Protocol):
    """The sending of events."""

    async def __call__(self, data: bytes, group: tuple[int, bool] | None = None) -> None: ...


@dataclass
class Response:
    """Channel of a response: one body, or events one by one (status 200) until it is closed.

    Attributes:
        request_id: id of the request.
        write_body: sends a status and a body.
        write_event: sends one event, or the events of a group of a choice (its index, and whether it is the last).
        write_events: sends events, each as a chunk.
        write_error: sends an error as the whole response.
        close: ends a response of events.
        gate: the gate's link with `--release-pace`, or None.
        begun: True once anything was sent.
        handed_over: True once everything was sent, by the gate or to it.
        complete: True once everything has left.
        output_tokens: tokens that were released.
        records: indices of the records that the request became, in the order of their ends.
        status: status that the client received.
        reason: cause of a failure, for the operator.
    """

    request_id: str
    write_body: Callable[[int, bytes], Awaitable[None]]
    write_event: WriteEvent
    write_events: Callable[[Sequence[bytes]], Awaitable[None]]
    write_error: Callable[[ApiError], Awaitable[None]]
    close: Callable[[], Awaitable[None]]
    gate: GateLink | None = None
    handed_over: bool = False
    begun: bool = False
    complete: bool = False
    output_tokens: int = 0
    records: list[int] = field(default_factory=list)
    status: int = 0
    reason: str | None = None
