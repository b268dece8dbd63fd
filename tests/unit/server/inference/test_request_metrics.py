"""What a request counts as: its outcome, and when its tokens came. The clock is the test's."""

import asyncio
import contextlib

import pytest

from oprel.core.completion import CompletionRequest, LoadOptions, Sampling, Usage
from oprel.core.exceptions import BackendCrashedError, OprelError
from oprel.server.history.metrics import Metrics
from oprel.server.inference.request_metrics import RequestMetrics
from tests.fixtures.memory_engine import CRASH, KILLED, MemoryEngine
from tests.fixtures.pool import MODEL, MakePool, MemoryPool, SetClock, settled

HELLO = CompletionRequest("Hello")


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


def counted(metrics: Metrics, name: str) -> dict[tuple[str, ...], int]:
    return dict(next(counter.values for counter in metrics.counters if counter.name == name))


def seconds(metrics: Metrics, name: str) -> tuple[int, float]:
    """How many observations of the model there are, and their sum."""
    observed = next(histogram.models for histogram in metrics.histograms if histogram.name == name)["model"]
    return sum(observed.counts), observed.sum


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (None, "ok"),
        (BackendCrashedError("died"), "backend_crashed"),
        (GeneratorExit(), "client_left"),
        (asyncio.CancelledError(), "client_left"),
        (KeyError("x"), "internal_error"),
        (OprelError("x"), "internal_error"),
    ],
    ids=["answered", "an error of ours", "closed", "cancelled", "a bug", "any error"],
)
def test_a_request_is_counted_by_how_it_ended(
    metrics: Metrics, clock: SetClock, error: BaseException | None, outcome: str
) -> None:
    expected = pytest.raises(type(error)) if error else contextlib.nullcontext()
    with expected, RequestMetrics(metrics, clock, "model"):
        if error:
            raise error
    assert counted(metrics, "requests") == {("model", outcome): 1}


def test_the_first_token_counts_from_the_request_and_others_from_the_one_before(
    metrics: Metrics, clock: SetClock
) -> None:
    with RequestMetrics(metrics, clock, "model") as request:
        clock.advance(2.0)
        request.tokens(1)
        clock.advance(0.5)
        request.tokens(1)
        clock.advance(0.25)
        request.tokens(1)
    assert seconds(metrics, "first_token_seconds") == (1, 2.0)
    assert seconds(metrics, "inter_token_seconds") == (2, 0.75)


def test_an_answer_without_a_token_has_no_first_one(metrics: Metrics, clock: SetClock) -> None:
    with RequestMetrics(metrics, clock, "model"):
        clock.advance(2.0)
    assert seconds(metrics, "first_token_seconds") == (0, 0.0)
    assert seconds(metrics, "queue_seconds") == (1, 0.0)


def test_a_recovery_takes_from_the_loss_to_the_next_token(metrics: Metrics, clock: SetClock) -> None:
    with RequestMetrics(metrics, clock, "model") as request:
        request.tokens(1)
        request.lost()
        clock.advance(3.0)
        request.tokens(1)
        clock.advance(1.0)
        request.tokens(1)
    assert seconds(metrics, "recovery_seconds") == (1, 3.0)


def test_a_loss_without_a_further_token_counts_as_the_error_that_ended_the_answer(
    metrics: Metrics, clock: SetClock
) -> None:
    with pytest.raises(BackendCrashedError), RequestMetrics(metrics, clock, "model") as request:
        request.lost()
        raise BackendCrashedError("died")
    assert counted(metrics, "recoveries") == {("model", "backend_crashed"): 1}
    assert seconds(metrics, "recovery_seconds") == (0, 0.0)


def test_the_age_of_a_request_is_known_at_any_time(metrics: Metrics, clock: SetClock) -> None:
    with RequestMetrics(metrics, clock, "model") as request:
        clock.advance(4.0)
        assert request.seconds == 4.0


async def test_a_whole_answer_counts_its_tokens_and_sets_the_pace(pool: MemoryPool) -> None:
    async with pool.manager.lease(MODEL, LoadOptions()) as lease:
        with RequestMetrics(pool.manager.metrics, pool.clock, "model") as request:
            request.start(lease)
            pool.clock.advance(5.0)
            request.finish(lease, Usage(prompt_tokens=7, completion_tokens=20, completion_ns=4 * 10**9))
    assert pool.counted("prompt_tokens") == {("model",): 7}
    assert pool.counted("generated_tokens") == {("model",): 20}
    assert (lease.loaded.pace.tokens_per_second, lease.loaded.pace.service_seconds) == (5.0, 5.0)


# From the request to its metrics, through `completions.run`


async def test_the_wait_for_a_slot_is_the_requests_and_not_the_engines(make_pool: MakePool) -> None:
    pool = make_pool(parallel=1)
    holder = await pool.caller(MODEL)
    answering = asyncio.create_task(pool.ask(HELLO))
    await settled()
    pool.clock.advance(6.0)
    await holder.leave()
    assert (await answering).done
    assert seconds(pool.manager.metrics, "queue_seconds") == (1, 6.0)
    assert seconds(pool.manager.metrics, "first_token_seconds") == (1, 6.0)
    assert pool.loaded("model").pace.service_seconds == 0.0


async def test_the_time_of_loading_counts_until_the_first_token(make_pool: MakePool) -> None:
    gate = asyncio.Event()
    pool = make_pool(MemoryEngine(start_gate=gate))
    answering = asyncio.create_task(pool.ask(HELLO))
    await settled()
    pool.clock.advance(9.0)
    gate.set()
    await answering
    assert seconds(pool.manager.metrics, "first_token_seconds") == (1, 9.0)
    assert seconds(pool.manager.metrics, "queue_seconds") == (1, 0.0)


async def test_an_answer_counts_its_tokens_once_though_two_engines_made_it(make_pool: MakePool) -> None:
    pool = make_pool(MemoryEngine(deaths=[2], dies_of=KILLED))
    await pool.ask(HELLO)
    assert pool.counted("requests") == {("model", "ok"): 1}
    assert (pool.counted("prompt_tokens"), pool.counted("generated_tokens")) == ({("model",): 1}, {("model",): 4})
    assert pool.counted("recoveries") == {("model", "ok"): 1}


async def test_a_client_that_leaves_is_counted_as_one(pool: MemoryPool) -> None:
    stream = pool.stream(HELLO)
    await anext(stream)
    await stream.aclose()
    assert pool.counted("requests") == {("model", "client_left"): 1}
    assert seconds(pool.manager.metrics, "first_token_seconds") == (1, 0.0)


@pytest.mark.parametrize(
    ("engine", "request_", "outcome"),
    [
        (MemoryEngine(deaths=[1, 1]), HELLO, "quarantined"),
        (MemoryEngine(deaths=[1, 1, 1], dies_of=KILLED), HELLO, "backend_crashed"),
        (MemoryEngine(failing_starts=[CRASH]), HELLO, "backend_start_failed"),
        (MemoryEngine(), CompletionRequest("a " * 600, Sampling(), truncate=False), "context_length_exceeded"),
    ],
)
async def test_an_error_is_counted_by_its_code(
    make_pool: MakePool, engine: MemoryEngine, request_: CompletionRequest, outcome: str
) -> None:
    pool = make_pool(engine)
    await pool.ask(request_)
    assert pool.counted("requests") == {("model", outcome): 1}


async def test_a_request_that_is_quarantined_is_counted_although_no_engine_sees_it(make_pool: MakePool) -> None:
    pool = make_pool(MemoryEngine(deaths=[1, 1]))
    for _ in range(2):
        await pool.ask(HELLO)
    assert pool.counted("requests") == {("model", "quarantined"): 2}
