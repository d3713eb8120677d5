"""Work on several threads at once, lazily and in bounded number, with results as they come."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_unordered(work: Callable[[Item], Result], items: Sequence[Item], threads: int) -> Iterator[Result]:
    """Results of `work`, one an item, in the order in which they are done; in order, on this thread, with one thread.

    No more than `threads` items are under way or done and not yet taken. The first failure is raised, and what has not
    begun then is not begun.
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
