"""Who gets an engine's slots, and when."""

import asyncio
from collections.abc import Callable

import pytest

from oprel.server.slots import Slots


async def take(slots: Slots, count: int = 1, *, name: str = "", into: list[str] | None = None) -> None:
    await slots.take(count)
    if into is not None:
        into.append(name)


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_who_comes_first_is_served_first() -> None:
    slots, served = Slots(1), list[str]()
    await slots.take(1)
    waiting = [asyncio.ensure_future(take(slots, name=name, into=served)) for name in "abc"]
    await settled()
    assert slots.waiting == 3
    for _ in waiting:
        slots.give_back(1)
        await settled()
    assert served == ["a", "b", "c"] and slots.waiting == 0


async def test_a_small_request_does_not_overtake_a_large_one() -> None:
    slots, served = Slots(4), list[str]()
    await slots.take(2)
    large = asyncio.ensure_future(take(slots, 4, name="large", into=served))
    small = asyncio.ensure_future(take(slots, 1, name="small", into=served))
    await settled()
    assert not served
    slots.give_back(2)
    await settled()
    assert served == ["large"]
    slots.give_back(4)
    await asyncio.gather(large, small)


async def test_more_than_there_are_is_all_of_them() -> None:
    slots = Slots(2)
    await slots.take(5)
    assert slots.taken == 5
    slots.give_back(5)
    assert slots.taken == 0


async def test_who_leaves_the_queue_lets_the_next_ones_pass() -> None:
    slots = Slots(2)
    await slots.take(1)
    large = asyncio.ensure_future(slots.take(2))
    small = asyncio.ensure_future(slots.take(1))
    await settled()
    large.cancel()
    await small
    assert slots.taken == 2 and slots.waiting == 0


async def test_who_leaves_just_as_its_turn_comes_gives_it_back() -> None:
    slots = Slots(1)
    await slots.take(1)
    waiting = asyncio.ensure_future(slots.take(1))
    await settled()
    slots.give_back(1)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert slots.taken == 0


async def test_who_needs_none_waits_for_none() -> None:
    slots = Slots(1)
    await slots.take(1)
    async with slots.taking(0):
        assert slots.taken == 1


async def test_an_engine_to_oneself_comes_before_all_who_wait() -> None:
    slots, served = Slots(2), list[str]()
    async with slots.taking(1) as held:
        await slots.take(1)
        others = [asyncio.ensure_future(take(slots, name=name, into=served)) for name in "ab"]
        await settled()
        alone = asyncio.ensure_future(held.all_of_them())
        await settled()
        assert slots.taken == 1 and not served
        slots.give_back(1)
        await alone
        assert slots.taken == 2 and not served
    await settled()
    assert served == ["a", "b"]
    for other in others:
        await other


@pytest.mark.parametrize("leave", [lambda task: task.cancel(), lambda task: None])
async def test_nothing_is_lost_when_who_wants_it_all_leaves(leave: Callable[[asyncio.Task[None]], None]) -> None:
    slots = Slots(2)
    await slots.take(1)

    async def alone() -> None:
        async with slots.taking(1) as held:
            await held.all_of_them()

    task = asyncio.create_task(alone())
    await settled()
    leave(task)
    slots.give_back(1)
    await asyncio.wait({task})
    assert slots.taken == 0 and slots.waiting == 0
