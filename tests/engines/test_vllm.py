"""A folder of safetensors, served by real vLLM under every dialect; and what happens when its processes are killed."""

import json
import math
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import psutil
import pytest
from pydantic import JsonValue

from oprel.core.exceptions import ContextLengthError
from oprel.runtime.supervisor import procstat
from tests.conftest import RunningDaemon, eventually
from tests.engines.conftest import STARTING
from tests.fixtures.hf_llama import SHAPE

ENGINE, ARGUMENTS = "vllm", "--enforce-eager"
GREEDY = {"temperature": 0, "num_predict": 40}
HELLO = [{"role": "user", "content": "hello"}]

pytestmark = [pytest.mark.engines, pytest.mark.timeout(STARTING)]


@pytest.fixture
def model(folder: Path, daemon: RunningDaemon) -> str:
    """Loaded."""
    with daemon.client as client:
        client.generate(str(folder))
    return str(folder)


@pytest.fixture
def v1(daemon: RunningDaemon) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{daemon.url}/v1", api_key="-") as client:
        yield client


@pytest.fixture
def answer(model: str, daemon: RunningDaemon) -> str:
    """What an undisturbed engine says."""
    with daemon.client as client:
        return client.chat(model, HELLO, options=GREEDY).message.content or ""


def group(daemon: RunningDaemon) -> list[psutil.Process]:
    """The engine's processes."""
    with daemon.client as client:
        pid = client.engines().models[0].pid
    return procstat.group(pid) if pid else []


def kill(daemon: RunningDaemon, name: str) -> None:
    one = next(process for process in group(daemon) if name in " ".join(process.cmdline()))
    one.send_signal(signal.SIGKILL)


def test_chat_and_generate_streamed_and_not(model: str, answer: str, daemon: RunningDaemon) -> None:
    assert answer.strip()
    with daemon.client as client:
        pieces = list(client.chat(model, HELLO, options=GREEDY, stream=True))
        assert "".join(piece.message.content or "" for piece in pieces) == answer
        assert pieces[-1].done_reason in ("stop", "length") and pieces[-1].eval_count
        said = client.generate(model, "hello", options=GREEDY).response
        assert said == answer
        assert "".join(piece.response for piece in client.generate(model, "hello", options=GREEDY, stream=True)) == said
        assert client.ps().models[0].details.format == "safetensors"


def test_openais_api_streamed_and_not(model: str, answer: str, v1: openai.OpenAI) -> None:
    whole = v1.chat.completions.create(model=model, messages=HELLO, temperature=0, max_tokens=40)  # type: ignore[arg-type]
    assert whole.choices[0].message.content == answer and whole.usage and whole.usage.completion_tokens
    asked: Any = {"model": model, "messages": HELLO, "temperature": 0, "max_tokens": 40, "stream": True}
    stream = v1.chat.completions.create(**asked)
    assert "".join(piece.choices[0].delta.content or "" for piece in stream if piece.choices) == answer


def test_probabilities_and_formats(model: str, v1: openai.OpenAI, daemon: RunningDaemon) -> None:
    told = v1.chat.completions.create(
        model=model,
        messages=HELLO,  # type: ignore[arg-type]
        max_tokens=3,
        logprobs=True,
        top_logprobs=2,
    )
    assert told.choices[0].logprobs and len((told.choices[0].logprobs.content or [])[0].top_logprobs) == 2
    schema: dict[str, JsonValue] = {
        "type": "object",
        "properties": {"a": {"enum": [1, 2]}},
        "required": ["a"],
        "additionalProperties": False,
    }
    with daemon.client as client:
        said = client.chat(model, HELLO, format=schema, options={"num_predict": 450, "seed": 1}).message.content or ""
    assert json.loads(said) in ({"a": 1}, {"a": 2})


def test_a_prompt_that_is_too_long_is_cut_or_refused(model: str, daemon: RunningDaemon) -> None:
    with daemon.client as client:
        cut = client.generate(model, "hello " * 3000, options=GREEDY)
        assert cut.truncated and cut.done
        with pytest.raises(ContextLengthError):
            client.generate(model, "hello " * 3000, options=GREEDY, truncate=False)


def test_tokens(model: str, daemon: RunningDaemon) -> None:
    with httpx.Client(base_url=daemon.url) as http:
        tokens = http.post("/api/tokenize", json={"model": model, "text": " sun moon"}).json()["tokens"]
        text = http.post("/api/detokenize", json={"model": model, "tokens": tokens}).json()["text"]
    assert len(tokens) == 2 and text == " sun moon"


def test_vectors(model: str, daemon: RunningDaemon) -> None:
    """By an engine of their own."""
    with daemon.client as client:
        one, other = client.embed(model, ["hello", "the sun"]).embeddings
        client.unload(model)
    assert len(one) == len(other) == SHAPE.width and one != other
    assert math.hypot(*one) == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("name", ["VLLM::EngineCore", "vllm serve"])
def test_an_answer_outlives_a_killed_process(model: str, daemon: RunningDaemon, name: str) -> None:
    """The engine core, in the middle of an answer: the rest comes from the next engine. The server, when it is idle."""
    options = {"temperature": 0, "num_predict": 300}
    with daemon.client as client:
        whole = client.generate(model, "hello", options=options).response
        pieces = iter(client.generate(model, "hello", options=options, stream=True))
        begun = next(pieces)
        kill(daemon, name)
        rest = list(pieces)
    assert begun.response + "".join(piece.response for piece in rest) == whole
    assert rest[-1].done


@pytest.mark.parametrize("name", ["VLLM::EngineCore", "VLLM::Worker", "vllm serve"])
def test_an_idle_engine_whose_process_was_killed_is_replaced(
    model: str, answer: str, daemon: RunningDaemon, name: str
) -> None:
    kill(daemon, name)
    with daemon.client as client:
        assert client.chat(model, HELLO, options=GREEDY).message.content == answer


def test_nothing_is_left_of_a_daemon_that_was_killed(model: str, daemon: RunningDaemon) -> None:
    """The last of these tests, as no daemon is left for others."""
    processes = group(daemon)
    assert len(processes) >= 3
    daemon.end(signal.SIGKILL)
    eventually(lambda: not any(process.is_running() for process in processes))
