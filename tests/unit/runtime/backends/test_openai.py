"""Events of llama-server's dialect, as chunks; and streams however their bytes are cut."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oprel.core.completion import Chunk, CompletionRequest, Finish, PromptMessage, Usage, joined
from oprel.runtime.backends.openai import http as openai_http
from oprel.runtime.backends.openai.answers import Answers
from oprel.runtime.engine import AnswerUnparsed, EngineLost, EngineRefused
from oprel.runtime.http import EngineHttp, Reply
from tests.fixtures.arriving import each
from tests.fixtures.engine_replies import EngineReplies

TIMINGS = {"cache_n": 4, "prompt_n": 2, "prompt_ms": 1.5, "predicted_n": 3, "predicted_ms": 2.25}
HELLO = CompletionRequest((PromptMessage("user", "hello"),), tell_tokens=True)


def event(delta: dict[str, object], *, logprobs: object = None, **more: object) -> bytes:
    choice = {"finish_reason": None, "index": 0, "delta": delta, "logprobs": logprobs}
    return orjson.dumps({"choices": [choice], **more})


def token(text: str, number: int, spelled: bytes) -> bytes:
    entry = {"id": number, "token": text, "bytes": list(spelled), "prob": 1.0}
    return event({"content": text}, logprobs={"content": [entry]})


def test_a_token_is_told_with_its_spelling_and_what_the_answer_took() -> None:
    (chunk,) = Answers().add(event({"content": "Hi"}, timings=TIMINGS))
    assert (chunk.text, chunk.is_plain, chunk.unreported) == ("Hi", True, 3)
    assert chunk.used and chunk.used() == Usage(
        prompt_tokens=6, cached_tokens=4, completion_tokens=3, prompt_ns=1_500_000, completion_ns=2_250_000
    )
    (chunk,) = Answers().add(token("é", 7, "é".encode()))
    assert (chunk.tokens, chunk.spelled, chunk.logprobs) == ((7,), "é".encode(), ())


@pytest.mark.parametrize(
    "delta",
    [{"role": "assistant", "content": None}, {"content": ""}, {}, {"tool_calls": [{"index": 0}]}],
)
def test_what_is_more_or_less_than_words_is_not_plain(delta: dict[str, object]) -> None:
    (chunk,) = Answers().add(event(delta))
    assert not chunk.is_plain and chunk.event


@pytest.mark.parametrize(
    "content", [b"no json", b"[]", b'{"choices":[{"index":"x"}]}', b'{"choices":[{"delta":{"content":5}}]}']
)
def test_nonsense_is_an_engine_lost(content: bytes) -> None:
    with pytest.raises(EngineLost):
        Answers().add(content)


def test_an_error_in_the_stream_is_a_refusal() -> None:
    with pytest.raises(EngineRefused, match="too long") as caught:
        Answers().add(
            b'{"error":{"code":400,"message":"too long","type":"exceed_context_size_error","n_prompt_tokens":9}}'
        )
    assert (caught.value.status, caught.value.prompt_tokens) == (400, 9)
    with pytest.raises(AnswerUnparsed):
        Answers().add(b'{"error":{"code":500,"message":"Invalid diff: x"}}')


def test_calls_are_complete_at_the_end() -> None:
    answers = Answers()
    for part in ({"id": "c1", "function": {"name": "add", "arguments": '{"a"'}}, {"function": {"arguments": ":1}"}}):
        answers.add(event({"tool_calls": [{"index": 0, **part}]}))
    call, last = answers.ends()
    assert [(made.id, made.name, dict(made.arguments)) for made in call.tool_calls] == [("c1", "add", {"a": 1})]
    assert last.finish is Finish.STOP


WORDS = ("Once", " upon", " a", " tïme")
STREAM = b"".join(b"data: %s\n\n" % token(word, 1 + number, word.encode()) for number, word in enumerate(WORDS))


async def said(body: bytes, piece: int) -> list[Chunk]:
    http = EngineHttp(EngineReplies(lambda path, content: Reply(200, body), piece))
    return await each(openai_http.complete(http, HELLO))


@given(piece=st.integers(1, len(STREAM)))
async def test_a_stream_is_the_same_however_its_bytes_arrive(piece: int) -> None:
    chunks = await said(STREAM + b": ping\n\ndata: [DONE]\n\n", piece)
    assert [chunk.text for chunk in chunks[:-1]] == [*WORDS] and chunks[-1].finish


async def test_what_came_before_the_end_of_an_engine_counts() -> None:
    http = EngineHttp(EngineReplies(lambda path, content: Reply(200, STREAM)))
    chunks: list[Chunk] = []
    with pytest.raises(EngineLost, match="terminator"):
        async for arrived in openai_http.complete(http, HELLO):
            chunks += arrived
    assert joined(chunks).text == "".join(WORDS)


async def test_what_came_with_an_error_counts_too() -> None:
    body = STREAM + b'error: {"code":500,"message":"slot lost"}\n\n'
    http = EngineHttp(EngineReplies(lambda path, content: Reply(200, body)))
    chunks: list[Chunk] = []
    with pytest.raises(EngineRefused, match="slot lost"):
        async for arrived in openai_http.complete(http, HELLO):
            chunks += arrived
    assert joined(chunks).text == "".join(WORDS)
