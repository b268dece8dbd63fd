"""What another engine is asked after the first one died, and what the client gets of both."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from oprel.core.completion import (
    Chunk,
    CompletionRequest,
    Finish,
    LoadOptions,
    PromptMessage,
    Sampling,
    Tokens,
    Usage,
    joined,
)
from oprel.core.exceptions import BackendCrashedError, QuarantinedError
from oprel.runtime.engine import EngineLost
from oprel.runtime.exits import Exit
from oprel.server.inference.answers.continuation import MOST, ResumableAnswer
from oprel.server.inference.truncation import Truncation
from tests.fixtures.arriving import each
from tests.fixtures.memory_engine import CRASH, KILLED, MemoryEngine, ready, token_of
from tests.fixtures.pool import MakePool, MemoryPool

HELLO = (PromptMessage("user", "hello"),)
PLAIN = CompletionRequest("Once", Sampling(num_predict=10), tell_tokens=True)


def word(text: str, token: int) -> Chunk:
    return Chunk(text, event=b"{}", tokens=(token,), spelled=text.encode())


async def broken_off(request: CompletionRequest, *chunks: Chunk) -> ResumableAnswer:
    """An answer whose engine died behind these chunks."""
    answer = ResumableAnswer(request)
    for chunk in chunks:
        assert answer.receive(chunk) == chunk
    await answer.go_on(ready(MemoryEngine()))
    return answer


async def test_nothing_said_is_asked_again() -> None:
    assert (await broken_off(PLAIN)).request == PLAIN


async def test_plain_text_goes_on_behind_its_own_tokens() -> None:
    answer = await broken_off(PLAIN, word(" upon", 7), word(" a", 8))
    assert answer.request.prompt == Tokens(("Once", 7, 8))
    assert answer.request.sampling.num_predict == 8


async def test_a_chat_goes_on_within_its_open_turn() -> None:
    request = CompletionRequest(HELLO, Sampling(num_predict=-1), tell_tokens=True)
    answer = await broken_off(request, Chunk(event=b"{}"), word("Hi", 5))
    assert answer.request.prompt == Tokens(("<user> hello <assistant> ", 5))
    assert answer.request.sampling.num_predict == -1


async def test_what_the_next_engine_says_is_told_as_text_alone() -> None:
    """Its events are those of another dialect."""
    answer = await broken_off(PLAIN, word(" upon", 7))
    assert answer.receive(word(" a", 8)) == Chunk(" a", tokens=(8,), spelled=b" a")


async def test_the_counts_are_those_of_one_answer() -> None:
    answer = await broken_off(PLAIN, word(" upon", 7), word(" a", 8))
    piece = answer.receive(replace(word(" time", 9), used=lambda: Usage(prompt_tokens=3, completion_tokens=1)))
    assert piece and piece.used and piece.used() == Usage(prompt_tokens=1, completion_tokens=3)
    last = answer.receive(Chunk(finish=Finish.STOP, usage=Usage(prompt_tokens=3, cached_tokens=2, completion_tokens=1)))
    assert last and last.usage == Usage(prompt_tokens=1, cached_tokens=0, completion_tokens=3)


CASES = {
    "a token was not told": (PLAIN, Chunk("é", tokens=(7,), spelled=b"\xc3")),
    "a thought": (PLAIN, Chunk(reasoning="hm", tokens=(7,), spelled=b"hm")),
    "tools": (CompletionRequest(HELLO, tools=({},)), word("Hi", 5)),
    "a grammar": (CompletionRequest(HELLO, schema={}), word("{", 5)),
    "no token is left": (CompletionRequest("Once", Sampling(num_predict=1)), word(" upon", 7)),
}


@pytest.mark.parametrize(("request_", "chunk"), CASES.values(), ids=CASES.keys())
async def test_what_cannot_be_taken_up_is_said_again_and_not_told_twice(
    request_: CompletionRequest, chunk: Chunk
) -> None:
    answer = await broken_off(request_, chunk)
    assert answer.request == request_
    assert answer.receive(chunk) is None
    assert answer.receive(word(" on", 9)) == word(" on", 9)


async def test_another_answer_is_no_repetition() -> None:
    answer = await broken_off(CompletionRequest(HELLO, tools=({},)), word("Hi", 5))
    with pytest.raises(EngineLost, match="did not repeat"):
        answer.receive(word("Yo", 6))


async def test_a_call_is_repeated_whatever_its_id() -> None:
    answer = await broken_off(CompletionRequest(HELLO, tools=({},)), Chunk(called="add{", event=b"1"))
    assert answer.receive(Chunk(called="add{", event=b"2")) is None


async def test_an_answer_outlives_so_many_engines_and_no_more() -> None:
    answer = ResumableAnswer(PLAIN)
    for _ in range(MOST):
        assert answer.can_go_on
        await answer.go_on(ready(MemoryEngine()))
    assert not answer.can_go_on


async def test_several_answers_go_on_only_before_they_begin() -> None:
    answer = ResumableAnswer(CompletionRequest(HELLO, n=2))
    assert answer.can_go_on
    answer.receive(word("Hi", 5))
    assert not answer.can_go_on


async def test_an_answer_begins_again_with_another_request() -> None:
    answer = ResumableAnswer(PLAIN)
    short = CompletionRequest("On", Sampling(num_predict=10))
    answer.restart(short)
    await answer.go_on(ready(MemoryEngine()))
    assert answer.request == short


async def test_a_rest_that_outgrew_the_context_is_requested_as_a_whole() -> None:
    answer = await broken_off(PLAIN, word(" upon", 7))
    assert answer.repeat() and answer.request == PLAIN
    assert answer.receive(word(" upon", 7)) is None
    assert not answer.repeat()  # that was the whole


# From a request to its answer, through `completions.run`


STORY = "Once upon a time"
CHAT = CompletionRequest(HELLO)
JSON = CompletionRequest(HELLO, schema={})
JSON_WORDS = ('{"n": ', "1", "}")


def requests(pool: MemoryPool) -> list[CompletionRequest]:
    return pool.engines[0].requests


@pytest.mark.parametrize("dies_of", [CRASH, KILLED], ids=["a crash", "a kill from outside"])
@pytest.mark.parametrize("words", range(5))
async def test_an_answer_is_whole_wherever_its_engine_died(make_pool: MakePool, words: int, dies_of: Exit) -> None:
    pool = make_pool(MemoryEngine(deaths=[words], dies_of=dies_of))
    answer = await pool.ask(CHAT)
    assert answer.text == STORY and answer.done
    assert (answer.done.text, answer.done.finish, answer.done.recoveries) == (STORY, Finish.STOP, 1)
    assert pool.engines[0].starts == 2 and pool.loaded("model").slots.in_use == 0


async def test_before_its_first_token_an_answer_is_requested_again(make_pool: MakePool) -> None:
    pool = make_pool(MemoryEngine(deaths=[0]))
    await pool.ask(CHAT)
    first, second = requests(pool)
    assert first == second


async def test_text_is_continued_from_its_tokens(make_pool: MakePool) -> None:
    pool = make_pool(MemoryEngine(deaths=[2]))
    answer = await pool.ask(CompletionRequest(HELLO, Sampling(num_predict=4)))
    assert requests(pool)[1].prompt == Tokens(("<user> hello <assistant> ", token_of("Once "), token_of("upon ")))
    assert requests(pool)[1].sampling.num_predict == 2
    assert answer.done and (answer.done.usage.prompt_tokens, answer.done.usage.completion_tokens) == (3, 4)


async def test_text_is_continued_twice(make_pool: MakePool) -> None:
    pool = make_pool(MemoryEngine(deaths=[1, 2], dies_of=KILLED))
    answer = await pool.ask(CHAT)
    assert answer.text == STORY and answer.done and answer.done.recoveries == 2


async def test_what_cannot_be_continued_is_repeated_and_sent_once(make_pool: MakePool) -> None:
    pool = make_pool(MemoryEngine(words=JSON_WORDS, deaths=[2]))
    answer = await pool.ask(JSON)
    assert answer.text == '{"n": 1}' and answer.done and answer.done.recoveries == 1
    first, second = requests(pool)
    assert first == second and first.sampling.seed is not None  # the same seed makes the same answer


async def test_a_repetition_that_differs_ends_the_answer(make_pool: MakePool) -> None:
    pool = make_pool(MemoryEngine(words=JSON_WORDS, deaths=[2]))
    stream = pool.stream(JSON)
    assert [await anext(stream), await anext(stream)]
    pool.engines[0].words = ('{"m": ', "2", "}")
    with pytest.raises(BackendCrashedError, match="the next one did not repeat what was already sent"):
        await anext(stream)


async def test_a_repetition_that_dies_as_well_is_repeated_again(make_pool: MakePool) -> None:
    pool = make_pool(MemoryEngine(words=JSON_WORDS, deaths=[2, 1], dies_of=KILLED))
    answer = await pool.ask(JSON)
    assert answer.text == '{"n": 1}' and answer.done and answer.done.recoveries == 2


async def test_the_third_death_ends_the_answer(make_pool: MakePool) -> None:
    pool = make_pool(MemoryEngine(deaths=[1, 1, 1], dies_of=KILLED))
    answer = await pool.ask(CHAT)
    assert answer.text == "Once upon a "  # each engine made one word more
    assert isinstance(answer.error, BackendCrashedError) and "SIGKILL" in answer.error.message


async def test_the_second_engine_that_a_request_crashes_is_its_last(make_pool: MakePool) -> None:
    pool = make_pool(MemoryEngine(deaths=[1, 1]))
    answer = await pool.ask(CHAT)
    assert answer.text == "Once upon " and isinstance(answer.error, QuarantinedError)
    assert isinstance((await pool.ask(CHAT)).error, QuarantinedError)
    assert pool.engines[0].starts == 2 and len(requests(pool)) == 2


async def test_several_answers_are_made_again_only_before_they_begin(make_pool: MakePool) -> None:
    pool = make_pool(MemoryEngine(deaths=[0]))
    answer = await pool.ask(CompletionRequest(HELLO, n=2))
    assert answer.done and answer.done.recoveries == 1
    pool.engines[0].deaths = [1]
    assert isinstance((await pool.ask(CompletionRequest("other", n=2))).error, BackendCrashedError)


async def test_a_rest_that_does_not_fit_is_made_again_as_a_whole(make_pool: MakePool) -> None:
    """Its prompt and what was made of it fill the context; the engine would have shifted it meanwhile."""
    pool = make_pool(MemoryEngine(deaths=[3]))
    answer = await pool.ask(CHAT, load=LoadOptions(num_ctx=6))
    assert answer.text == STORY and answer.done and answer.done.truncation == Truncation()
    whole, rest, again = [request.prompt for request in requests(pool)]
    assert isinstance(rest, Tokens) and whole == again == HELLO


async def test_the_answer_to_a_truncated_prompt_is_continued_behind_that(make_pool: MakePool) -> None:
    pool = make_pool(MemoryEngine(deaths=[1]))
    request = CompletionRequest("a b c d e f g h i j", Sampling(num_predict=2))
    answer = await pool.ask(request, load=LoadOptions(num_ctx=8))
    assert answer.text == "Once upon " and answer.truncation
    truncated, rest = requests(pool)[1:]
    assert isinstance(truncated.prompt, Tokens) and isinstance(rest.prompt, Tokens)
    assert rest.prompt.parts == (*truncated.prompt.parts, token_of("Once "))


async def test_an_engine_that_dies_while_the_rest_is_prepared_is_replaced_too(make_pool: MakePool) -> None:
    pool = make_pool(MemoryEngine(dies_of=KILLED))
    stream = pool.stream(CHAT)
    first = await anext(stream)
    assert isinstance(first, Sequence)
    pool.engines[0].die(KILLED)
    pool.engines[0].dies_at_calls = 1  # as it renders the prompt
    assert joined([*first, *await each(stream)]).text == STORY
    assert pool.engines[0].starts == 3
