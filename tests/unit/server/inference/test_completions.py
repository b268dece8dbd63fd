"""From a request to an engine and back, with an engine in memory."""

from dataclasses import replace

import pytest

from oprel.core.completion import CompletionRequest, Finish, LoadOptions, PromptMessage, Sampling, Tokens
from oprel.core.exceptions import (
    BackendCrashedError,
    BackendError,
    BackendStartError,
    ContextLengthError,
    ShuttingDownError,
    UnsupportedError,
    ValidationError,
)
from oprel.formats.templates.plain_frame import FRAME_STOPS
from oprel.runtime.engine import EngineRefused
from oprel.server.inference import completions
from oprel.server.inference.jobs import Job
from oprel.server.inference.structured_output.requests import call_schema
from oprel.server.inference.structured_output.tools import function_tools
from oprel.server.inference.truncation import Truncation
from tests.fixtures.memory_engine import CRASH, MemoryEngine, tokens_of
from tests.fixtures.pool import MODEL, MakePool, MemoryPool

STORY = "Once upon a time"
HELLO = CompletionRequest("Hello")
CHAT = CompletionRequest((PromptMessage("user", "Hello"),))
TOOL, OTHER_TOOL = function_tools([{"function": {"name": "add"}}, {"function": {"name": "subtract"}}])


def saying(*words: str) -> MemoryEngine:
    return MemoryEngine(words=words)


async def test_an_answer_comes_in_pieces_and_ends_with_its_figures(pool: MemoryPool) -> None:
    answer = await pool.ask(HELLO)
    assert [chunk.text for chunk in answer.chunks] == ["Once ", "upon ", "a ", "time"]
    assert answer.done and (answer.done.text, answer.done.finish) == (STORY, Finish.STOP)
    assert (answer.done.usage.prompt_tokens, answer.done.usage.completion_tokens) == (1, 4)
    assert (answer.done.recoveries, answer.done.truncation) == (0, Truncation())


async def test_an_answer_ends_at_the_requested_length(pool: MemoryPool) -> None:
    answer = await pool.ask(replace(HELLO, sampling=Sampling(num_predict=2)))
    assert answer.done and (answer.done.text, answer.done.finish) == ("Once upon ", Finish.LENGTH)


async def test_the_load_time_is_reported_apart_from_the_whole(pool: MemoryPool) -> None:
    stream = pool.stream(HELLO)
    await anext(stream)
    pool.clock.advance(2.0)
    *_, done = [piece async for piece in stream]
    assert isinstance(done, completions.Done) and (done.load_ns, done.total_ns) == (0, 2 * 10**9)


# What the engine receives


def received(pool: MemoryPool) -> CompletionRequest:
    return pool.engines[0].requests[-1]


@pytest.mark.parametrize("seed", [None, -1])
async def test_an_answer_has_a_seed_so_that_it_can_be_made_again(pool: MemoryPool, seed: int | None) -> None:
    await pool.ask(replace(HELLO, sampling=Sampling(seed=seed)))
    chosen = received(pool).sampling.seed
    assert chosen is not None and chosen >= 0


async def test_the_seed_of_a_request_stays(pool: MemoryPool) -> None:
    await pool.ask(replace(HELLO, sampling=Sampling(seed=7)))
    assert received(pool).sampling.seed == 7


@pytest.mark.parametrize("own", [(), (".",)])
async def test_the_ends_of_the_model_s_chats_are_stops_beside_those_of_the_request(
    pool: MemoryPool, own: tuple[str, ...]
) -> None:
    await pool.ask(replace(CHAT, sampling=Sampling(stop=own)))
    assert received(pool).sampling.stop == (*own, *FRAME_STOPS)
    await pool.ask(replace(HELLO, sampling=Sampling(stop=own)))
    assert received(pool).sampling.stop == own


async def test_an_answer_without_a_limit_ends_after_ten_contexts(pool: MemoryPool) -> None:
    await pool.ask(replace(HELLO, sampling=Sampling(num_predict=-1)))
    assert received(pool).sampling.num_predict == 10 * 512


@pytest.mark.parametrize("request_", [replace(HELLO, shift=False), replace(HELLO, n=2)], ids=["shift", "n"])
async def test_an_answer_that_must_not_shift_ends_with_the_context(
    pool: MemoryPool, request_: CompletionRequest
) -> None:
    await pool.ask(request_)
    assert received(pool).sampling.num_predict == 512 - 1


@pytest.mark.parametrize(
    ("request_", "is_plain"),
    [
        (HELLO, True),
        (CHAT, True),
        (replace(CHAT, n=2), False),
        (replace(CHAT, tools=(TOOL,)), False),
        (replace(CHAT, schema={}), False),
    ],
    ids=["a prompt", "a chat", "several answers", "tools", "a schema"],
)
async def test_tokens_are_requested_where_the_answer_is_only_text(
    make_pool: MakePool, request_: CompletionRequest, is_plain: bool
) -> None:
    pool = make_pool(saying("{}"))
    await pool.ask(request_)
    assert received(pool).tell_tokens is is_plain


async def test_a_tool_that_must_be_called_is_the_only_one(pool: MemoryPool) -> None:
    await pool.ask(replace(CHAT, tools=(TOOL, OTHER_TOOL), tool_choice={"function": {"name": "add"}}))
    assert (received(pool).tools, received(pool).schema) == ((TOOL,), call_schema((TOOL,)))


async def test_a_tool_that_does_not_exist_cannot_be_chosen(pool: MemoryPool) -> None:
    answer = await pool.ask(replace(CHAT, tools=(TOOL,), tool_choice={"name": "divide"}))
    assert isinstance(answer.error, ValidationError) and not pool.engines


async def test_the_tokens_of_a_context_come_in_front_of_the_prompt(pool: MemoryPool) -> None:
    before = tuple(tokens_of("A tale "))
    answer = await pool.ask(CHAT, context=before)
    assert received(pool).prompt == Tokens((*before, "<user> Hello <assistant> "))
    assert answer.done and answer.done.context == tokens_of("A tale <user> Hello <assistant> " + STORY)


async def test_without_a_context_none_is_returned(pool: MemoryPool) -> None:
    answer = await pool.ask(CHAT)
    assert answer.done and answer.done.context is None


# The engine while it answers


async def test_progress_is_reported_to_the_hang_detector(pool: MemoryPool) -> None:
    await pool.ask(HELLO)
    work = pool.engines[0].work
    assert (work.prefills, work.moves) == ([(1, 1)], 5)  # four words and the end


async def test_a_request_is_in_flight_until_its_answer_is_whole(pool: MemoryPool) -> None:
    stream = pool.stream(HELLO)
    await anext(stream)
    [request] = pool.loaded("model").in_flight.report(pool.clock.now)
    assert (request.characters, request.prompt) == (5, "Hello")
    async for _ in stream:
        pass
    assert not pool.loaded("model").in_flight


async def test_a_client_that_leaves_gives_its_slot_back(pool: MemoryPool) -> None:
    stream = pool.stream(HELLO)
    await anext(stream)
    assert pool.loaded("model").slots.in_use == 1
    await stream.aclose()
    loaded = pool.loaded("model")
    assert (loaded.slots.in_use, loaded.leases, len(loaded.in_flight)) == (0, 0, 0)


async def test_several_answers_take_a_slot_each(pool: MemoryPool) -> None:
    stream = pool.stream(replace(HELLO, n=2))
    await anext(stream)
    assert pool.loaded("model").slots.in_use == 2
    await stream.aclose()


async def test_several_answers_are_numbered(pool: MemoryPool) -> None:
    answer = await pool.ask(replace(HELLO, n=2))
    assert [chunk.index for chunk in answer.chunks] == [0] * 4 + [1] * 4
    assert answer.done and (answer.done.text, answer.done.finishes) == (STORY, (Finish.STOP, Finish.STOP))


# Answers that break their promise


async def test_an_answer_must_follow_its_schema(make_pool: MakePool) -> None:
    pool = make_pool(saying("no ", "JSON"))
    answer = await pool.ask(replace(CHAT, schema={}))
    assert answer.text == "no JSON" and isinstance(answer.error, BackendError)


async def test_an_answer_that_was_cut_need_not_follow_its_schema(make_pool: MakePool) -> None:
    pool = make_pool(saying("{", "}"))
    answer = await pool.ask(replace(CHAT, schema={}, sampling=Sampling(num_predict=1)))
    assert answer.done and answer.done.finish is Finish.LENGTH


# Prompts that are too long


LONG = CompletionRequest("a b c d e f g h i j", Sampling(num_predict=2))
EIGHT = LoadOptions(num_ctx=8)


async def test_a_prompt_that_is_too_long_is_truncated_and_the_answer_says_so_first(pool: MemoryPool) -> None:
    stream = pool.stream(LONG, load=EIGHT)
    assert await anext(stream) == Truncation(tokens=4)
    pieces = [piece async for piece in stream]
    done = pieces[-1]
    assert isinstance(done, completions.Done) and (done.text, done.truncation) == ("Once upon ", Truncation(tokens=4))
    assert done.usage.prompt_tokens == 6


async def test_a_prompt_that_must_not_be_truncated_is_refused(pool: MemoryPool) -> None:
    answer = await pool.ask(replace(LONG, truncate=False), load=EIGHT)
    assert isinstance(answer.error, ContextLengthError) and answer.truncation is None


async def test_a_truncated_prompt_is_not_truncated_again(pool: MemoryPool) -> None:
    await pool.ask(LONG, load=EIGHT)
    assert [request.truncate for request in pool.engines[0].requests] == [True, False]


async def test_an_answer_that_outgrows_the_context_has_shifted(make_pool: MakePool) -> None:
    pool = make_pool(saying(*(f"{number} " for number in range(8))))
    answer = await pool.ask(HELLO, load=EIGHT)
    assert answer.done and answer.done.shifted


# Engines that refuse, stop or break off


FAILURE = EngineRefused(500, "server_error", "oops")


@pytest.mark.parametrize(
    ("refusal", "error"),
    [
        (EngineRefused(400, "invalid_request_error", "bad"), ValidationError),
        (EngineRefused(400, "invalid_request_error", "failed to parse grammar"), ValidationError),
        (EngineRefused(501, "not_supported_error", "no images"), UnsupportedError),
        (FAILURE, BackendError),
    ],
)
async def test_a_refusal_of_the_engine_becomes_an_error_of_oprel(
    make_pool: MakePool, refusal: EngineRefused, error: type[Exception]
) -> None:
    pool = make_pool(MemoryEngine(refusals=[refusal]))
    answer = await pool.ask(HELLO)
    assert type(answer.error) is error and refusal.message in str(answer.error)
    assert pool.engines[0].is_ready


async def test_an_engine_under_suspicion_that_makes_no_token_is_killed(make_pool: MakePool) -> None:
    pool = make_pool(MemoryEngine(refusals=[FAILURE, FAILURE]))
    await pool.load(MODEL)
    pool.engines[0].work.suspicion = "it fails every request"
    answer = await pool.ask(HELLO)
    assert isinstance(answer.error, BackendError) and pool.engines[0].is_down


async def test_an_engine_under_suspicion_that_still_makes_tokens_lives(make_pool: MakePool) -> None:
    pool = make_pool(MemoryEngine(refusals=[FAILURE]))
    await pool.load(MODEL)
    pool.engines[0].work.suspicion = "it fails every request"
    answer = await pool.ask(HELLO)
    assert isinstance(answer.error, BackendError) and pool.engines[0].is_ready


async def test_an_engine_that_is_stopped_while_it_answers_is_not_started_again(pool: MemoryPool) -> None:
    stream = pool.stream(HELLO)
    await anext(stream)
    await pool.manager.close()
    with pytest.raises(ShuttingDownError, match="stopped while it answered"):
        await anext(stream)
    assert pool.engines[0].starts == 1


async def test_an_engine_that_does_not_start_again_ends_the_answer(pool: MemoryPool) -> None:
    stream = pool.stream(HELLO)
    await anext(stream)
    pool.engines[0].failing_starts = [CRASH]
    pool.engines[0].die()
    with pytest.raises(BackendStartError):
        await anext(stream)
    assert pool.loaded("model").leases == 0


async def test_an_answer_that_died_with_its_last_engine_says_of_what(make_pool: MakePool) -> None:
    pool = make_pool(MemoryEngine(deaths=[1]))
    answer = await pool.ask(replace(HELLO, n=2))  # several answers are not continued
    assert isinstance(answer.error, BackendCrashedError) and "SIGSEGV" in answer.error.message


# Other calls


async def test_loading_takes_no_slot(make_pool: MakePool) -> None:
    pool = make_pool(parallel=1)
    await pool.caller(MODEL)
    assert await completions.load(pool.manager, Job(MODEL, HELLO)) == 0


async def test_a_chat_is_rendered_as_the_model_gets_it(pool: MemoryPool) -> None:
    assert await completions.render(pool.manager, Job(MODEL, CHAT)) == "<user> Hello <assistant> "


async def test_text_is_rendered_without_an_engine(pool: MemoryPool) -> None:
    assert await completions.render(pool.manager, Job(MODEL, HELLO)) == "Hello"
    assert not pool.engines


async def test_the_tokens_of_a_prompt_are_counted(pool: MemoryPool) -> None:
    assert await completions.count_tokens(pool.manager, Job(MODEL, CHAT)) == 3


async def test_counting_survives_the_death_of_the_engine(pool: MemoryPool) -> None:
    await pool.load(MODEL)
    pool.engines[0].dies_at_calls = 1
    assert await completions.count_tokens(pool.manager, Job(MODEL, CHAT)) == 3
    assert pool.engines[0].starts == 2
