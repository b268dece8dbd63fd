"""Who gets an engine's slots, and when."""

import asyncio
from contextlib import suppress

from oprel.server.pool.slots import SlotGrant, Slots
from tests.conftest import DEADLINE


class Client:
    """Takes places, and holds them until it leaves."""

    def __init__(self, slots: Slots, count: int = 1) -> None:
        self.held: SlotGrant | None = None
        self._leaves = asyncio.Event()
        self.task = asyncio.create_task(self._hold(slots, count))

    async def _hold(self, slots: Slots, count: int) -> None:
        async with slots.hold(count) as self.held:
            await self._leaves.wait()

    async def leave(self) -> None:
        self._leaves.set()
        await settled()

    async def cancel(self) -> None:
        self.task.cancel()
        with suppress(asyncio.CancelledError):
            await self.task


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def clients(slots: Slots, *counts: int) -> list[Client]:
    found = []
    for count in counts:
        found.append(Client(slots, count))
        await settled()
    return found


def served(*clients: Client) -> list[bool]:
    return [client.held is not None for client in clients]


async def test_who_comes_first_is_served_first() -> None:
    slots = Slots(1, 100)
    first, second, third = await clients(slots, 1, 1, 1)
    assert served(first, second, third) == [True, False, False] and slots.waiting == 2
    await first.leave()
    assert served(second, third) == [True, False]
    await second.leave()
    assert served(third) == [True] and slots.waiting == 0
    await third.leave()


async def test_a_small_request_does_not_overtake_a_large_one() -> None:
    slots = Slots(4, 400)
    holder, large, small = await clients(slots, 2, 4, 1)
    assert served(large, small) == [False, False]
    await holder.leave()
    assert served(large, small) == [True, False]
    await large.leave()
    assert served(small) == [True]
    await small.leave()


async def test_more_than_there_are_is_all_of_them() -> None:
    slots = Slots(2, 200)
    large, small = await clients(slots, 5, 1)
    assert served(large, small) == [True, False]
    await large.leave()
    await small.leave()
    assert slots.in_use == 0


async def test_who_leaves_the_queue_lets_the_next_ones_pass() -> None:
    slots = Slots(2, 200)
    holder, large, small = await clients(slots, 1, 2, 1)
    await large.cancel()
    assert served(small) == [True] and slots.in_use == 2 and slots.waiting == 0
    await holder.leave()
    await small.leave()


async def test_who_leaves_just_as_its_turn_comes_gives_it_back() -> None:
    slots = Slots(1, 100)
    holder, waiting = await clients(slots, 1, 1)
    leaving = asyncio.ensure_future(holder.leave())
    await asyncio.sleep(0)
    await waiting.cancel()
    await leaving
    assert slots.in_use == 0


async def test_who_needs_none_waits_for_none() -> None:
    slots = Slots(1, 100)
    one, other, none = await clients(slots, 1, 1, 0)
    assert served(one, other, none) == [True, False, True] and slots.in_use == 1
    for client in (one, other, none):
        await client.leave()


async def test_an_engine_to_oneself_comes_before_all_who_wait() -> None:
    slots = Slots(2, 200)
    suspect, other, waiting = await clients(slots, 1, 1, 1)
    assert suspect.held
    alone = asyncio.create_task(suspect.held.take_all())
    await settled()
    assert not alone.done() and served(waiting) == [False]
    await other.leave()
    assert alone.done() and slots.in_use == 2 and served(waiting) == [False]
    await suspect.leave()
    assert served(waiting) == [True]
    await waiting.leave()


async def test_who_shares_again_lets_others_in() -> None:
    slots = Slots(2, 200)
    suspect, waiting = await clients(slots, 2, 1)
    assert suspect.held
    await suspect.held.swap(1, 100)
    await settled()
    assert served(waiting) == [True] and slots.in_use == 2
    await suspect.leave()
    await waiting.leave()


async def test_nothing_is_lost_when_who_wants_it_all_leaves() -> None:
    slots = Slots(2, 200)
    suspect, other, waiting = await clients(slots, 1, 1, 1)
    assert suspect.held
    alone = asyncio.create_task(suspect.held.take_all())
    await settled()
    alone.cancel()
    await suspect.cancel()
    assert served(waiting) == [True] and slots.in_use == 2
    await other.leave()
    await waiting.leave()
    assert slots.in_use == 0 and slots.waiting == 0


async def test_who_sleeps_on_a_dead_engine_keeps_nobody_from_going_on() -> None:
    slots = Slots(2, 200)
    sleeper, suspect, newcomer = await clients(slots, 1, 1, 1)
    slots.lose()
    assert suspect.held and sleeper.held
    await asyncio.wait_for(suspect.held.take_all(), DEADLINE)
    assert served(newcomer) == [False]
    awake = asyncio.create_task(sleeper.held.swap(1, 100))
    await settled()
    assert not awake.done()
    await suspect.leave()
    assert awake.done() and served(newcomer) == [True]
    await sleeper.leave()
    await newcomer.leave()


async def test_fewer_slots_than_before_are_counted_right() -> None:
    slots = Slots(4, 400)
    (one,) = await clients(slots, 4)
    slots.resize(1, 100)
    assert one.held and (one.held.count, one.held.cells) == (1, 100)
    await one.leave()
    first, second = await clients(slots, 1, 1)
    assert served(first, second) == [True, False]
    await first.leave()
    await second.leave()


async def test_who_holds_slots_of_an_engine_with_fewer_takes_turns() -> None:
    slots = Slots(2, 200)
    first, second, newcomer = await clients(slots, 1, 1, 1)
    slots.resize(1, 100)
    assert first.held and second.held
    await first.held.settle()
    waiting = asyncio.create_task(second.held.settle())
    await settled()
    assert not waiting.done() and served(newcomer) == [False]
    await first.leave()
    assert waiting.done() and served(newcomer) == [False]
    await second.leave()
    assert served(newcomer) == [True] and newcomer.held and newcomer.held.cells == 100
    await newcomer.leave()


async def test_the_most_that_were_in_use_are_remembered() -> None:
    slots = Slots(3, 30)
    first, second = await clients(slots, 1, 1)
    await first.leave()
    await second.leave()
    assert (slots.in_use, slots.most_in_use) == (0, 2)
