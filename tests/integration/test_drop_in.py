"""`oprel serve --drop-in` in Ollama's place: its own client finds it by its own variable."""

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import ollama
import pytest

import oprel
from oprel.client.plain.daemon_state import is_up
from oprel.core.config import Config
from tests.conftest import DEADLINE, RunningDaemon, eventually

HELLO = [{"role": "user", "content": "hello"}]
Start = Callable[..., RunningDaemon]


@pytest.fixture
def start(home: Path) -> Iterator[Start]:
    """`start(VARIABLE=value)`: a daemon in Ollama's place, on any free port unless OLLAMA_HOST says else."""
    config = Config(home=str(home))
    log_file = home / "serve.log"

    def begin(**environ: str) -> RunningDaemon:
        command = [sys.executable, "-m", "oprel", "serve", "--drop-in", "--home", str(home)]
        others = {name: value for name, value in os.environ.items() if not name.startswith("OLLAMA_")}
        variables = {**others, "OLLAMA_HOST": "127.0.0.1:0", **environ}
        with log_file.open("wb") as log:
            process = subprocess.Popen(command, env=variables, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        daemon = RunningDaemon(config, process, log_file)
        stack.callback(daemon.end)
        eventually(lambda: is_up(config) or process.poll() is not None)
        return daemon

    with contextlib.ExitStack() as stack:
        yield begin


def test_a_program_for_ollama_needs_no_other_address(start: Start, monkeypatch: pytest.MonkeyPatch, tiny: Path) -> None:
    daemon = start(OLLAMA_HOST="http://127.0.0.1:0/", OLLAMA_CONTEXT_LENGTH="256", OLLAMA_KEEP_ALIVE="-1")
    monkeypatch.setenv("OLLAMA_HOST", daemon.url.removeprefix("http://"))
    with ollama.Client() as client:
        assert client.chat(str(tiny), HELLO, options={"num_predict": 4}).message.content
        (loaded,) = client.ps().models
    assert loaded.context_length == 256
    assert loaded.expires_at and loaded.expires_at.year > 2100


def test_what_is_not_followed_is_said_once_in_the_log(start: Start) -> None:
    log = start(OLLAMA_NOPRUNE="1", OLLAMA_SCHED_SPREAD="1", OLLAMA_NUM_PARALLEL="many").log
    assert log.count("ignored, without a meaning in oprel: OLLAMA_NOPRUNE, OLLAMA_SCHED_SPREAD") == 1
    assert log.count("OLLAMA_NUM_PARALLEL is ignored: 'many' is not a whole number") == 1


def test_an_input_that_is_too_long_for_its_embedding_is_cut(start: Start, tiny: Path) -> None:
    with httpx.Client(base_url=start().url, timeout=DEADLINE, trust_env=False) as http:
        body = {"model": str(tiny), "input": " the sun" * 3000}
        assert len(http.post("/v1/embeddings", json=body).json()["data"][0]["embedding"]) == 64
        assert http.post("/v1/embeddings", json=body | {"truncate": False}).status_code == 400


def test_an_origin_of_ollamas_list_may_call(start: Start) -> None:
    daemon = start(OLLAMA_ORIGINS="https://app.example")
    for origin, allowed in (("https://app.example", True), ("https://other.example", False)):
        with oprel.Client(daemon.url, headers={"Origin": origin}) as client:
            if allowed:
                assert client.list().models
            else:
                with pytest.raises(oprel.ResponseError) as caught:
                    client.list()
                assert caught.value.status_code == 403


def test_ollamas_own_port_in_use_is_explained(start: Start) -> None:
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):  # someone has it: as good
            stack.enter_context(socket.create_server(("127.0.0.1", 11434)))
        daemon = start(OLLAMA_HOST="")
        assert daemon.process.wait(DEADLINE) == 2
    assert "cannot listen on 127.0.0.1:11434" in daemon.log
    assert "Is Ollama running?" in daemon.log
