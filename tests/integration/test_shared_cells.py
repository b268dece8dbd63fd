"""Requests of one real engine share the cells of its KV cache: 4 slots, of which one may use more than its share."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest

from oprel.core.completion import CompletionRequest, Finish, LoadOptions, Sampling
from oprel.core.config import Config
from oprel.core.models.manifests import Manifest
from oprel.server.inference import completions
from oprel.server.inference.completions import Done
from oprel.server.inference.jobs import Job
from oprel.server.models.installed_model import InstalledModel
from oprel.server.pool.manager import ModelManager
from oprel.telemetry.recommender import settings
from tests.fixtures.daemons import daemon_parts
from tests.fixtures.gguf_factory import Shape, write_tiny_gguf

SLOTS, SHARE, CONTEXT, CELLS = 4, 256, 700, 1024
TOKENS = 5  # of "hello there "
BRIEF = Sampling(num_predict=4)


class Served(NamedTuple):
    """A model, and the manager that serves it."""

    manager: ModelManager
    model: InstalledModel

    async def answer(self, request: CompletionRequest, load: LoadOptions | None = None) -> Done:
        sampling = replace(request.sampling, temperature=0.0, runaway_guard=False)
        job = Job(self.model, replace(request, sampling=sampling), load or LoadOptions())
        *_, done = [piece async for piece in completions.run(self.manager, job)]
        assert isinstance(done, Done)
        return done


@pytest.fixture
async def served(home: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Served]:
    """A model that never stops, in an engine with small shares."""
    monkeypatch.setattr(settings, "USUAL_CONTEXT", SHARE)
    async with serving(home, parallel=SLOTS) as served:
        yield served


@contextlib.asynccontextmanager
async def serving(home: Path, *, parallel: int) -> AsyncIterator[Served]:
    weights = write_tiny_gguf(home / "endless.gguf", shape=Shape(context=CONTEXT), endless=True)
    config = Config(home=str(home), n_threads=1, keep_alive="-1", parallel=parallel)
    async with daemon_parts(config, Manifest(name="endless", weights=weights)) as state:
        yield Served(state.manager, await state.library.find("endless", may_use_paths=True))


def long_prompt(number: int, tokens: int = 400) -> CompletionRequest:
    return CompletionRequest(f"{number} " + "hello there " * (tokens // TOKENS), BRIEF)


def story(tokens: int, *, shift: bool = True) -> CompletionRequest:
    return CompletionRequest("tell me", Sampling(num_predict=tokens), shift=shift)


async def test_the_engine_has_four_slots_and_tells_what_one_request_may_use(served: Served) -> None:
    await served.answer(story(1))
    (status,) = served.manager.statuses()
    assert (status.slots, status.spec.cells, status.num_ctx) == (4, CELLS, CONTEXT)


async def test_a_prompt_beyond_its_share_is_answered_whole(served: Served) -> None:
    done = await served.answer(long_prompt(1, 600))
    assert done.usage.prompt_tokens > 600 and done.usage.completion_tokens == 4
    assert (done.truncation.tokens, done.shifted) == (0, False)


async def test_long_prompts_take_turns_for_the_cells(served: Served) -> None:
    """Together they have more tokens than the engine has cells."""
    answers = await asyncio.gather(*(served.answer(long_prompt(number)) for number in range(4)))
    assert all(done.usage.prompt_tokens > 400 and not done.truncation.tokens for done in answers)
    assert sum(done.usage.prompt_tokens for done in answers) > CELLS


async def test_a_longer_prompt_than_all_that_one_may_use_is_truncated_to_that(served: Served) -> None:
    done = await served.answer(long_prompt(1, 2000))
    assert SHARE < done.usage.prompt_tokens < CONTEXT and done.truncation.tokens > 1000


@pytest.mark.parametrize("load", [LoadOptions(num_ctx=SHARE), LoadOptions(num_ctx=SHARE // 2)])
async def test_a_requested_context_stays_the_limit(served: Served, load: LoadOptions) -> None:
    await served.answer(story(1))
    done = await served.answer(long_prompt(1, 600), load)
    assert done.usage.prompt_tokens < SHARE and done.truncation.tokens > 300
    ended = await served.answer(story(1000, shift=False), load)
    assert ended.usage.prompt_tokens + ended.usage.completion_tokens == SHARE
    shifted = await served.answer(story(600), load)
    assert (shifted.usage.completion_tokens, shifted.finish, shifted.shifted) == (600, Finish.LENGTH, True)


async def test_an_answer_grows_beyond_its_share_while_cells_are_free(served: Served) -> None:
    grown = await served.answer(story(600))
    assert (grown.usage.completion_tokens, grown.shifted, grown.recoveries) == (600, False, 0)
    await served.manager.unload(served.model)
    whole = await served.answer(story(600), LoadOptions(num_ctx=CONTEXT))
    assert (grown.text, grown.usage.prompt_tokens) == (whole.text, whole.usage.prompt_tokens)


async def test_more_slots_than_contexts_never_run_out_of_cells(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By default eight slots share four contexts. Each answer may fill a context, but not all at the same time."""
    monkeypatch.setattr(settings, "SHORT_CONTEXT", CONTEXT // 4)
    async with serving(home, parallel=0) as served:
        answers = await asyncio.gather(*(served.answer(story(600)) for _ in range(8)))
        (status,) = served.manager.statuses()
    assert (status.slots, status.spec.cells, status.num_ctx) == (8, 4 * CONTEXT, CONTEXT)
    assert [(done.usage.completion_tokens, done.recoveries) for done in answers] == [(600, 0)] * 8


async def test_an_answer_of_no_tokens_ends_at_once(served: Served) -> None:
    done = await served.answer(story(0))
    assert done.usage.completion_tokens <= 1 and not done.shifted  # the engine may make one all the same


async def test_answers_without_end_and_a_long_prompt_leave_each_other_cells(served: Served) -> None:
    """Each of them would fill the engine. None fails, and none is shorter than in an engine of its own."""
    stories = [served.answer(story(900)) for _ in range(4)]
    *told, long = await asyncio.gather(*stories, served.answer(long_prompt(1, 600)))
    assert [done.usage.completion_tokens for done in told] == [900] * 4
    assert all(done.shifted for done in told)
    assert long.usage.prompt_tokens > 600 and not long.truncation.tokens


async def test_several_answers_share_a_prompt_and_their_cells(served: Served) -> None:
    done = await served.answer(replace(long_prompt(1), n=2))
    assert done.usage.prompt_tokens > 400 and len(done.finishes) == 2
    endless = await served.answer(replace(story(1000), n=3))
    assert endless.usage.completion_tokens + endless.usage.prompt_tokens <= 3 * SHARE


async def test_a_client_that_leaves_gives_its_cells_back(served: Served) -> None:
    await served.answer(story(1))
    async with contextlib.aclosing(
        completions.run(served.manager, Job(served.model, replace(long_prompt(1, 600), sampling=Sampling())))
    ) as pieces:
        await anext(pieces)
        (loaded,) = served.manager.loaded
        assert loaded.slots.free_cells < CELLS - 600
    assert loaded.slots.free_cells == CELLS
