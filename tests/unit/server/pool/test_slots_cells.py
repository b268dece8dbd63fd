"""The cells of an engine: no more are reserved than there are, in turn."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oprel.server.pool.slots import SlotGrant, Slots
from tests.fixtures.pool import settled

TOTAL, SHARE = 4, 100
CELLS = TOTAL * SHARE


class Client:
    """Takes slots, swaps what it has for more cells, grows, and leaves."""

    def __init__(self, slots: Slots, count: int = 1) -> None:
        self.grant: SlotGrant | None = None
        self._leaves = asyncio.Event()
        self._swap: asyncio.Task[None] | None = None
        self._task = asyncio.create_task(self._hold(slots, count))

    async def _hold(self, slots: Slots, count: int) -> None:
        async with slots.hold(count) as self.grant:
            await self._leaves.wait()

    @property
    def cells(self) -> int:
        return self.grant.cells if self.grant else 0

    async def swap(self, cells: int) -> None:
        """Ask for that number of cells, and have them by now unless it must wait."""
        if self.grant and (self._swap is None or self._swap.done()):
            self._swap = asyncio.create_task(self.grant.swap(1, cells))
            await settled()

    async def settle(self) -> None:
        """Hold slots of the next engine, unless it waits for some already."""
        if self.grant and not self.waits:
            self._swap = asyncio.create_task(self.grant.settle())
            await settled()

    @property
    def waits(self) -> bool:
        return self.grant is None or (self._swap is not None and not self._swap.done())

    async def leave(self) -> None:
        """Cancel whatever it waits for, and give everything back."""
        for task in (self._swap, self._task):
            if task and not task.done():
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
        await settled()


async def clients(slots: Slots, count: int) -> list[Client]:
    each = [Client(slots) for _ in range(count)]
    await settled()
    return each


async def test_each_slot_comes_with_an_equal_share() -> None:
    slots = Slots(TOTAL, CELLS)
    one, several = Client(slots), Client(slots, 2)
    await settled()
    assert (one.cells, several.cells, slots.free_cells) == (SHARE, 2 * SHARE, SHARE)


async def test_cells_beyond_a_share_are_taken_from_those_that_are_free() -> None:
    slots = Slots(TOTAL, CELLS)
    long, *_ = await clients(slots, 2)
    await long.swap(3 * SHARE)
    assert (long.cells, slots.free_cells, long.waits) == (3 * SHARE, 0, False)
    (late,) = await clients(slots, 1)
    assert late.waits and slots.in_use == 2, "slots are free, but no cells"
    await long.leave()
    assert late.cells == SHARE


async def test_a_request_for_more_cells_waits_without_holding_any_up() -> None:
    slots = Slots(TOTAL, CELLS)
    long, other, third = await clients(slots, 3)
    await long.swap(3 * SHARE)
    assert long.waits and (long.cells, slots.free_cells) == (0, 2 * SHARE)
    (late,) = await clients(slots, 1)
    assert late.waits, "later requests do not overtake it, however small"
    await other.leave()
    assert not long.waits and late.waits
    await third.leave()
    assert not late.waits


async def test_two_that_need_everything_have_it_in_turn() -> None:
    slots = Slots(TOTAL, CELLS)
    first, second = await clients(slots, 2)
    await first.swap(CELLS)
    await second.swap(CELLS)
    assert not first.waits and second.waits
    await first.leave()
    assert second.cells == CELLS


async def test_more_cells_than_there_are_is_all_of_them() -> None:
    slots = Slots(TOTAL, CELLS)
    (long,) = await clients(slots, 1)
    await long.swap(10 * CELLS)
    assert (long.cells, slots.free_cells) == (CELLS, 0)


async def test_one_that_leaves_while_it_waits_for_cells_lets_the_next_pass() -> None:
    slots = Slots(TOTAL, CELLS)
    long, _ = await clients(slots, 2)
    await long.swap(CELLS)
    (late,) = await clients(slots, 1)
    assert late.waits
    await long.leave()
    assert not late.waits and slots.waiting == 0


@pytest.mark.parametrize(("most", "cells"), [(150, 150), (1000, 300), (100, 100), (50, 100)])
async def test_a_grant_grows_into_free_cells(most: int, cells: int) -> None:
    slots = Slots(TOTAL, CELLS)
    one, _ = await clients(slots, 2)
    assert one.grant
    assert one.grant.grow(most) is (cells > SHARE)
    assert one.cells == cells


async def test_a_grant_does_not_grow_before_those_that_wait() -> None:
    slots = Slots(TOTAL, CELLS)
    one, other = await clients(slots, 2)
    await other.swap(CELLS)
    assert other.waits and one.grant and not one.grant.grow(CELLS)


async def test_the_next_engine_with_fewer_cells_gives_each_slot_a_share() -> None:
    slots = Slots(TOTAL, CELLS)
    long, several, short = Client(slots), Client(slots, 2), Client(slots)
    await settled()
    await short.leave()
    await long.swap(2 * SHARE)
    (waiting,) = await clients(slots, 1)
    await waiting.swap(3 * SHARE)
    slots.resize(TOTAL, CELLS // 2)
    for client in (long, several):
        await client.settle()
    assert [client.cells for client in (long, several, waiting)] == [SHARE // 2, SHARE, SHARE // 2]
    assert slots.free_cells == 0 and not any(client.waits for client in (long, several, waiting))
    await long.swap(CELLS)
    await several.leave()
    await waiting.leave()
    assert long.cells == CELLS // 2, "and no more than all of them"


Step = tuple[str, int, int]
STEPS = st.tuples(
    st.sampled_from(["come", "swap", "grow", "resize", "leave"]), st.integers(0, 7), st.integers(1, 2 * CELLS)
)


@given(st.lists(STEPS, max_size=30))
def test_no_history_reserves_more_than_there_is_or_leaves_one_waiting(steps: Sequence[Step]) -> None:
    asyncio.run(_history(steps))


async def _history(steps: Sequence[Step]) -> None:
    slots, present = Slots(TOTAL, CELLS), list[Client]()
    for step, number, cells in steps:
        client = present[number % len(present)] if present else None
        if step == "come":
            present += await clients(slots, 1)
        elif client and step == "swap":
            await client.swap(cells)
        elif client and step == "grow" and client.grant and not client.waits:
            client.grant.grow(cells)
        elif step == "resize":
            slots.resize(TOTAL, min(CELLS, TOTAL * cells))
            for each in present:
                await each.settle()
        elif client and step == "leave":
            present.remove(client)
            await client.leave()
        assert sum(client.cells for client in present) + slots.free_cells == slots.cells and slots.free_cells >= 0
        assert slots.in_use <= TOTAL
    while present:  # each that is served leaves: all are served at last
        served = [client for client in present if not client.waits]
        assert served
        present.remove(served[0])
        await served[0].leave()
    assert (slots.in_use, slots.free_cells, slots.waiting) == (0, slots.cells, 0)
