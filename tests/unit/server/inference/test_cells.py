"""How many cells a request reserves, and how its answer ends or goes on with them."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from oprel.core.completion import Chunk, CompletionRequest, Finish, LoadOptions, Mode, PromptMessage, Sampling
from oprel.core.exceptions import ContextLengthError
from oprel.runtime.backends.registry import named
from oprel.runtime.backends.specs import spec_of
from oprel.server.inference.answers.continuation import ResumableAnswer
from oprel.server.inference.cells import CellNeeds, lacks_cells
from oprel.server.inference.completions import Done
from oprel.server.inference.structured_output.tools import function_tools
from oprel.telemetry.recommender import settings
from tests.conftest import eventually
from tests.fixtures.memory_engine import KILLED, OUT_OF_MEMORY, MemoryEngine
from tests.fixtures.pool import MakePool, MemoryPool, PoolOptions, header, installed, settled

TRAINED, SHARE = 150, 100
WORDS = [f"{number} " for number in range(120)]
WIDE: PoolOptions = {"ctx_size": 0, "parallel": 4, "default_max_memory_mb": 8000}
MODEL = installed("model", header(mib=10, context=TRAINED))
TOOLS = function_tools([{"function": {"name": "add"}}])


def needs(prompt: int, answer: int, *, answers: int = 1, most: int = 32_000) -> CellNeeds:
    return CellNeeds(prompt_tokens=prompt, answer_tokens=answer, answers=answers, cells=32_000, share=8000, most=most)


@pytest.mark.parametrize(
    ("needs", "first"),
    [
        pytest.param(needs(100, 100), 8000, id="a short one: its share"),
        pytest.param(needs(4000, 80_000), 8000, id="half a share for its answer"),
        pytest.param(needs(6000, 80_000), 10_000, id="half a share for its answer beyond a share"),
        pytest.param(needs(9000, 100), 9100, id="a short answer to a long prompt"),
        pytest.param(needs(31_000, 4000), 32_000, id="never more than there are"),
        pytest.param(needs(9000, 100, most=8000), 8000, id="never more than it may"),
        pytest.param(needs(100, 9000, answers=3), 24_000, id="a share for each answer"),
        pytest.param(needs(20_000, 9000, answers=2), 28_000, id="several answers share their prompt"),
        pytest.param(needs(100, 9000, answers=9), 32_000, id="more answers than slots"),
    ],
)
def test_cells_to_begin_with(needs: CellNeeds, first: int) -> None:
    assert needs.first == first


@pytest.mark.parametrize(
    ("needs", "at_last"),
    [
        pytest.param(needs(100, 20_000), 20_100, id="as many as it needs"),
        pytest.param(needs(100, 80_000), 24_000, id="endless: all but a share"),
        pytest.param(needs(100, 80_000, most=12_000), 12_000, id="endless, in a short trained context"),
    ],
)
def test_cells_to_grow_to(needs: CellNeeds, at_last: int) -> None:
    assert needs.at_last == at_last


@pytest.mark.parametrize(
    ("needs", "cells", "length"),
    [
        (needs(100, 50), 8000, 50),
        (needs(100, 80_000), 8000, 7900),
        (needs(100, 80_000, answers=3), 24_100, 8000),
        (needs(100, 80_000, answers=3, most=8000), 24_100, 7900),
    ],
)
def test_an_answer_ends_with_its_cells(needs: CellNeeds, cells: int, length: int) -> None:
    assert needs.answer_length(cells) == length


# With an engine


def talker() -> MemoryEngine:
    return MemoryEngine(words=WORDS)


def prompt(tokens: int, answer: int = 4, **fields: object) -> CompletionRequest:
    return CompletionRequest("word " * tokens, Sampling(num_predict=answer, runaway_guard=False), **fields)  # type: ignore[arg-type]


def sent(pool: MemoryPool) -> list[int]:
    """How long the engine was to make each answer."""
    return [request.sampling.num_predict or 0 for request in pool.engines[0].requests]


@pytest.fixture(autouse=True)
def small_shares(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "USUAL_CONTEXT", SHARE)


@pytest.fixture
def wide(make_pool: MakePool) -> MemoryPool:
    """A pool whose engine has 4 slots, one of which may use more than its share."""
    return make_pool(talker(), **WIDE)


async def test_one_request_may_use_more_than_its_share(wide: MemoryPool) -> None:
    answer = await wide.ask(prompt(120), MODEL)
    status = wide.status("model")
    assert (status.slots, status.num_ctx, status.spec.load.num_ctx) == (4, TRAINED, SHARE)
    assert answer.truncation is None and answer.done and answer.done.usage.prompt_tokens == 120


async def test_a_prompt_for_which_no_cells_are_free_waits(wide: MemoryPool) -> None:
    streams = [wide.stream(prompt(140), MODEL) for _ in range(2)]
    for stream in streams:
        await anext(stream)
    waiting = asyncio.create_task(wide.ask(prompt(140), MODEL))
    await settled()
    assert not waiting.done() and len(wide.engines[0].requests) == 2
    for stream in streams:
        await stream.aclose()
    assert (await waiting).error is None


async def test_an_answer_goes_on_in_free_cells(wide: MemoryPool) -> None:
    answer = await wide.ask(prompt(10, 120), MODEL)
    assert answer.done and (answer.done.usage.completion_tokens, answer.done.shifted) == (120, False)
    assert answer.done.usage.prompt_tokens == 10 and answer.done.usage.completion_ns == 3 * 10**9
    assert answer.text == "".join(WORDS)
    half = SHARE // 2
    assert sent(wide) == [half, SHARE - 10 - half, 120 - (SHARE - 10)]


async def test_without_free_cells_it_forgets_its_oldest_tokens(wide: MemoryPool) -> None:
    others = [await wide.caller(MODEL) for _ in range(3)]
    answer = await wide.ask(prompt(10, 120), MODEL)
    assert answer.done and (answer.done.usage.completion_tokens, answer.done.shifted) == (120, True)
    for other in others:
        await other.leave()


async def test_without_free_cells_it_ends_if_it_must_not_forget(wide: MemoryPool) -> None:
    others = [await wide.caller(MODEL) for _ in range(3)]
    answer = await wide.ask(prompt(10, 120, shift=False), MODEL)
    assert answer.done and (answer.done.usage.completion_tokens, answer.done.finish) == (SHARE - 10, Finish.LENGTH)
    for other in others:
        await other.leave()


async def test_an_answer_that_cannot_go_on_takes_free_cells_at_once(wide: MemoryPool) -> None:
    request = replace(prompt(10, 120), prompt=(PromptMessage("user", "add"),), tools=tuple(TOOLS))
    answer = await wide.ask(request, MODEL)
    assert answer.done and answer.done.usage.completion_tokens == 120 and sent(wide) == [120]


async def test_an_answer_of_no_tokens_ends_at_once(wide: MemoryPool) -> None:
    answer = await wide.ask(prompt(120, 0), MODEL)
    assert answer.done and (answer.done.usage.completion_tokens, answer.done.shifted) == (0, False)
    assert [request.sampling.num_predict for request in wide.engines[0].requests] == [0]


@pytest.mark.parametrize(
    ("length", "sent", "lacks"),
    [(None, 90, True), (-1, 90, True), (-2, 90, True), (120, 90, True), (90, 90, False), (0, 0, False), (0, 1, False)],
)
def test_an_answer_lacks_cells_if_more_of_it_was_requested(length: int | None, sent: int, lacks: bool) -> None:
    request = CompletionRequest("one", Sampling(num_predict=length))
    shorter = replace(request, sampling=Sampling(num_predict=sent))
    last = Chunk(finish=Finish.LENGTH, finishes=(Finish.LENGTH,))
    assert lacks_cells(last, shorter, ResumableAnswer(request)) is lacks
    assert not lacks_cells(last, request, ResumableAnswer(request))


def call_request() -> CompletionRequest:
    """One whose answer may be a call, and has no limit."""
    return CompletionRequest((PromptMessage("user", "add"),), Sampling(runaway_guard=False), tools=tuple(TOOLS))


async def test_an_answer_that_cannot_go_on_and_has_no_limit_takes_half(make_pool: MakePool) -> None:
    pool = make_pool(MemoryEngine(words=[f"{number} " for number in range(900)]), **WIDE)
    model = installed("model", header(mib=10, context=1000))
    stream = pool.stream(call_request(), model)
    await anext(stream)
    slots = pool.loaded("model").slots
    assert (slots.cells, slots.free_cells) == (4 * SHARE, 2 * SHARE)
    second = pool.stream(call_request(), model)
    await anext(second)
    assert slots.free_cells == SHARE, "left for a third"
    assert (await pool.ask(prompt(10), model)).error is None
    await second.aclose()
    *_, done = [piece async for piece in stream]
    assert isinstance(done, Done) and done.usage.prompt_tokens + done.usage.completion_tokens == 2 * SHARE


async def test_answers_that_cannot_go_on_and_begin_together_run_at_once(make_pool: MakePool) -> None:
    gate = asyncio.Event()
    pool = make_pool(MemoryEngine(words=WORDS, start_gate=gate), **WIDE)
    streams = [pool.stream(call_request(), MODEL) for _ in range(4)]
    begun = [asyncio.create_task(anext(stream)) for stream in streams]
    await asyncio.to_thread(eventually, lambda: pool.manager.loaded and pool.loaded("model").leases == len(begun))
    gate.set()
    await asyncio.wait(begun, timeout=60)
    assert sent(pool) == [SHARE - 3] * 4
    for stream in streams:
        await stream.aclose()


async def test_a_requested_context_stays_the_limit_of_its_request(wide: MemoryPool) -> None:
    await wide.load(MODEL)
    refused = await wide.ask(prompt(120, truncate=False), MODEL, LoadOptions(num_ctx=50))
    assert isinstance(refused.error, ContextLengthError) and len(wide.engines) == 1
    cut = await wide.ask(prompt(120), MODEL, LoadOptions(num_ctx=50))
    assert cut.truncation and cut.done and cut.done.usage.prompt_tokens < SHARE


async def test_a_configured_context_is_that_of_each_request(make_pool: MakePool) -> None:
    pool = make_pool(talker(), **(WIDE | {"ctx_size": SHARE}))
    cut = await pool.ask(prompt(120), MODEL)
    assert pool.status("model").num_ctx == SHARE and cut.truncation


async def test_an_answer_in_more_cells_outlives_its_engine(make_pool: MakePool) -> None:
    engine = talker()
    engine.deaths, engine.dies_of = [500, 5], KILLED
    pool = make_pool(engine, **WIDE)
    answer = await pool.ask(prompt(10, 120), MODEL)
    assert answer.done and (answer.done.usage.completion_tokens, answer.done.recoveries) == (120, 1)
    assert answer.text == "".join(WORDS)


async def test_a_prompt_that_waits_while_the_engine_gets_less_reserves_what_it_needs_of_the_next(
    wide: MemoryPool,
) -> None:
    streams = [wide.stream(prompt(140), MODEL) for _ in range(2)]
    for stream in streams:
        await anext(stream)
    waiting = asyncio.create_task(wide.ask(prompt(140), MODEL))
    await settled()
    assert len(sent(wide)) == 2
    slots = wide.loaded("model").slots
    slots.resize(2, 2 * SHARE)
    answer = await waiting
    assert answer.done and (answer.done.usage.prompt_tokens, answer.done.usage.completion_tokens) == (140, 4)
    assert sent(wide) == [4, 4, 4], "it did not begin before it had its cells"
    for stream in streams:
        await stream.aclose()
    assert slots.free_cells == slots.cells


async def test_long_prompts_outlive_an_engine_that_ran_out_of_memory(make_pool: MakePool) -> None:
    pool = make_pool(talker(), **(WIDE | {"parallel": 0}))
    streams = [pool.stream(prompt(140), MODEL) for _ in range(2)]
    for stream in streams:
        await anext(stream)
    waiting = asyncio.create_task(pool.ask(prompt(140), MODEL))
    await settled()
    slots = pool.loaded("model").slots
    before = slots.cells
    pool.engines[0].die(OUT_OF_MEMORY)
    for stream in streams:
        assert [piece async for piece in stream]
    answer = await waiting
    assert answer.done and (answer.done.usage.prompt_tokens, answer.done.usage.completion_tokens) == (140, 4)
    assert slots.free_cells == slots.cells < before


async def test_an_engine_that_sees_embeds_or_has_a_fixed_context_gives_each_request_its_share(wide: MemoryPool) -> None:
    decision = (await wide.load(MODEL)).decision
    plan, constraints = decision.plan, decision.constraints
    assert spec_of(plan, constraints).slot_context == TRAINED
    for fixed in (
        replace(constraints, files=replace(constraints.files, projector=Path("/models/eye.gguf"))),
        replace(constraints, mode=Mode.EMBEDDING),
        replace(constraints, load=LoadOptions(num_ctx=SHARE)),
    ):
        assert spec_of(plan, fixed).slot_context == SHARE


async def test_an_engine_of_another_kind_limits_each_request_to_its_share(wide: MemoryPool) -> None:
    decision = (await wide.load(MODEL)).decision
    assert decision.slot_context == TRAINED
    assert replace(decision, backend=named("vllm")).slot_context == SHARE
