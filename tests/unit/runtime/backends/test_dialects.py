"""Engines of other dialects, by the replies that they give (vLLM, transformers: seen; the others: documented)."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest

from oprel.core.completion import Chunk, CompletionRequest, Finish, PromptMessage, Sampling, Tokens, joined
from oprel.runtime.backends.dialect import MODEL
from oprel.runtime.backends.openai import http as openai_http
from oprel.runtime.backends.registry import named
from oprel.runtime.backends.translating import Translating
from oprel.runtime.engine import EngineLost, EngineRefused
from oprel.runtime.http import EngineHttp, Reply
from tests.fixtures.arriving import each
from tests.fixtures.engine_replies import EngineReplies, reply

CONTEXT = 512
CHAT = (PromptMessage("user", "hello"),)


@dataclass
class Engine:
    """Answers each path with its reply, and keeps what it was asked. `deaths` is what it was declared dead for."""

    backend: str
    replies: Mapping[str, object]
    asked: list[tuple[str, Any]] = field(default_factory=list)
    deaths: list[str] = field(default_factory=list)

    def answer(self, path: str, content: bytes) -> Reply:
        body = json.loads(content)
        self.asked.append((path, body))
        given = self.replies[path]
        given = given(body) if callable(given) else given
        if isinstance(given, Reply):
            return given
        return Reply(200, given if isinstance(given, bytes) else orjson.dumps(given))

    @property
    def http(self) -> EngineHttp:
        dialect = named(self.backend).dialect
        assert dialect
        return EngineHttp(Translating(EngineReplies(self.answer), dialect, CONTEXT, self.deaths.append))

    async def complete(self, prompt: Any = CHAT, **asked: Any) -> list[Chunk]:
        return await each(openai_http.complete(self.http, CompletionRequest(prompt, **asked)))


def stream(*events: object, done: bool = True) -> bytes:
    blocks = [f"data: {one if isinstance(one, str) else json.dumps(one)}\n\n" for one in events]
    return "".join([*blocks, "data: [DONE]\n\n" if done else ""]).encode()


def chat(text: str, finish: str | None = None, **more: object) -> dict[str, object]:
    return {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish, **more}]}


def vllm(*events: object, **replies: object) -> Engine:
    paths = {f"/{name}": reply for name, reply in replies.items()}
    answer = stream(*events) if events else b""
    return Engine("vllm", {"/v1/chat/completions": answer, "/v1/completions": answer, **paths})


USAGE = {"choices": [], "usage": {"prompt_tokens": 4, "total_tokens": 7, "completion_tokens": 3}}
BEGUN = {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}], "prompt_token_ids": [2, 294]}


async def test_vllm_tells_text_tokens_and_counts() -> None:
    engine = vllm(BEGUN, chat(" the sun", token_ids=[28, 155]), chat(".", "length", token_ids=[7]), USAGE)
    chunks = await engine.complete(tell_tokens=True)
    assert joined(chunks).text == " the sun."
    assert [chunk.tokens for chunk in chunks if chunk.text] == [(28, 155), (7,)]
    assert b"".join(chunk.spelled for chunk in chunks) == b" the sun."
    assert chunks[-1].finish is Finish.LENGTH
    assert (chunks[-1].usage.prompt_tokens, chunks[-1].usage.completion_tokens) == (4, 3)
    assert joined(chunks).logprobs == ()


async def test_vllm_is_asked_in_its_words() -> None:
    engine = vllm(chat("", "stop"))
    sampling = Sampling(repeat_penalty=1.1, typical_p=0.5, num_keep=4, num_predict=20 * CONTEXT, seed=3)
    await engine.complete(sampling=sampling, tell_tokens=True, schema={})
    (path, body), *_ = engine.asked
    assert path == "/v1/chat/completions"
    assert body["model"] == MODEL and body["return_token_ids"] is True and body["max_tokens"] == CONTEXT
    assert (body["repetition_penalty"], body["top_k"], body["seed"]) == (1.1, 40, 3)
    assert body["response_format"]["json_schema"] == {"name": "answer", "schema": {"type": "object"}}
    unknown = {"repeat_penalty", "typical_p", "n_keep", "return_progress", "post_sampling_probs", "logprobs"}
    assert not unknown & body.keys()


async def test_an_answer_goes_on_from_text_and_tokens() -> None:
    engine = vllm(chat("", "stop"), tokenize=lambda body: {"tokens": [1, 1, *map(ord, body["prompt"])]})
    await engine.complete(Tokens(("ab", 7, 8)))
    assert engine.asked[0] == ("/tokenize", {"prompt": "ab", "add_special_tokens": True})
    # The template begins with a token that the engine adds as well: once is enough.
    assert engine.asked[1][1]["prompt"] == [1, 97, 98, 7, 8]


async def test_probabilities_of_completions_are_like_those_of_chats() -> None:
    told = {"tokens": ["z"], "token_logprobs": [-0.5], "top_logprobs": [{"z": -0.5, "y": -1.5}], "text_offset": [0]}
    engine = vllm({"choices": [{"index": 0, "text": "z", "logprobs": told, "finish_reason": "stop"}]})
    logprob = joined(await engine.complete("x", top_logprobs=2)).logprobs[0]
    assert engine.asked[0][1]["logprobs"] == 2
    assert (logprob.token, logprob.logprob, [one.token for one in logprob.top]) == ("z", -0.5, ["z", "y"])


DEAD = {"message": "EngineCore encountered an issue. See stack trace (above) for the root cause.", "code": 500}


@pytest.mark.parametrize(
    "reply",
    [
        stream(chat("a"), {"error": DEAD}),
        stream(chat("a"), chat("", "abort")),
        reply(500, {"error": DEAD}),
        stream("no json"),
    ],
    ids=["in the stream", "broken off", "at once", "nonsense"],
)
async def test_vllm_that_says_that_it_is_dead_is_replaced(reply: object) -> None:
    engine = Engine("vllm", {"/v1/chat/completions": reply})
    with pytest.raises(EngineLost):
        await engine.complete()
    assert len(engine.deaths) == 1


async def test_a_stream_without_its_end_is_lost_but_nobody_is_dead() -> None:
    engine = Engine("vllm", {"/v1/chat/completions": stream(chat("a"), chat("b", "stop"), done=False)})
    with pytest.raises(EngineLost):
        await engine.complete()
    assert engine.deaths == []


REFUSALS = {
    "too long": (
        {
            "message": "This model's maximum context length is 512 tokens. However, your prompt contains at least 513"
            " input tokens, which exceeds this limit",
            "type": "BadRequestError",
            "param": "input_tokens",
            "code": 400,
        },
        (400, "exceed_context_size_error", 513),
    ),
    "far too long": (
        {
            "message": "This model's maximum context length is 512 tokens. However, your prompt contains 18050 letters",
            "type": "BadRequestError",
            "param": "input_text",
            "code": 400,
        },
        (400, "exceed_context_size_error", 0),
    ),
    "not found": ({"message": "The model `x` does not exist.", "type": "NotFoundError"}, (400, "NotFoundError", 0)),
    "a text": ("Unauthorized", (400, "", 0)),
}


@pytest.mark.parametrize(("error", "expected"), REFUSALS.values(), ids=REFUSALS)
async def test_what_vllm_refuses_is_refused(error: object, expected: tuple[int, str, int]) -> None:
    engine = Engine("vllm", {"/v1/chat/completions": reply(400, {"error": error})})
    with pytest.raises(EngineRefused) as caught:
        await engine.complete()
    refusal = caught.value
    assert (refusal.status, refusal.kind, refusal.prompt_tokens) == expected and refusal.message
    assert engine.deaths == []


async def test_vllms_tokens_and_templates() -> None:
    replies = {"/tokenize": {"tokens": [2, 294, 3], "count": 3}, "/detokenize": {"prompt": "<|user|>hello"}}
    engine = Engine("vllm", replies)
    http = engine.http
    assert await openai_http.tokenize(http, "hello", begin=False) == [2, 294, 3]
    assert await openai_http.detokenize(http, [2, 294]) == "<|user|>hello"
    assert await openai_http.apply_template(http, CompletionRequest(CHAT)) == "<|user|>hello"
    messages = [{"role": "user", "content": "hello"}]
    assert engine.asked[2] == ("/tokenize", {"messages": messages, "add_generation_prompt": True})


async def test_vectors_and_scores_of_vllm() -> None:
    vector = {"data": [{"index": 0, "embedding": [0.6, 0.8]}], "usage": {"prompt_tokens": 2}}
    scores = {
        "results": [{"index": 0, "relevance_score": 0.9, "document": {"text": "a"}}],
        "usage": {"total_tokens": 4},
    }
    engine = Engine("vllm", {"/v1/embeddings": vector, "/v1/rerank": scores})
    http = engine.http
    assert (await openai_http.embed(http, ["a"])).vectors == ((0.6, 0.8),)
    assert (await openai_http.rerank(http, "q", ["a"])).values == (0.9,)
    assert all(body["model"] == MODEL for _, body in engine.asked)


async def test_vllms_thoughts_are_thoughts() -> None:
    engine = vllm({"choices": [{"index": 0, "delta": {"reasoning": "hm"}}]}, chat("yes", "stop"))
    assert joined(await engine.complete()).reasoning == "hm"


# transformers serve


async def test_transformers_ends_with_the_reason() -> None:
    last = {**chat("", "length"), "usage": {"prompt_tokens": 4, "completion_tokens": 2, "total_tokens": 6}}
    reply = stream(chat("a"), chat("b"), last, done=False)
    engine = Engine("transformers", {"/v1/chat/completions": reply})
    chunks = await engine.complete(tell_tokens=True)
    assert joined(chunks).text == "ab" and chunks[-1].finish is Finish.LENGTH
    assert chunks[-1].usage.completion_tokens == 2
    assert set(engine.asked[0][1]) <= {"messages", "stream", "temperature", "top_p", "max_tokens", "seed", "stop"}


async def test_transformers_that_breaks_off_is_lost() -> None:
    engine = Engine("transformers", {"/v1/chat/completions": stream(chat("a"), done=False)})
    with pytest.raises(EngineLost):
        await engine.complete()


async def test_an_error_that_is_a_text_is_told() -> None:
    engine = Engine("transformers", {"/v1/completions": stream({"error": "no such thing"}, done=False)})
    with pytest.raises(EngineRefused, match="no such thing"):
        await engine.complete("a")


@pytest.mark.parametrize(("backend", "asked"), [("transformers", {"schema": {}}), ("mlx", {"schema": {}})])
async def test_what_an_engine_cannot_do_is_not_asked_of_it(backend: str, asked: dict[str, Any]) -> None:
    engine = Engine(backend, {})
    with pytest.raises(EngineRefused, match="hold an answer to a schema") as caught:
        await engine.complete(**asked)
    assert caught.value.status == 501 and engine.asked == []


async def test_tokens_that_an_engine_does_not_tell_are_not_to_be_had() -> None:
    http = Engine("mlx", {}).http
    for ask in (
        lambda: openai_http.tokenize(http, "a"),
        lambda: openai_http.detokenize(http, [1]),
        lambda: openai_http.apply_template(http, CompletionRequest(CHAT)),
    ):
        with pytest.raises(EngineRefused, match="this engine cannot"):
            await ask()


# Those that nobody has run yet


@pytest.mark.parametrize("backend", ["exllama", "mlc", "mlx", "tgi"])
async def test_experimental_engines_answer_as_openai_does(backend: str) -> None:
    engine = Engine(backend, {"/v1/chat/completions": stream(chat(" sun"), chat("", "stop"), USAGE)})
    chunks = await engine.complete(sampling=Sampling(repeat_penalty=1.2))
    assert joined(chunks).text == " sun" and chunks[-1].finish is Finish.STOP
    sent = engine.asked[0][1]
    assert "return_progress" not in sent and "repeat_penalty" not in sent
    assert ("model" in sent) == (backend == "mlc")


@pytest.mark.parametrize(
    ("backend", "sent"),
    [
        ("exllama", {"json_schema": {"type": "object"}}),
        ("tgi", {"response_format": {"type": "json", "value": {"type": "object"}}}),
        ("mlc", {"response_format": {"type": "json_object", "schema": '{"type":"object"}'}}),
    ],
)
async def test_schemas_of_those(backend: str, sent: Mapping[str, object]) -> None:
    engine = Engine(backend, {"/v1/chat/completions": stream(chat("{}", "stop"))})
    await engine.complete(schema={})
    assert {name: engine.asked[0][1].get(name) for name in sent} == sent


TOKENS: Mapping[str, tuple[Mapping[str, object], Callable[..., Any], object]] = {
    "TabbyAPI encodes": (
        {"/v1/token/encode": {"tokens": [5, 6], "length": 2}},
        lambda http: openai_http.tokenize(http, "a"),
        [5, 6],
    ),
    "TabbyAPI decodes": (
        {"/v1/token/decode": {"text": "a"}},
        lambda http: openai_http.detokenize(http, [5]),
        "a",
    ),
    "TabbyAPI renders": (
        {"/v1/token/encode": {"tokens": [5]}, "/v1/token/decode": {"text": "<|user|>"}},
        lambda http: openai_http.apply_template(http, CompletionRequest(CHAT)),
        "<|user|>",
    ),
}


@pytest.mark.parametrize(("replies", "ask", "expected"), TOKENS.values(), ids=TOKENS)
async def test_tokens_of_tabbyapi(replies: Mapping[str, object], ask: Callable[..., Any], expected: object) -> None:
    http = Engine("exllama", replies).http
    assert await ask(http) == expected


async def test_tokens_of_tgi_have_texts() -> None:
    reply = [{"id": 7, "text": "a", "start": 0, "stop": 1}]
    http = Engine("tgi", {"/tokenize": reply}).http
    assert await openai_http.tokenize(http, "a") == [7]


MLC_REFUSAL = {
    "object": "error",
    "message": "Request prompt has 600 tokens in total, larger than the model input length limit 512.",
    "code": 400,
}
TABBY_REFUSAL = {
    "error": {
        "message": "Prompt length 600 exceeds the available context size of 512 tokens",
        "type": "invalid_request_error",
        "param": None,
        "code": "context_length_exceeded",
    }
}
TGI_REFUSAL = {
    "error": "Input validation error: `inputs` must have less than 511 tokens. Given: 600",
    "error_type": "validation",
}


@pytest.mark.parametrize(
    ("backend", "reply"),
    [
        ("mlc", reply(400, json.dumps(MLC_REFUSAL))),  # a text that is JSON
        ("exllama", reply(400, TABBY_REFUSAL)),
        ("tgi", reply(422, TGI_REFUSAL)),
    ],
)
async def test_a_prompt_that_is_too_long_for_them_is_known_as_one(backend: str, reply: Reply) -> None:
    with pytest.raises(EngineRefused) as caught:
        await Engine(backend, {"/v1/chat/completions": reply}).complete()
    assert (caught.value.kind, caught.value.prompt_tokens) == ("exceed_context_size_error", 600)


@pytest.mark.parametrize(("backend", "sent"), [("exllama", None), ("tgi", None), ("mlx", CONTEXT), ("mlc", CONTEXT)])
async def test_an_answer_without_end_is_as_long_as_the_context_lets_it(backend: str, sent: int | None) -> None:
    engine = Engine(backend, {"/v1/chat/completions": stream(chat("", "stop"))})
    await engine.complete(sampling=Sampling(num_predict=-1))
    assert engine.asked[0][1].get("max_tokens") == sent


async def test_thoughts_of_mlx_are_thoughts() -> None:
    thought = {"choices": [{"index": 0, "delta": {"role": "assistant", "reasoning": "hm"}}]}
    engine = Engine("mlx", {"/v1/chat/completions": stream(thought, chat("yes", "stop"))})
    answer = joined(await engine.complete(sampling=Sampling(repeat_last_n=-1)))
    assert (answer.reasoning, answer.text) == ("hm", "yes")
    assert "repetition_context_size" not in engine.asked[0][1]


@pytest.mark.parametrize("backend", ["exllama", "mlc"])
async def test_columns_of_probabilities_are_those_of_tokens(backend: str) -> None:
    told = {"tokens": ["z"], "token_logprobs": [-0.5], "top_logprobs": [{"z": -0.5}], "text_offset": [0]}
    event = {"choices": [{"index": 0, "text": "z", "logprobs": told, "finish_reason": "stop"}]}
    engine = Engine(backend, {"/v1/completions": stream(event)})
    assert joined(await engine.complete("x", top_logprobs=1)).logprobs[0].token == "z"


async def test_tgi_is_asked_for_no_adapter_and_not_for_all_tokens() -> None:
    engine = Engine("tgi", {"/v1/chat/completions": stream(chat("", "stop"))})
    await engine.complete(sampling=Sampling(top_p=1.0, repeat_penalty=1.1))
    assert not {"model", "top_p"} & engine.asked[0][1].keys()
    assert engine.asked[0][1]["repetition_penalty"] == 1.1


async def test_tgi_whose_shard_is_gone_is_replaced() -> None:
    gone = {"error": "Request failed during generation: Server error: transport error", "error_type": "generation"}
    engine = Engine("tgi", {"/v1/chat/completions": stream(chat("a"), gone, done=False)})
    with pytest.raises(EngineLost):
        await engine.complete()
    assert len(engine.deaths) == 1
