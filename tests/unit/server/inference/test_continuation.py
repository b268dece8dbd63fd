"""What another engine is asked after the first one died."""

import pytest

from oprel.core.completion import Chunk, CompletionRequest, Finish, PromptMessage, Sampling, Tokens, Usage
from oprel.runtime.engine import EngineLost
from oprel.server.inference.continuation import MOST, ResumableAnswer
from tests.fixtures.memory_engine import MemoryEngine, ready

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
    answer.receive(word(" time", 9))
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
