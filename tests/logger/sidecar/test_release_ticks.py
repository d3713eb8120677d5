import asyncio
import itertools

from weightwarden.logger.sidecar.release_ticks import Rank, Ticks

SECONDS = 0.1


def left(ready: list[Rank]) -> list[Rank]:
    """The order in which choices leave on one tick that become ready in this one."""

    async def main() -> list[Rank]:
        loop = asyncio.get_running_loop()
        ticks = Ticks(SECONDS, loop.time)
        order: list[Rank] = []

        async def choice(rank: Rank) -> None:
            await ticks.next(rank)
            order.append(rank)

        await ticks.next((0, 0))  # begin right after a tick, so that all are ready before the next
        tasks = []
        for rank in ready:
            tasks.append(asyncio.ensure_future(choice(rank)))
            await asyncio.sleep(0)
        await asyncio.gather(*tasks)
        return order

    return asyncio.run(main())


def test_what_leaves_on_one_tick_leaves_in_an_order_that_the_server_has_no_say_in() -> None:
    ranks = [(1, 0), (1, 1), (2, 0)]
    assert all(left(list(order)) == ranks for order in itertools.permutations(ranks))


def test_who_stopped_waiting_holds_nobody_up() -> None:
    async def main() -> list[int]:
        ticks = Ticks(SECONDS, asyncio.get_running_loop().time)
        order: list[int] = []

        async def choice(index: int) -> None:
            await ticks.next((0, index))
            order.append(index)

        await ticks.next((0, 0))
        tasks = [asyncio.ensure_future(choice(index)) for index in range(3)]
        await asyncio.sleep(0)
        tasks[1].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return order

    assert asyncio.run(main()) == [0, 2]
