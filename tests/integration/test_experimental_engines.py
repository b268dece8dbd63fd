"""Engines that are untested with oprel, as processes that take and answer what their source does.

They are for GPUs: a package announces each as one that runs on this machine too, and is the same in all else.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from oprel.client_api import Client
from oprel.core.config import Config
from oprel.core.exceptions import OprelError
from oprel.runtime.binaries.choices import Choices
from oprel.runtime.supervisor import procstat
from tests.conftest import DEADLINE, NOWHERE, RunningDaemon, eventually, running_daemon, temporary_home
from tests.fixtures import packages
from tests.fixtures.fake_openai_engine import DIES, TOKENS, TOO_LONG, WORDS, install
from tests.fixtures.hf_llama import write_tiny_llama

if TYPE_CHECKING:
    import psutil

NAMES = ("exllama", "mlc", "mlx", "tgi")
ANSWER = "".join(WORDS)
HELLO = [{"role": "user", "content": "hello"}]
PACKAGE = """
from dataclasses import replace
from oprel.runtime.backends.engines import exllama, mlc, mlx, tgi
from oprel.runtime.backends.backend import refuses_nothing


def here(backend):
    suited = {"name": f"{backend.name}-here", "suits": {"cpu": 1.0}, "formats": frozenset(("safetensors",))}
    return replace(backend, refuses=refuses_nothing, **suited)


exllama, mlc, mlx, tgi = (here(module.BACKEND) for module in (exllama, mlc, mlx, tgi))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_tiny_llama(tmp_path_factory.mktemp("hf") / "tiny"))


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    site = tmp_path_factory.mktemp("site")
    packages.install(site, "oprel.backends", "\n".join(f"{name}-here = oprel_here:{name}" for name in NAMES), PACKAGE)
    return site


@pytest.fixture(scope="module", params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def daemon(name: str, package: Path) -> Iterator[RunningDaemon]:
    """With one of the engines, which takes half a second to load."""
    with temporary_home() as home, pytest.MonkeyPatch.context() as environment:
        environment.setenv("PYTHONPATH", str(package))
        Choices(f"{name}-here", {f"{name}-here": str(install(home / "engine", name, load=0.5))}).write(home)
        config = Config(home=str(home), server_port=0, ctx_size=4096, hf_endpoint=NOWHERE, ollama_registry=NOWHERE)
        with running_daemon(config) as running:
            yield running


@pytest.fixture
def client(daemon: RunningDaemon) -> Iterator[Client]:
    with daemon.client as client:
        yield client


@pytest.fixture
def processes(client: Client, folder: str) -> "list[psutil.Process]":
    """Those of the engine, which has answered."""
    client.chat(folder, HELLO)
    return procstat.group(client.engines().models[0].pid or 0)


def test_it_chats_and_completes(client: Client, folder: str) -> None:
    whole = client.chat(folder, HELLO)
    assert (whole.message.content, whole.done_reason, whole.eval_count) == (ANSWER, "stop", len(WORDS))
    assert "".join(piece.response for piece in client.generate(folder, "hello", stream=True)) == ANSWER
    assert client.generate(folder, "hello", raw=True).response == ANSWER


def test_it_streams_to_clients_of_openai(daemon: RunningDaemon, folder: str) -> None:
    asked = {"model": folder, "messages": HELLO, "stream": True, "stream_options": {"include_usage": True}, "top_p": 1}
    with httpx.stream("POST", f"{daemon.url}/v1/chat/completions", json=asked, timeout=DEADLINE) as response:
        *events, last = [line.removeprefix("data: ") for line in response.iter_lines() if line]
    found = [json.loads(event) for event in events]
    pieces = [choice["delta"].get("content") or "" for event in found for choice in event["choices"]]
    assert ("".join(pieces), last) == (ANSWER, "[DONE]")
    assert found[-1]["usage"]["completion_tokens"] == len(WORDS)


def test_it_holds_an_answer_to_a_schema_or_says_that_it_cannot(name: str, client: Client, folder: str) -> None:
    """The others take the schema as it is sent to them. The words are no JSON all the same, which the daemon says."""
    why = "this engine cannot hold an answer to a schema" if name == "mlx" else "is not the JSON that `format` asks for"
    with pytest.raises(OprelError, match=why):
        client.chat(folder, HELLO, format={"type": "object"})


def test_an_answer_that_breaks_off_is_made_whole_by_the_next_engine(client: Client, folder: str) -> None:
    pieces = list(client.chat(folder, [{"role": "user", "content": DIES}], stream=True))
    assert "".join(piece.message.content or "" for piece in pieces) == ANSWER
    assert pieces[-1].recoveries == 1


def test_one_that_is_killed_is_started_anew(client: Client, folder: str, processes: "list[psutil.Process]") -> None:
    for process in processes:
        process.kill()
    assert client.chat(folder, HELLO).message.content == ANSWER


def test_nothing_is_left_of_one_that_is_stopped(client: Client, folder: str, processes: "list[psutil.Process]") -> None:
    client.unload(folder)
    assert processes
    eventually(lambda: not any(process.is_running() for process in processes))


def test_tokens_are_told_where_it_tells_them(name: str, daemon: RunningDaemon, folder: str) -> None:
    response = httpx.post(f"{daemon.url}/api/tokenize", json={"model": folder, "text": "hello"}, timeout=DEADLINE)
    if name in ("exllama", "tgi"):
        assert response.json()["tokens"] == TOKENS
    else:
        assert response.status_code == 400 and "this engine cannot tokenize" in response.text


def test_a_prompt_that_is_too_long_is_refused_as_one(name: str, daemon: RunningDaemon, folder: str) -> None:
    asked = {"model": folder, "messages": [{"role": "user", "content": TOO_LONG}], "stream": False, "truncate": False}
    response = httpx.post(f"{daemon.url}/api/chat", json=asked, timeout=DEADLINE)
    if name != "mlx":  # which goes on and on
        assert response.status_code == 400 and "9000" in response.text, response.text
