"""An answer that the engine's parser refuses is sent as the model wrote it, from where the parser failed."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass, replace
from pathlib import Path

import orjson
import pytest

from oprel.core.completion import Chunk, CompletionRequest, Finish, PromptMessage, Sampling
from oprel.core.exceptions import BackendError
from oprel.runtime.engine import AnswerUnparsed
from oprel.server.api.common.streaming import UNPARSED
from oprel.server.inference.answers.unparsed import SentText
from oprel.server.inference.structured_output.tools import function_tools
from tests.fixtures.dialects import DIALECTS
from tests.fixtures.memory_app import memory_client
from tests.fixtures.memory_engine import MemoryEngine
from tests.fixtures.pool import MODEL, MakePool

CHAT = CompletionRequest((PromptMessage("user", "Hello"),))
TOOLS = function_tools([{"function": {"name": "add"}}])
WHY = "The model produced output that does not match the expected peg-native format"
WORDS = ("I ", "call ", '<tool_call>{"name": ', '"add", ', "oops")
TEXT = "".join(WORDS)


@dataclass(eq=False, kw_only=True)
class UnparsingEngine(MemoryEngine):
    """Refuses an answer after so many words, of which the first are thoughts. A text it completes as it is."""

    parsed: int = 0
    thoughts: int = 0
    begins_call: bool = False
    always: bool = False

    async def chunks(self, request: CompletionRequest) -> AsyncGenerator[Chunk, None]:
        is_chat = isinstance(request.prompt, tuple)
        number = 0
        async for chunk in super().chunks(request):
            if chunk.text and is_chat:
                if number == self.parsed:
                    break
                number += 1
                is_thought = number <= self.thoughts
                chunk = replace(
                    chunk, text="" if is_thought else chunk.text, reasoning=chunk.text if is_thought else ""
                )
            if chunk.event:
                chunk = replace(
                    chunk,
                    event=event({"content": chunk.text} if chunk.text else {"reasoning_content": chunk.reasoning}),
                )
            if not (is_chat and chunk.finish):
                yield chunk
        if is_chat and self.begins_call:
            part = {"index": 0, "id": "c1", "function": {"name": "add", "arguments": '{"a'}}
            yield Chunk(event=event({"tool_calls": [part]}), called='add{"a')
            yield Chunk(event=event({}, "tool_calls"))
        if is_chat or self.always:
            raise AnswerUnparsed(500, "server_error", WHY)


def event(delta: dict[str, object], finish: str | None = None) -> bytes:
    return orjson.dumps({"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})


@pytest.mark.parametrize("parsed", range(len(WORDS) + 1))
@pytest.mark.parametrize("thoughts", [0, 1, 2])
async def test_the_rest_follows_what_was_sent(make_pool: MakePool, parsed: int, thoughts: int) -> None:
    pool = make_pool(UnparsingEngine(words=WORDS, parsed=parsed, thoughts=thoughts))
    answer = await pool.ask(CHAT)
    assert answer.done and (answer.done.unparsed, answer.done.finish) == (WHY, Finish.STOP)
    assert "".join(chunk.reasoning + chunk.text for chunk in answer.chunks).split() == TEXT.split()
    chat, text = pool.engines[0].requests
    assert text.sampling.seed == chat.sampling.seed
    assert (text.prompt, text.tools, text.think) == ("<user> Hello <assistant> ", (), False)


async def test_its_length_holds(make_pool: MakePool) -> None:
    answer = await make_pool(UnparsingEngine(words=WORDS)).ask(replace(CHAT, sampling=Sampling(num_predict=2)))
    assert answer.done and (answer.text, answer.done.finish) == ("I call ", Finish.LENGTH)


async def test_tools_and_a_format_are_two_requests_still(make_pool: MakePool) -> None:
    pool = make_pool(UnparsingEngine(words=('{"a": ', "1}")))
    answer = await pool.ask(replace(CHAT, tools=TOOLS, schema={"type": "object"}))
    assert answer.text == '{"a": 1}'


async def test_an_engine_that_dies_over_the_rest_has_a_successor(make_pool: MakePool) -> None:
    pool = make_pool(UnparsingEngine(words=WORDS, parsed=2, deaths=[99, 3]))
    answer = await pool.ask(CHAT)
    assert answer.done and (answer.text, answer.done.recoveries, answer.done.unparsed) == (TEXT, 1, WHY)


async def test_an_answer_is_refused_after_its_engine_has_died(make_pool: MakePool) -> None:
    pool = make_pool(UnparsingEngine(words=WORDS, parsed=3, deaths=[2]))
    answer = await pool.ask(replace(CHAT, tools=TOOLS))
    assert answer.done and (answer.text, answer.done.recoveries, answer.done.unparsed) == (TEXT, 1, WHY)


async def test_several_answers_are_each_completed(make_pool: MakePool) -> None:
    answer = await make_pool(UnparsingEngine(words=WORDS, parsed=2)).ask(replace(CHAT, n=2))
    texts = ["".join(chunk.text for chunk in answer.chunks if chunk.index == index) for index in (0, 1)]
    assert texts == [TEXT, TEXT]


@pytest.mark.parametrize("request_", [replace(CHAT, prompt=(PromptMessage("user", "", images=("aaaa",)),)), CHAT])
async def test_what_cannot_be_read_in_any_way_is_an_error(make_pool: MakePool, request_: CompletionRequest) -> None:
    answer = await make_pool(UnparsingEngine(words=WORDS, always=True)).ask(request_)
    assert isinstance(answer.error, BackendError)
    assert WHY in str(answer.error)


async def test_an_engine_is_not_suspected_of_what_its_model_wrote(make_pool: MakePool) -> None:
    engine = UnparsingEngine(words=WORDS)
    engine.work.suspicion = "it refuses everything"
    assert (await make_pool(engine).ask(CHAT)).text == TEXT
    assert engine.starts == 1


def test_another_answer_adds_nothing_to_what_was_sent() -> None:
    sent = SentText()
    sent.add(Chunk("one two"))
    assert [sent.rest(text) for text in ("one ", "three")] == ["", ""]


@pytest.mark.parametrize("begins_call", [False, True], ids=["text", "begun call"])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("dialect", DIALECTS)
async def test_every_dialect_says_so(
    make_pool: MakePool, memory_folder: Path, dialect: str, stream: bool, begins_call: bool
) -> None:
    pool = make_pool(UnparsingEngine(words=WORDS, parsed=1, begins_call=begins_call))
    async with memory_client(memory_folder, pool, MODEL) as http:
        response = await DIALECTS[dialect].ask(http, MODEL.name, None, stream=stream)
    received = DIALECTS[dialect].read(response, stream)
    assert (response.status_code, received.text) == (200, TEXT)
    last = received.last.get("response", received.last)  # of Responses, the whole response
    assert last.get("unparsed") == WHY or response.headers.get(UNPARSED) == "true"
    assert '"tool_calls"' not in str(received.last.get("choices")) and "tool_use" not in str(received.last)
