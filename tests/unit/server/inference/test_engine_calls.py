"""Calls of an engine that may die: which are blamed, which have the next engine to themselves, what callers get."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from oprel.core.exceptions import (
    BackendCrashedError,
    BackendError,
    ContextLengthError,
    OprelError,
    QuarantinedError,
    ShuttingDownError,
    UnsupportedError,
    ValidationError,
)
from oprel.runtime.engine import EngineLost, EngineRefused, EngineState, NeverSent, NotRepeated
from oprel.runtime.exits import Exit
from oprel.server.history.quarantine import EngineRequest
from oprel.server.inference.engine_calls import ALONE, EngineCall, engine_errors, is_too_long
from tests.fixtures.memory_engine import CRASH, KILLED, OUT_OF_MEMORY, OUTGROWN, MemoryEngine, ready
from tests.fixtures.pool import MODEL, MakePool, MemoryPool, settled

REQUEST = ("some text",)
Leave = Callable[[], Awaitable[None]]


@pytest.fixture
async def pool(make_pool: MakePool) -> MemoryPool:
    """An engine with two slots, which is ready."""
    pool = make_pool()
    await pool.load(MODEL)
    return pool


@contextlib.asynccontextmanager
async def called(pool: MemoryPool, request: EngineRequest = REQUEST, slots: int = 1) -> AsyncIterator[EngineCall]:
    async with pool.manager.lease(MODEL, pool.loaded("model").request.requested, slots=slots) as lease:
        yield EngineCall(lease, request, pool.manager.quarantine, pool.manager.metrics)


async def tokenized(call: EngineCall) -> list[int]:
    return await call.ask(lambda: call.lease.engine.tokenize("one two"))


async def died(pool: MemoryPool, call: EngineCall, exit: Exit = CRASH) -> bool:
    """The engine has died under the call; whether that is to go on."""
    starts = pool.engines[0].starts
    pool.engines[0].die(exit)
    return await call.survives(starts)


# Repeating the call


@pytest.mark.parametrize("dies_of", [CRASH, KILLED, OUT_OF_MEMORY], ids=["crash", "kill", "out of memory"])
async def test_a_call_is_repeated_with_the_next_engine(pool: MemoryPool, dies_of: Exit) -> None:
    pool.engines[0].dies_at_calls, pool.engines[0].dies_of = 1, dies_of
    async with called(pool) as call:
        assert len(await tokenized(call)) == 2
    assert pool.engines[0].starts == 2


async def test_a_call_that_alone_made_an_engine_outgrow_its_plan_gets_no_other(pool: MemoryPool) -> None:
    pool.engines[0].dies_at_calls, pool.engines[0].dies_of = 1, OUTGROWN
    async with called(pool) as call:
        with pytest.raises(BackendCrashedError, match="it took 3.2 GB of memory, and 1.1 GB were reserved for it"):
            async with engine_errors(call.lease.engine):
                await tokenized(call)
    assert pool.engines[0].starts == 1


async def test_one_of_two_calls_in_an_engine_that_outgrew_its_plan_goes_on(pool: MemoryPool) -> None:
    async with called(pool) as first, called(pool, ("another",)):
        assert await died(pool, first, OUTGROWN)


async def test_a_call_outlives_two_engines_that_were_killed_from_outside(pool: MemoryPool) -> None:
    pool.engines[0].dies_at_calls, pool.engines[0].dies_of = 2, KILLED
    async with called(pool) as call:
        assert len(await tokenized(call)) == 2
    assert not pool.manager.quarantine.entries()


async def test_a_call_does_not_outlive_a_third_one(pool: MemoryPool) -> None:
    pool.engines[0].dies_at_calls, pool.engines[0].dies_of = 3, KILLED
    async with called(pool) as call:
        with pytest.raises(EngineLost):
            await tokenized(call)


async def on_gpu(make_pool: MakePool) -> MemoryPool:
    pool = make_pool(hardware="nvidia-24gb", default_max_memory_mb=0)
    await pool.load(MODEL)
    return pool


def layers(pool: MemoryPool) -> int | None:
    spec = pool.engines[0].spec
    return spec.load.num_gpu if spec else None


async def test_a_call_that_ends_two_engines_on_a_gpu_is_made_on_the_cpu(make_pool: MakePool) -> None:
    pool = await on_gpu(make_pool)
    pool.engines[0].dies_at_calls = 2
    async with called(pool) as call:
        assert await tokenized(call)
        await call.clear()
    assert layers(pool) == 0 and not pool.manager.quarantine.entries()


async def test_a_call_that_ends_engines_on_both_is_to_blame_and_not_the_gpu(make_pool: MakePool) -> None:
    pool = await on_gpu(make_pool)
    async with called(pool) as call:
        for _ in range(2):
            assert await died(pool, call)
            await call.revive()
        assert layers(pool) == 0
        with pytest.raises(QuarantinedError):
            await died(pool, call)
    assert layers(pool) is None and not pool.loaded("model").adjustments


async def test_a_call_that_ends_two_engines_is_quarantined(pool: MemoryPool) -> None:
    pool.engines[0].dies_at_calls = 2
    async with called(pool) as call:
        with pytest.raises(QuarantinedError):
            await tokenized(call)
    assert pool.counted("quarantined") == {("model",): 1}
    with pytest.raises(QuarantinedError):
        async with called(pool):
            pass


async def test_a_call_that_the_engine_answers_is_cleared(pool: MemoryPool) -> None:
    pool.engines[0].dies_at_calls = 1
    for _ in range(3):
        async with called(pool) as call:
            await call.ask_once(lambda: call.lease.engine.tokenize("one two"))
        pool.engines[0].dies_at_calls = 1
    assert not pool.manager.quarantine.entries()


async def test_a_broken_connection_to_a_living_engine_is_no_death(pool: MemoryPool) -> None:
    async with called(pool) as call:
        assert not await call.survives(pool.engines[0].starts)
    assert pool.loaded("model").slots.in_use == 0


async def test_an_engine_that_was_stopped_is_not_started_again(pool: MemoryPool) -> None:
    async with called(pool) as call:
        starts = pool.engines[0].starts
        await pool.engines[0].close()
        assert not await call.survives(starts)


async def test_a_call_has_no_more_cells_than_a_share_of_the_next_engine(make_pool: MakePool) -> None:
    pool = make_pool(parallel=0, ctx_size=0)
    await pool.load(MODEL)
    slots = pool.loaded("model").slots
    async with called(pool) as call:
        await call.reserve(slots.cells)
        before = call.cells
        assert await died(pool, call, OUT_OF_MEMORY)
        await call.revive()
        assert call.cells == call.lease.grant.cells == slots.share < before
        await call.reserve(before)
        assert call.cells == slots.cells


async def test_an_engine_that_others_have_started_again_is_known_to_have_died(pool: MemoryPool) -> None:
    async with called(pool) as call:
        starts = pool.engines[0].starts
        pool.engines[0].die(KILLED)
        await call.lease.revive()
        assert await call.survives(starts)


async def test_a_call_that_cannot_go_on_is_blamed_all_the_same(pool: MemoryPool) -> None:
    for _ in range(2):
        async with called(pool) as call:
            starts = pool.engines[0].starts
            pool.engines[0].die()
            with contextlib.suppress(QuarantinedError):
                assert not await call.survives(starts, can_go_on=False)
    assert len(pool.manager.quarantine.entries()) == 1


# The next engine for itself


async def test_a_call_under_suspicion_has_the_next_engine_to_itself(pool: MemoryPool) -> None:
    async with called(pool) as call:
        assert await died(pool, call)
        assert call.lease.grant.count == pool.loaded("model").slots.total == 2
        assert (await pool.caller(MODEL)).waits


async def test_an_answer_shows_that_its_call_is_harmless(pool: MemoryPool) -> None:
    async with called(pool) as call:
        await died(pool, call)
        other = await pool.caller(MODEL)
        for _ in range(ALONE - 1):
            await call.progress()
        await settled()
        assert other.waits
        await call.progress()
        await settled()
        assert other.is_served and call.lease.grant.count == 1
    assert not pool.manager.quarantine.entries()


async def test_the_end_of_a_call_shows_it_too(pool: MemoryPool) -> None:
    async with called(pool) as call:
        await died(pool, call)
        other = await pool.caller(MODEL)
        await call.clear()
        await settled()
        assert other.is_served and call.lease.grant.count == 1


async def test_a_call_that_fails_gives_all_slots_back(pool: MemoryPool) -> None:
    with pytest.raises(OSError):
        async with called(pool) as call:
            await died(pool, call)
            raise OSError
    assert pool.loaded("model").slots.in_use == 0


@pytest.mark.parametrize("exit", [KILLED, OUT_OF_MEMORY], ids=["kill", "out of memory"])
async def test_a_call_without_blame_shares_the_next_engine(pool: MemoryPool, exit: Exit) -> None:
    async with called(pool) as call:
        assert await died(pool, call, exit)
        assert call.lease.grant.count == 1
        assert (await pool.caller(MODEL)).is_served


async def test_a_call_that_never_reached_the_dead_engine_is_not_blamed(pool: MemoryPool) -> None:
    engine, sent = pool.engines[0], 0

    async def ask() -> str:
        nonlocal sent
        sent += 1
        if sent <= 2:
            engine.die()
            raise NeverSent("the engine ended before it got it")
        return "answer"

    async with called(pool) as call:
        assert await call.ask(ask) == "answer"
        assert call.lease.grant.count == 1
    async with called(pool):  # it is not in quarantine
        assert not pool.manager.quarantine.entries()


async def test_a_call_without_slots_needs_none_of_the_next_engine(pool: MemoryPool) -> None:
    async with called(pool, slots=0) as call:
        assert await died(pool, call)
        assert call.lease.grant.count == pool.loaded("model").slots.in_use == 0


async def test_a_call_with_several_slots_has_as_many_again(make_pool: MakePool) -> None:
    pool = make_pool(parallel=4)
    await pool.load(MODEL)
    async with called(pool, slots=3) as call:
        await died(pool, call)
        assert call.lease.grant.count == 4
        await call.clear()
        assert call.lease.grant.count == 3


@contextlib.asynccontextmanager
async def two_calls(pool: MemoryPool, *requests: EngineRequest) -> AsyncIterator[tuple[EngineCall, EngineCall, Leave]]:
    """Two calls in one engine; the first one may leave before the second."""
    async with contextlib.AsyncExitStack() as first, contextlib.AsyncExitStack() as second:
        one = await first.enter_async_context(called(pool, requests[0]))
        other = await second.enter_async_context(called(pool, requests[1]))
        yield one, other, first.aclose


async def test_of_two_calls_in_a_dead_engine_each_goes_on_alone(pool: MemoryPool) -> None:
    async with two_calls(pool, ("first",), ("second",)) as (first, second, first_leaves):
        starts = pool.engines[0].starts
        pool.engines[0].die()
        assert await first.survives(starts)
        waiting = asyncio.create_task(second.survives(starts))
        await settled()
        assert not waiting.done() and first.lease.grant.count == 2
        await first_leaves()
        assert await waiting and second.lease.grant.count == 2


async def test_suspects_take_turns_until_all_are_cleared(pool: MemoryPool) -> None:
    """One that is cleared in mid-answer pauses while the next suspect shows that it is harmless."""
    async with two_calls(pool, ("first",), ("second",)) as (first, second, _):
        starts = pool.engines[0].starts
        pool.engines[0].die()
        await first.survives(starts)
        waiting = asyncio.create_task(second.survives(starts))
        await settled()
        cleared = asyncio.create_task(first.clear())
        assert await waiting and second.lease.grant.count == 2 and not cleared.done()
        await second.clear()
        await cleared
        assert (first.lease.grant.count, second.lease.grant.count) == (1, 1)


async def test_one_death_counts_once_for_two_equal_calls(pool: MemoryPool) -> None:
    async with two_calls(pool, REQUEST, REQUEST) as (first, second, first_leaves):
        starts = pool.engines[0].starts
        pool.engines[0].die()
        assert await first.survives(starts)
        waiting = asyncio.create_task(second.survives(starts))
        await settled()
        await first_leaves()
        assert await waiting
    assert not pool.manager.quarantine.entries()


async def test_a_call_that_waited_while_its_twin_was_quarantined_is_not_made(pool: MemoryPool) -> None:
    async with two_calls(pool, REQUEST, REQUEST) as (first, second, first_leaves):
        starts = pool.engines[0].starts
        pool.engines[0].die()
        assert await first.survives(starts)
        waiting = asyncio.create_task(second.survives(starts))
        await settled()
        await first.lease.revive()
        with pytest.raises(QuarantinedError):
            await died(pool, first)
        await first_leaves()
        with pytest.raises(QuarantinedError):
            await waiting


# The engine's errors as those of oprel


@pytest.mark.parametrize(
    ("refusal", "error", "message"),
    [
        (
            EngineRefused(400, "exceed_context_size_error", "9 > 8", 9),
            ContextLengthError,
            "longer than the context length: 9 > 8",
        ),
        (EngineRefused(501, "not_supported_error", "no images"), UnsupportedError, "no images"),
        (EngineRefused(400, "invalid_request_error", "failed to parse grammar"), ValidationError, "grammar"),
        (EngineRefused(422, "invalid_request_error", "bad"), ValidationError, "bad"),
        (EngineRefused(503, "server_error", "oops"), BackendError, "the engine failed: oops"),
    ],
)
async def test_a_refusal_becomes_an_error_of_oprel(
    refusal: EngineRefused, error: type[OprelError], message: str
) -> None:
    with pytest.raises(error, match=message) as raised:
        async with engine_errors(ready(MemoryEngine())):
            raise refusal
    assert type(raised.value) is error


def dead(exit: Exit = CRASH) -> MemoryEngine:
    engine = ready(MemoryEngine())
    engine.die(exit)
    return engine


@pytest.mark.parametrize(
    ("engine", "loss", "error", "message"),
    [
        (dead(), EngineLost("broke"), BackendCrashedError, "died while answering: SIGSEGV"),
        (dead(), NotRepeated("differs"), BackendCrashedError, r"\(SIGSEGV\), and the next one did not repeat"),
        (ready(MemoryEngine()), EngineLost("broke"), BackendError, "broke off its answer: broke"),
        (MemoryEngine(state=EngineState.STOPPED), EngineLost("broke"), ShuttingDownError, "was stopped"),
        (MemoryEngine(state=EngineState.DRAINING), EngineLost("broke"), ShuttingDownError, "was stopped"),
    ],
)
async def test_a_lost_engine_becomes_an_error_that_says_why(
    engine: MemoryEngine, loss: EngineLost, error: type[OprelError], message: str
) -> None:
    with pytest.raises(error, match=message):
        async with engine_errors(engine):
            raise loss


@pytest.mark.parametrize(
    ("refusal", "too_long"),
    [
        (EngineRefused(400, "exceed_context_size_error", ""), True),
        (EngineRefused(500, "server_error", "input is too large to process"), True),
        (EngineRefused(400, "invalid_request_error", "bad"), False),
    ],
)
def test_a_prompt_that_is_too_long_is_recognized(refusal: EngineRefused, too_long: bool) -> None:
    assert is_too_long(refusal) is too_long
