"""Load options of clients that share an engine: what is not set means the planned value, and nothing thrashes."""

import itertools

import pytest

from oprel.core.completion import LoadOptions, Mode
from oprel.core.exceptions import InsufficientMemoryError
from oprel.core.request_options import SIZES
from oprel.server.inference import embeddings
from tests.fixtures.memory_engine import MemoryEngine
from tests.fixtures.pool import MakePool, MemoryPool, header, installed

A = installed("a")
PLANNED = LoadOptions()
SMALL = {"num_ctx": 256, "num_batch": 64, "num_gpu": 0, "num_thread": 1}
LARGE = {"num_ctx": 4096, "num_batch": 4096, "num_gpu": 99, "num_thread": 99}


def only(name: str, value: int) -> LoadOptions:
    return LoadOptions(**{name: value})  # type: ignore[arg-type]


@pytest.fixture
def pool(make_pool: MakePool) -> MemoryPool:
    """On a machine with a GPU, whose context length the planner chooses."""
    return make_pool(hardware="nvidia-24gb", ctx_size=0, default_max_memory_mb=0)


@pytest.mark.parametrize("name", SIZES)
async def test_a_request_without_options_is_served_as_planned_whatever_ran_before(pool: MemoryPool, name: str) -> None:
    await pool.load(A, only(name, SMALL[name]))
    planned = pool.loaded("a").planned
    loaded = await pool.load(A)
    assert len(pool.engines) == 2 and pool.engines[0].was_stopped
    assert loaded.decision.sizes == planned
    assert getattr(planned, name) > SMALL[name]


@pytest.mark.parametrize("name", SIZES)
async def test_a_smaller_request_joins_a_larger_engine(pool: MemoryPool, name: str) -> None:
    await pool.load(A)
    for options in (only(name, SMALL[name]), PLANNED, only(name, SMALL[name])):
        await pool.load(A, options)
    assert len(pool.engines) == 1


@pytest.mark.parametrize("name", SIZES)
async def test_a_larger_request_grows_the_engine_for_everybody(make_pool: MakePool, name: str) -> None:
    pool = make_pool(hardware="nvidia-24gb", ctx_size=1024, default_max_memory_mb=0)
    await pool.load(A)
    for options in (only(name, LARGE[name]), PLANNED, only(name, SMALL[name]), only(name, LARGE[name])):
        await pool.load(A, options)
    assert len(pool.engines) == 2


@pytest.mark.parametrize(
    ("first", "second"),
    [*itertools.permutations([{"num_ctx": 4096, "num_thread": 1}, {"num_thread": 64}, {"num_batch": 4096}, {}], 2)],
)
async def test_two_clients_never_replace_each_others_engine_again_and_again(
    make_pool: MakePool, first: dict[str, int], second: dict[str, int]
) -> None:
    pool = make_pool(hardware="nvidia-24gb", ctx_size=1024, default_max_memory_mb=0)
    for options in (first, second) * 3:
        await pool.load(A, LoadOptions(**options))  # type: ignore[arg-type]
    assert len(pool.engines) <= 2


async def test_options_without_a_size_stay_as_loaded_for_requests_that_do_not_set_them(pool: MemoryPool) -> None:
    await pool.load(A, LoadOptions(use_mmap=False))
    await pool.load(A)
    assert len(pool.engines) == 1
    await pool.load(A, LoadOptions(use_mmap=True))
    assert len(pool.engines) == 2


async def test_on_a_machine_without_gpus_no_layers_on_one_are_as_planned(make_pool: MakePool) -> None:
    pool = make_pool(ctx_size=0)
    await pool.load(A, LoadOptions(num_gpu=0))
    await pool.load(A)
    assert len(pool.engines) == 1


async def test_what_was_given_up_for_lack_of_memory_is_not_asked_for_again(make_pool: MakePool) -> None:
    pool = make_pool(MemoryEngine(most_cells=4096), ctx_size=0, parallel=0, default_max_memory_mb=0)
    loaded = await pool.load(A)
    assert loaded.adjustments
    await pool.load(A)
    assert len(pool.engines) == 1


async def test_what_can_never_fit_leaves_the_running_engine_alone(make_pool: MakePool) -> None:
    pool, model = make_pool(hardware="nvidia-6gb", default_max_memory_mb=0), installed("big", header(8000))
    await pool.load(model)
    with pytest.raises(InsufficientMemoryError):
        await pool.load(model, LoadOptions(num_gpu=99))
    assert pool.names == ["big"] and not pool.engines[0].was_stopped


async def test_counting_tokens_needs_no_larger_engine(pool: MemoryPool) -> None:
    await pool.load(A, LoadOptions(num_ctx=256))
    assert await embeddings.tokenize(pool.manager, A, "hello", special=True) is not None
    assert len(pool.engines) == 1


async def test_embeddings_grow_like_answers(pool: MemoryPool) -> None:
    """A text must fit into one batch: with a small one, long texts could never be embedded."""
    for options in (LoadOptions(num_batch=64), PLANNED):
        async with pool.manager.lease(A, options, mode=Mode.EMBEDDING):
            pass
    assert [engine.was_stopped for engine in pool.engines] == [True, False]
