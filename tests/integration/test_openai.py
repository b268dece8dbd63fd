"""OpenAI's API through OpenAI's client, with the real engine."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest
import zstandard

from tests.conftest import DEADLINE, RunningDaemon

HELLO: Any = [{"role": "user", "content": "hello"}]
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


@pytest.fixture
def api(shared_daemon: RunningDaemon) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{shared_daemon.url}/v1", api_key="any", max_retries=0) as client:
        yield client


@pytest.fixture
def http(shared_daemon: RunningDaemon) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=shared_daemon.url, timeout=DEADLINE) as client:
        yield client


def test_an_answer_is_the_same_streamed_or_not(api: openai.OpenAI) -> None:
    whole = api.chat.completions.create(model="guide", messages=HELLO, temperature=0)
    stream = api.chat.completions.create(
        model="guide", messages=HELLO, temperature=0, stream=True, stream_options={"include_usage": True}
    )
    *pieces, usage = list(stream)
    text = "".join(piece.choices[0].delta.content or "" for piece in pieces)
    assert text == whole.choices[0].message.content
    assert usage.usage and whole.usage and usage.usage.completion_tokens == whole.usage.completion_tokens
    assert len({piece.id for piece in pieces}) == 1
    assert [piece.choices[0].delta.role for piece in pieces if piece.choices[0].delta.role] == ["assistant"]


def test_several_answers_at_once(api: openai.OpenAI) -> None:
    one = api.chat.completions.create(model="guide", messages=HELLO, temperature=0)
    two = api.chat.completions.create(model="guide", messages=HELLO, temperature=0, n=2)
    assert [choice.message.content for choice in two.choices] == [one.choices[0].message.content] * 2
    assert two.usage and one.usage and two.usage.completion_tokens == 2 * one.usage.completion_tokens


def test_more_answers_than_the_engine_has_slots_are_refused_in_words(api: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="'n'"):
        api.chat.completions.create(model="guide", messages=HELLO, n=100)


def test_a_required_tool_is_called_and_its_arguments_stream(api: openai.OpenAI) -> None:
    question: Any = [{"role": "user", "content": "What is the weather in Paris?"}]
    stream = api.chat.completions.create(
        model="guide", messages=question, tools=[WEATHER], tool_choice="required", temperature=0, stream=True,
        reasoning_effort="none",
    )  # fmt: skip
    calls = [call for piece in stream for choice in piece.choices for call in choice.delta.tool_calls or []]
    parts = [call.function for call in calls if call.function]
    assert parts[0].name == "get_weather"
    assert json.loads("".join(part.arguments or "" for part in parts)).keys() == {"city"}
    assert len(parts) > 2, "the arguments came in pieces"


def test_no_tool_is_called_when_none_may_be(api: openai.OpenAI) -> None:
    question: Any = [{"role": "user", "content": "What is the weather in Paris?"}]
    reply = api.chat.completions.create(model="guide", messages=question, tools=[WEATHER], tool_choice="none")
    assert reply.choices[0].message.tool_calls is None


def test_a_schema_is_kept_to(api: openai.OpenAI) -> None:
    schema: Any = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    reply = api.chat.completions.create(
        model="guide",
        messages=HELLO,
        max_tokens=200,
        response_format={"type": "json_schema", "json_schema": {"name": "n", "schema": schema}},
    )
    assert reply.choices[0].finish_reason in ("stop", "length")
    if reply.choices[0].finish_reason == "stop":
        assert isinstance(json.loads(reply.choices[0].message.content or "")["n"], int)


def test_a_bias_keeps_a_token_away(api: openai.OpenAI, http: httpx.Client) -> None:
    (token,) = http.post("/api/tokenize", json={"model": "guide", "text": "!"}).json()["tokens"]
    said = api.chat.completions.create(model="guide", messages=HELLO, temperature=0)
    assert "!" in (said.choices[0].message.content or "")
    biased = api.chat.completions.create(
        model="guide", messages=HELLO, temperature=0, logit_bias={str(token): -100}, max_tokens=30
    )
    assert "!" not in (biased.choices[0].message.content or "")


def test_logprobs_are_told(api: openai.OpenAI) -> None:
    reply = api.chat.completions.create(model="guide", messages=HELLO, logprobs=True, top_logprobs=3, max_tokens=4)
    assert reply.choices[0].logprobs and reply.choices[0].logprobs.content
    assert all(len(one.top_logprobs) == 3 for one in reply.choices[0].logprobs.content)


def test_text_completions_take_a_list_and_answer_in_its_order(api: openai.OpenAI) -> None:
    asked = ["hello", "How do I list my models?"]
    reply = api.completions.create(model="guide", prompt=asked, temperature=0, max_tokens=60)
    assert [choice.index for choice in reply.choices] == [0, 1]
    alone = [api.completions.create(model="guide", prompt=one, temperature=0, max_tokens=60) for one in asked]
    assert [choice.text for choice in reply.choices] == [one.choices[0].text for one in alone]
    assert reply.usage and reply.usage.completion_tokens == sum(
        one.usage.completion_tokens for one in alone if one.usage
    )


def test_a_text_completion_streams_what_it_says_whole(api: openai.OpenAI) -> None:
    whole = api.completions.create(model="guide", prompt="hello", temperature=0, max_tokens=60)
    pieces = list(api.completions.create(model="guide", prompt="hello", temperature=0, max_tokens=60, stream=True))
    assert "".join(piece.choices[0].text for piece in pieces) == whole.choices[0].text
    assert [piece.choices[0].finish_reason for piece in pieces][-1] == "stop"


def test_embeddings_are_the_same_in_both_encodings(api: openai.OpenAI) -> None:
    plain = api.embeddings.create(model="guide", input=["the sun", "the moon"], encoding_format="float")
    packed = api.embeddings.create(model="guide", input=["the sun", "the moon"])  # base64, as this client asks
    assert len(plain.data) == 2
    for one, other in zip(plain.data, packed.data, strict=True):
        assert one.embedding == pytest.approx(other.embedding, abs=1e-3)


def test_models_are_listed_and_found(api: openai.OpenAI) -> None:
    assert "guide:latest" in [model.id for model in api.models.list()]
    assert api.models.retrieve("guide").id == "guide"
    with pytest.raises(openai.NotFoundError):
        api.models.retrieve("nonesuch")


def test_errors_are_openais(api: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as missing:
        api.chat.completions.create(model="nonesuch", messages=HELLO)
    assert missing.value.body == {
        "message": "model 'nonesuch' not found. `oprel pull nonesuch` fetches it, if a source has it; "
        "`oprel list` shows the names there are.",
        "type": "not_found_error",
        "param": None,
        "code": "model_not_found",
    }
    with pytest.raises(openai.BadRequestError, match="is too short - 'messages'"):
        api.chat.completions.create(model="guide", messages=[])


def test_a_body_may_come_compressed(http: httpx.Client) -> None:
    body = json.dumps({"model": "guide", "messages": HELLO, "max_tokens": 2}).encode()
    packed = zstandard.compress(body)
    reply = http.post("/v1/chat/completions", content=packed, headers={"content-encoding": "zstd"})
    assert reply.status_code == 200


def test_extension_fields_reach_the_engine(http: httpx.Client) -> None:
    body = {"model": "tiny", "messages": HELLO, "max_tokens": 1, "options": {"num_ctx": 64}, "keep_alive": "7m"}
    assert http.post("/v1/chat/completions", json=body).status_code == 200


def test_tokens_go_there_and_back(http: httpx.Client) -> None:
    tokens = http.post("/api/tokenize", json={"model": "guide", "text": "How do I list my models?"}).json()["tokens"]
    assert len(tokens) > 3
    back = http.post("/api/detokenize", json={"model": "guide", "tokens": tokens}).json()
    assert back == {"model": "guide", "text": "How do I list my models?"}
