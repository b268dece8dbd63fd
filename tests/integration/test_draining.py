"""The end of a daemon: answers are finished, newcomers are told, and nothing is left."""

import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from oprel.client.plain.daemon_state import is_up
from tests.conftest import DEADLINE, RunningDaemon, alive, eventually
from tests.fixtures.fake_engine import install

pytestmark = pytest.mark.long

StartDaemon = Callable[..., RunningDaemon]
TURN = [{"role": "user", "content": "hello"}]
# What a newcomer of each dialect asks, and where its error says what happened.
NEWCOMERS: list[tuple[str, dict[str, object], Callable[[Any], str]]] = [
    ("/api/chat", {"messages": TURN}, lambda body: body["error"]),
    ("/api/generate", {"prompt": "hello"}, lambda body: body["error"]),
    ("/api/embed", {"input": "hello"}, lambda body: body["error"]),
    ("/v1/chat/completions", {"messages": TURN}, lambda body: body["error"]["message"]),
    ("/v1/responses", {"input": "hello"}, lambda body: body["error"]["message"]),
    ("/v1/messages", {"messages": TURN, "max_tokens": 5}, lambda body: body["error"]["message"]),
    ("/generate", {"prompt": "hello"}, lambda body: body["error"]["message"]),
    ("/load", {}, lambda body: body["error"]["message"]),
]


@pytest.fixture
def http():
    with httpx.Client(trust_env=False, timeout=DEADLINE) as http:
        yield http


def test_who_comes_over_tcp_is_told_to_come_back(
    start_daemon: StartDaemon, http: httpx.Client, tiny: Path, tmp_path: Path
) -> None:
    program = install(tmp_path / "engine", tokens=60, token_delay=0.1)
    daemon = start_daemon(engine_path=str(program), drain_timeout="1m")
    with daemon.client as client:
        answer = client.generate("guide", "hello", stream=True)
        next(answer)
        daemon.process.terminate()
        eventually(lambda: not is_up(daemon.config))
        for path, question, message in NEWCOMERS:
            refused = http.post(daemon.url + path, json={"model": "guide", **question})
            assert (refused.status_code, refused.headers.get("retry-after")) == (503, "1"), path
            assert "shutting down" in message(refused.json())
        assert http.get(f"{daemon.url}/health").json()["status"] == "draining"
        assert list(answer)[-1].done
    assert daemon.process.wait(DEADLINE) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_it_at_once(
    start_daemon: StartDaemon, tiny: Path, tmp_path: Path, number: signal.Signals
) -> None:
    program = install(tmp_path / "engine", tokens=100_000, token_delay=0.1, ignores=("SIGTERM", "SIGINT"))
    daemon = start_daemon(engine_path=str(program), drain_timeout="10m")
    with daemon.client as client:
        answer = client.generate(str(tiny), "hello", stream=True)
        next(answer)
        (engine,) = client.engines().models
        daemon.process.terminate()
        eventually(lambda: not is_up(daemon.config))
        assert daemon.end(number) == 128 + number
        eventually(lambda: not alive(engine.pid))
    assert list(daemon.config.run_dir.glob("*.sock")) == []


@pytest.fixture
def loading(tmp_path: Path) -> tuple[Path, Path]:
    """An engine that is never done loading, and the file in which it says that it was started."""
    journal = tmp_path / "journal"
    return install(tmp_path / "engine", journal=str(journal), silent_load=600), journal


def test_an_engine_that_is_still_loading_is_stopped(
    start_daemon: StartDaemon, loading: tuple[Path, Path], tiny: Path
) -> None:
    program, journal = loading
    daemon = start_daemon(engine_path=str(program), preload=str(tiny), drain_timeout="10m")
    eventually(journal.exists)
    assert daemon.end() == 0
    assert not alive(int(journal.read_text().split()[1]))


def test_who_waits_for_an_engine_is_told_when_the_time_is_over(
    start_daemon: StartDaemon, loading: tuple[Path, Path], http: httpx.Client, tiny: Path
) -> None:
    program, journal = loading
    daemon = start_daemon(engine_path=str(program), drain_timeout="1s")
    with ThreadPoolExecutor() as pool:
        asked = pool.submit(http.post, f"{daemon.url}/api/generate", json={"model": "guide", "prompt": "hello"})
        eventually(journal.exists)
        assert daemon.end() == 0
        assert (asked.result().status_code, "shutting down" in asked.result().json()["error"]) == (503, True)
    assert not alive(int(journal.read_text().split()[1]))
