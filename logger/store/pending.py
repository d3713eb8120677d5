"""Changes that wait for their transaction, and the futures that resolve with its outcome."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import Future
from typing import NamedTuple

from weightwarden.errors import WeightwardenError
from weightwarden.logger.store.changes import Change


class Pending(NamedTuple):
    """A waiting change.

    Attributes:
        change: the change.
        future: resolves with the outcome: a plain future, or one of an event loop.
        loop: the event loop of the future, or None.
        slot: semaphore to release afterwards, or None.
    """

    change: Change
    future: "Future[int | None] | asyncio.Future[int | None]"
    loop: asyncio.AbstractEventLoop | None = None
    slot: asyncio.Semaphore | None = None


def resolve(batch: Sequence[Pending], outcome: "Sequence[int | None] | WeightwardenError") -> None:
    """Resolve the futures of a batch, with one call for each event loop.

    Args:
        batch: the changes.
        outcome: results of the changes, or the error if none was confirmed.
    """

    def resolve(pending: Pending, at: int) -> None:
        if isinstance(outcome, WeightwardenError):
            failure = type(outcome)(*outcome.args)  # a new exception for each waiter
            failure.__cause__ = outcome.__cause__
            pending.future.set_exception(failure)
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
            continue  # the loop was closed: there is no waiter
