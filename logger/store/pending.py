"""Changes that wait for their transaction, and how those who asked for them are told."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import Future
from typing import NamedTuple

from weightwarden.errors import WeightwardenError
from weightwarden.logger.store.changes import Change


class Pending(NamedTuple):
    """A change that waits, and how its asker is told: by a future of its own, or of an event loop."""

    change: Change
    future: "Future[int | None] | asyncio.Future[int | None]"
    loop: asyncio.AbstractEventLoop | None = None
    slot: asyncio.Semaphore | None = None


def resolve(batch: Sequence[Pending], outcome: "Sequence[int | None] | WeightwardenError") -> None:
    """Resolve the futures of a batch, those of an event loop with one call.

    Args:
        outcome: what came of each change, or why none was confirmed.
    """

    def resolve(pending: Pending, at: int) -> None:
        if isinstance(outcome, WeightwardenError):
            pending.future.set_exception(type(outcome)(*outcome.args))  # raised anew by each that waits
        else:
            pending.future.set_result(outcome[at])

    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[Pending, int]]] = {}
    for at, pending in enumerate(batch):
        if pending.loop is None:
            resolve(pending, at)
        else:
            by_loop.setdefault(pending.loop, []).append((pending, at))
    for loop, told in by_loop.items():

        def tell_loop(told: list[tuple[Pending, int]] = told) -> None:
            for pending, at in told:
                if pending.slot is not None:
                    pending.slot.release()
                if not pending.future.done():
                    resolve(pending, at)

        try:
            loop.call_soon_threadsafe(tell_loop)
        except RuntimeError:
            continue  # the loop was closed: nobody waits any more
