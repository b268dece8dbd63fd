"""`context`, the tokens of a conversation, and what happens where an answer reaches the end of the context."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from oprel.core.completion import CompletionRequest, Finish, PromptMessage, Sampling
from oprel.core.config import Config
from oprel.core.home import prepare_home
from oprel.core.models.manifests import Manifest
from oprel.core.names import GUIDE
from oprel.runtime.backends.openai import http as openai_http
from oprel.runtime.binaries.engine_binaries import EngineBinaries, find_binaries
from oprel.runtime.http import EngineHttp
from oprel.server.inference import completions
from oprel.server.inference.completions import Done
from oprel.server.inference.jobs import Job
from oprel.server.models.library import Library
from oprel.server.pool.manager import ModelManager
from tests.fixtures.daemons import daemon_with

NARROW = 64  # tokens
EXACT = {"temperature": 0}


@pytest.fixture(scope="module")
def http(endless: Path) -> Iterator[httpx.Client]:
    with daemon_with(Manifest(name="talker", weights=endless, parameters={"num_ctx": NARROW})) as http:
        yield http


def generate(http: httpx.Client, prompt: str, **fields: object) -> Any:
    body = {"model": GUIDE, "prompt": prompt, "think": False, "stream": False, "options": EXACT, **fields}
    return http.post("/api/generate", json=body).raise_for_status().json()


def tokens(http: httpx.Client, text: str) -> list[int]:
    found: list[int] = http.post("/api/tokenize", json={"model": GUIDE, "text": text}).json()["tokens"]
    return found


def test_a_conversation_goes_on_by_its_context(http: httpx.Client):
    met = generate(http, "My name is Anna.")
    asked = generate(http, "What is my name?", context=met["context"])
    assert "Anna" in asked["response"]
    again = generate(http, "And once more: what is my name?", context=asked["context"])
    assert "Anna" in again["response"]
    assert "Anna" not in generate(http, "What is my name?")["response"]


def test_a_context_is_everything_the_model_read_and_said(http: httpx.Client):
    first = generate(http, "My name is Anna.")
    second = generate(http, "What is my name?", context=first["context"])
    said = tokens(http, second["response"])
    assert second["context"][: len(first["context"])] == first["context"]
    assert second["context"][-len(said) :] == said
    assert len(second["context"]) == second["prompt_eval_count"] + len(said)


def test_only_the_prompt_is_tokenized_for_a_context(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    texts: list[str] = []
    asked = openai_http.tokenize

    async def counted(http: EngineHttp, text: str, *, parse: bool = True, begin: bool = True) -> list[int]:
        texts.append(text)
        return await asked(http, text, parse=parse, begin=begin)

    async def scenario() -> Done:
        manager = ModelManager(config, EngineBinaries(find_binaries(config)), config.run_dir)
        try:
            model = await Library(config).find(GUIDE, may_use_paths=False)
            request = CompletionRequest((PromptMessage("user", "hi"),), Sampling(temperature=0), think=False)
            *_, done = [piece async for piece in completions.run(manager, Job(model, request, context=()))]
            assert isinstance(done, Done)
            return done
        finally:
            await manager.close()

    monkeypatch.setattr(openai_http, "tokenize", counted)
    prepare_home(config)
    done = asyncio.run(scenario())
    assert done.finish is Finish.STOP and done.text not in texts and len(texts) == 1
    assert done.context and len(done.context) > done.usage.prompt_tokens


def test_raw_answers_have_no_context(http: httpx.Client):
    assert "context" not in generate(http, "My name is", raw=True, options={"num_predict": 2})


def talk(http: httpx.Client, **fields: object) -> Any:
    return generate(http, "tell me", model="talker", **fields)


def test_without_shift_an_answer_ends_where_the_context_does(http: httpx.Client):
    answer = talk(http, shift=False)
    assert (answer["done_reason"], answer["ended_by"]) == ("length", "context")
    assert answer["prompt_eval_count"] + answer["eval_count"] == NARROW
    assert "truncated" not in answer


def test_with_shift_an_answer_goes_on_and_says_so(http: httpx.Client):
    answer = talk(http, options=EXACT | {"num_predict": 2 * NARROW})
    assert (answer["ended_by"], answer["eval_count"]) == ("num_predict", 2 * NARROW)
    assert answer["truncated"] == {"messages": 0, "tokens": 0, "shifted": True}


def test_a_talker_is_stopped_after_ten_contexts(http: httpx.Client):
    assert talk(http)["eval_count"] == 10 * NARROW


def test_an_answer_that_fits_says_nothing_of_a_shift(http: httpx.Client):
    assert "truncated" not in talk(http, options=EXACT | {"num_predict": 8})
