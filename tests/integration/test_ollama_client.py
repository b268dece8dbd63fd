"""The official Ollama client, unmodified, against a live daemon."""

import math
from collections.abc import AsyncIterator, Iterator

import ollama
import pytest

from tests.conftest import RunningDaemon

HELLO = [{"role": "user", "content": "hello"}]
SHORT = {"num_predict": 8, "seed": 7}


@pytest.fixture
def client(shared_daemon: RunningDaemon) -> Iterator[ollama.Client]:
    with ollama.Client(host=shared_daemon.url) as client:
        yield client


@pytest.fixture
async def async_client(shared_daemon: RunningDaemon) -> AsyncIterator[ollama.AsyncClient]:
    async with ollama.AsyncClient(host=shared_daemon.url) as client:
        yield client


def test_generate_answers_with_every_figure(client: ollama.Client):
    reply = client.generate("tiny", "hello", options=SHORT)
    assert reply.done and reply.done_reason == "length"
    assert reply.response
    assert reply.eval_count == 8
    assert reply.context
    for figure in (reply.total_duration, reply.load_duration, reply.prompt_eval_count, reply.eval_duration):
        assert figure is not None and figure > 0


def test_generate_streams_the_same_text_that_it_gives_whole(client: ollama.Client):
    pieces = list(client.generate("tiny", "hello", stream=True, options=SHORT))
    assert len(pieces) > 2
    assert [piece.done for piece in pieces] == [False] * (len(pieces) - 1) + [True]
    assert "".join(piece.response or "" for piece in pieces) == client.generate("tiny", "hello", options=SHORT).response


def test_chat_answers_as_the_assistant(client: ollama.Client):
    reply = client.chat("tiny", HELLO, options=SHORT)
    assert reply.message.role == "assistant"
    assert reply.message.content
    assert reply.done_reason == "length"


def test_chat_streams(client: ollama.Client):
    pieces = list(client.chat("tiny", HELLO, stream=True, options=SHORT))
    assert "".join(piece.message.content or "" for piece in pieces)
    assert pieces[-1].done and pieces[-1].message.content == ""


async def test_generate_and_chat_work_asynchronously(async_client: ollama.AsyncClient):
    assert (await async_client.generate("tiny", "hello", options=SHORT)).response
    assert (await async_client.chat("tiny", HELLO, options=SHORT)).message.content


async def test_generate_and_chat_stream_asynchronously(async_client: ollama.AsyncClient):
    generated = [piece async for piece in await async_client.generate("tiny", "hello", stream=True, options=SHORT)]
    chatted = [piece async for piece in await async_client.chat("tiny", HELLO, stream=True, options=SHORT)]
    assert generated[-1].done and chatted[-1].done


def test_embed_gives_one_unit_vector_an_input(client: ollama.Client):
    reply = client.embed("tiny", ["the sun", "the moon"])
    assert len(reply.embeddings) == 2
    assert all(math.isclose(math.hypot(*vector), 1.0, abs_tol=1e-5) for vector in reply.embeddings)
    assert reply.prompt_eval_count


def test_embeddings_gives_a_single_vector(client: ollama.Client):
    assert len(client.embeddings("tiny", "the sun").embedding) == 64


def test_list_shows_the_model_with_its_details(client: ollama.Client):
    model = next(model for model in client.list().models if model.model == "tiny:latest")

    assert model.size and model.size > 100_000
    assert model.digest and len(model.digest) == 64
    assert model.modified_at is not None
    assert model.details and model.details.quantization_level == "F16"


def test_show_tells_what_the_file_says(client: ollama.Client):
    shown = client.show("tiny")
    assert shown.modelinfo and shown.modelinfo["general.architecture"] == "llama"
    assert shown.capabilities == ["completion"]
    assert shown.template and "<|im_start|>" in shown.template


def test_ps_shows_what_is_loaded(client: ollama.Client):
    client.generate("tiny", "hello", options=SHORT)
    models = client.ps().models
    assert "tiny:latest" in [model.model for model in models]
    assert all(model.expires_at and model.context_length for model in models)


@pytest.mark.parametrize("method", ["generate", "chat", "show"])
def test_an_unknown_model_is_not_found(client: ollama.Client, method: str):
    with pytest.raises(ollama.ResponseError, match="model 'nonesuch' not found") as caught:
        getattr(client, method)("nonesuch")
    assert caught.value.status_code == 404


def test_an_unknown_model_is_not_found_for_embedding(client: ollama.Client):
    with pytest.raises(ollama.ResponseError, match='model "nonesuch" not found, try pulling it first') as caught:
        client.embed("nonesuch", "x")
    assert caught.value.status_code == 404


async def test_an_unknown_model_is_not_found_asynchronously(async_client: ollama.AsyncClient):
    with pytest.raises(ollama.ResponseError) as caught:
        await async_client.chat("nonesuch", HELLO)
    assert caught.value.status_code == 404
