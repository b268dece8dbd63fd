"""Which inputs go to an engine together, on an engine in memory: a vector is its input's length."""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from oprel.core.completion import Embeddings
from oprel.runtime.backends.embedding_batches import (
    AT_ONCE,
    MOST_INPUTS,
    MOST_TOKENS,
    EmbeddingBatches,
    Input,
    Request,
    about_tokens,
    next_batch,
)
from oprel.runtime.engine import EngineLost, EngineRefused, NeverSent


@dataclass
class Calls:
    """An engine that answers while its `gate` is open. It refuses the input "bad", and dies of the input "deadly".

    It cannot count if `counts` is None, and miscounts by that number. `ends`: its death ends its process too.
    """

    counts: int | None = 0
    ends: bool = True
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    asked: list[list[Input]] = field(default_factory=list)
    cancelled: int = 0

    async def embed(self, inputs: Sequence[Input], *, normalised: bool) -> Embeddings:
        self.asked.append(list(inputs))
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if "deadly" in inputs:
            raise EngineLost("the connection broke")
        if "bad" in inputs:
            raise EngineRefused(400, "invalid_request_error", "bad")
        return Embeddings(tuple((float(len(item)),) for item in inputs), sum(map(len, inputs)))

    async def count(self, inputs: Sequence[Input]) -> list[int]:
        if self.counts is None:
            raise EngineRefused(501, "not_supported_error", "it cannot tokenize")
        return [len(item) + self.counts for item in inputs]

    async def has_ended(self) -> bool:
        await asyncio.sleep(0)
        return self.ends


async def settled() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def started(batches: EmbeddingBatches, *requests: Sequence[Input]) -> list[asyncio.Task[Embeddings]]:
    return [asyncio.create_task(batches.embed(inputs, normalised=True)) for inputs in requests]


async def crowded(calls: Calls, *requests: Sequence[Input]) -> tuple[EmbeddingBatches, list[asyncio.Task[Embeddings]]]:
    """The requests wait behind as many batches as the engine takes."""
    batches = EmbeddingBatches(calls)
    tasks = started(batches, *(["first"] for _ in range(AT_ONCE)), *requests)
    await settled()
    assert calls.asked == [["first"]] * AT_ONCE
    calls.asked.clear()
    return batches, tasks[AT_ONCE:]


async def test_what_waits_goes_together_and_each_request_has_its_own() -> None:
    calls = Calls()
    _, tasks = await crowded(calls, ["a", "bb"], ["ccc"], [(1, 2, 3, 4)])
    calls.gate.set()
    results = await asyncio.gather(*tasks)
    assert calls.asked == [["a", "bb", "ccc", (1, 2, 3, 4)]]
    assert [(result.vectors, result.prompt_tokens) for result in results] == [
        (((1.0,), (2.0,)), 3),
        (((3.0,),), 3),
        (((4.0,),), 4),
    ]


async def test_a_request_of_many_inputs_keeps_their_order_and_delays_no_other() -> None:
    calls = Calls()
    many = ["x" * length for length in range(1, 101)]
    _, (large, small) = await crowded(calls, many, ["small"])
    calls.gate.set()
    await small
    assert len(calls.asked) <= AT_ONCE and not large.done()
    assert [vector[0] for vector in (await large).vectors] == list(range(1, 101))


async def test_no_inputs_need_no_engine() -> None:
    calls = Calls()
    assert await EmbeddingBatches(calls).embed([], normalised=True) == Embeddings((), 0)
    assert calls.asked == []


async def test_a_refused_input_fails_its_own_request_only() -> None:
    calls = Calls()
    _, (good, bad, other) = await crowded(calls, ["a"], ["b", "bad"], ["c"])
    calls.gate.set()
    with pytest.raises(EngineRefused, match="bad"):
        await bad
    assert ((await good).vectors, (await other).vectors) == (((1.0,),), ((1.0,),))
    assert calls.asked == [["a", "b", "bad", "c"], ["a"], ["b", "bad"], ["c"]]


@pytest.mark.parametrize("counts", [None, 1], ids=["cannot count", "counts something else"])
async def test_an_engine_whose_tokens_cannot_be_told_apart_gets_each_request_alone(counts: int | None) -> None:
    calls = Calls(counts=counts)
    batches, tasks = await crowded(calls, ["a"], ["bb"])
    calls.gate.set()
    assert [(await task).prompt_tokens for task in tasks] == [1, 2]
    assert calls.asked[-2:] == [["a"], ["bb"]]
    calls.asked.clear()
    assert [result.prompt_tokens for result in await asyncio.gather(*started(batches, *[["ccc"]] * 6))] == [3] * 6
    assert calls.asked == [["ccc"]] * 6


async def test_of_a_dead_engine_only_what_it_had_is_suspect() -> None:
    calls = Calls()
    batches = EmbeddingBatches(calls)
    tasks = started(batches, ["deadly"], *[["first"]] * (AT_ONCE - 1), ["late"])
    await settled()
    calls.gate.set()
    suspect, *_, late = await asyncio.gather(*tasks, return_exceptions=True)
    assert (type(suspect), type(late)) == (EngineLost, NeverSent)
    assert (await batches.embed(["again"], normalised=True)).vectors == ((5.0,),)


async def test_a_broken_connection_fails_nothing_that_waits() -> None:
    calls = Calls(ends=False)
    batches, (lost,) = await crowded(calls, ["deadly"])
    (late,) = started(batches, ["late", *["filler"] * MOST_INPUTS])
    calls.gate.set()
    with pytest.raises(EngineLost):
        await lost
    with pytest.raises(EngineLost):  # a part of it was in the same batch
        await late
    assert (await batches.embed(["next"], normalised=True)).vectors == ((4.0,),)


async def test_a_batch_goes_on_for_the_requests_that_stay() -> None:
    calls = Calls()
    batches = EmbeddingBatches(calls)
    leaving, *_ = started(batches, *[["first"]] * AT_ONCE)
    gone, stays = started(batches, ["gone"], ["stays"])
    await settled()
    leaving.cancel()
    await settled()
    assert calls.cancelled == 1 and calls.asked[AT_ONCE:] == [["gone", "stays"]]
    gone.cancel()
    await settled()
    assert calls.cancelled == 1
    calls.gate.set()
    assert (await stays).vectors == ((5.0,),)


async def test_a_client_that_leaves_before_its_turn_costs_nothing() -> None:
    calls = Calls()
    _, (gone, stays) = await crowded(calls, ["gone"], ["stays"])
    gone.cancel()
    await settled()
    calls.gate.set()
    await stays
    assert calls.asked == [["stays"]]


# What goes with a batch


def requests(*inputs: Sequence[Input]) -> deque[Request]:
    return deque(Request(each, normalised=True) for each in inputs)


async def test_requests_take_turns() -> None:
    waiting = requests(["a"] * 100, ["b"] * 2, ["c"])
    first = {part.request: len(part.indices) for part in next_batch(waiting)}
    assert list(first.values()) == [MOST_INPUTS - 3, 2, 1]
    assert [len(request.unsent) for request in waiting] == [100 - MOST_INPUTS + 3]


async def test_who_had_a_turn_waits_behind_the_others() -> None:
    waiting = requests(*[["a", "a"]] * (MOST_INPUTS + 1))
    last = waiting[-1]
    next_batch(waiting)
    assert waiting[0] is last and len(waiting) == MOST_INPUTS + 1


async def test_a_batch_is_bounded_by_tokens() -> None:
    waiting = requests([tuple(range(MOST_TOKENS + 1)), "a"], ["b"])
    assert [part.inputs for part in next_batch(waiting)] == [[tuple(range(MOST_TOKENS + 1))]]
    half = tuple(range(MOST_TOKENS // 2))
    assert [part.inputs for part in next_batch(requests([half, half, "a"]))] == [[half, half]]


async def test_vectors_of_other_lengths_go_in_another_batch() -> None:
    waiting = requests(["a"], ["b"], ["c"])
    waiting[1].normalised = False
    assert [part.inputs for part in next_batch(waiting)] == [["a"], ["c"]]
    assert [part.inputs for part in next_batch(waiting)] == [["b"]]


def test_texts_are_estimated_by_their_bytes() -> None:
    assert (about_tokens("four" * 10), about_tokens((1, 2, 3))) == (12, 3)
