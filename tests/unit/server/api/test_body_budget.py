"""Bodies of all requests within a budget of memory."""

import asyncio

import pytest

from oprel.core.exceptions import BusyError
from oprel.server.api.connections import request_limits as limits
from oprel.server.api.request_content import Body, BodyBudget

LARGE = 10 * limits.SMALL_BYTES


def growing(body: Body, size: int) -> asyncio.Task[None]:
    return asyncio.create_task(body.grow(size))


async def test_small_bodies_are_not_counted() -> None:
    budget = BodyBudget(0)
    with budget.body() as first, budget.body() as second:
        await first.grow(LARGE)
        await second.grow(limits.SMALL_BYTES)
        assert second.held == 0


async def test_a_large_body_waits_until_another_answer_has_ended() -> None:
    budget = BodyBudget(LARGE)
    with budget.body() as second:
        with budget.body() as first:
            await first.grow(LARGE)
            first.arrived()
            with budget.body() as oldest:  # what came first may grow beyond all
                await oldest.grow(LARGE)
                waiting = growing(second, LARGE)
                await asyncio.sleep(0)
                assert not waiting.done()
        await waiting
        assert second.held == LARGE


async def test_bodies_that_arrive_together_come_one_after_the_other() -> None:
    budget = BodyBudget(LARGE)
    with budget.body() as first:
        await first.grow(LARGE // 2)
        with budget.body() as second:
            await second.grow(LARGE // 2)
            waiting = growing(second, LARGE)
            await first.grow(LARGE)
            await asyncio.sleep(0)
            assert not waiting.done()
            first.arrived()
            await waiting


async def test_a_body_that_waits_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "BUDGET_SECONDS", 0.01)
    budget = BodyBudget(LARGE)
    with budget.body() as first, budget.body() as second:
        await first.grow(LARGE)
        with pytest.raises(BusyError):
            await second.grow(LARGE)


async def test_what_a_request_held_is_free_when_it_fails() -> None:
    budget = BodyBudget(LARGE)
    with pytest.raises(OSError, match="left"), budget.body() as first:
        await first.grow(LARGE)
        raise OSError("left")
    with budget.body() as other, budget.body() as second:
        await other.grow(LARGE // 2)
        await second.grow(LARGE // 2)
