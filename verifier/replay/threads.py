"""Lazy work on a bounded number of threads, with results in the order of completion."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_unordered(work: Callable[[Item], Result], items: Sequence[Item], threads: int) -> Iterator[Result]:
    """Results of `work`, one an item, in the order of completion. With one thread: in order, on the calling thread.

    No more than `threads` items are under way or finished and not yet taken. The first failure is raised, and no
    further item is begun.
    """
    if threads <= 1:
        yield from map(work, items)
        return
    pool = ThreadPoolExecutor(threads, thread_name_prefix="replay")
    waiting: set[Future[Result]] = set()
    left = iter(items)
    try:
        while True:
            while len(waiting) < threads and (item := next(left, None)) is not None:
                waiting.add(pool.submit(work, item))
            if not waiting:
                return
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            for future in done:
                yield future.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
