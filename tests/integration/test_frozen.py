"""A daemon and its engines are stopped in the middle of their work, and go on as if no time had passed."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.conftest import DEADLINE, RunningDaemon, eventually
from tests.fixtures.fake_engine import install
from tests.fixtures.frozen import freeze

pytestmark = pytest.mark.long

SHORT = "3s"  # the limits of these daemons
LONG = 5.0  # s without being able to run: the limits, and what a clock takes for a gap
WHOLE = " t0 t1 t2 t3 t4"

StartDaemon = Callable[..., RunningDaemon]


@pytest.fixture
def elsewhere() -> Iterator[ThreadPoolExecutor]:
    """Threads for clients that wait."""
    with ThreadPoolExecutor(max_workers=2) as threads:
        yield threads


def starts(journal: Path) -> int:
    return journal.read_text().count("start ") if journal.exists() else 0


def http_to(daemon: RunningDaemon) -> httpx.Client:
    """Not oprel's own client, which gives up a daemon that is stopped."""
    return httpx.Client(base_url=daemon.url, timeout=DEADLINE, trust_env=False)


def generate(http: httpx.Client, model: Path) -> str:
    body = {"model": str(model), "prompt": "hello", "stream": False}
    return str(http.post("/api/generate", json=body).json()["response"])


def after_the_first_token(http: httpx.Client, model: Path, act: Callable[[], None]) -> str:
    """A whole answer; `act` happens in its middle."""
    text, last = "", {}
    with http.stream("POST", "/api/generate", json={"model": str(model), "prompt": "hello"}) as answer:
        for line in answer.iter_lines():
            last = json.loads(line)
            if not text:
                act()
            text += last["response"]
    assert last["done"]
    return text


def test_a_load_goes_on(start_daemon: StartDaemon, elsewhere: ThreadPoolExecutor, home: Path, tiny: Path) -> None:
    journal = home / "journal"
    program = install(home / "engine", silent_load=2.5, journal=str(journal))
    daemon = start_daemon(engine_path=str(program), load_timeout=SHORT)
    with http_to(daemon) as http:
        answer = elsewhere.submit(generate, http, tiny)
        eventually(lambda: starts(journal) == 1 and any((daemon.config.run_dir / "engines").iterdir()))
        freeze(daemon, LONG)
        assert answer.result() == WHOLE
    assert starts(journal) == 1 and "made no progress" not in daemon.log
    assert "nothing could run for" in daemon.log


def test_an_answer_goes_on(start_daemon: StartDaemon, home: Path, tiny: Path) -> None:
    journal = home / "journal"
    program = install(home / "engine", token_delay=0.3, journal=str(journal))
    daemon = start_daemon(engine_path=str(program), stall_timeout=SHORT)
    with http_to(daemon) as http:
        assert after_the_first_token(http, tiny, lambda: freeze(daemon, LONG)) == WHOLE
    assert starts(journal) == 1


def test_an_idle_model_keeps_the_rest_of_its_time(start_daemon: StartDaemon, home: Path, tiny: Path) -> None:
    daemon = start_daemon(engine_path=str(install(home / "engine")), keep_alive=SHORT)
    with http_to(daemon) as http:
        generate(http, tiny)
        freeze(daemon, LONG)
        assert len(http.get("/api/ps").json()["models"]) == 1
        eventually(lambda: not http.get("/api/ps").json()["models"])


def test_a_daemon_that_ends_lets_the_answer_finish(start_daemon: StartDaemon, home: Path, tiny: Path) -> None:
    program = install(home / "engine", token_delay=0.3)
    daemon = start_daemon(engine_path=str(program), drain_timeout=SHORT)

    def end() -> None:
        daemon.process.terminate()
        eventually(lambda: "shutting down" in daemon.log)
        freeze(daemon, LONG)

    with http_to(daemon) as http:
        assert after_the_first_token(http, tiny, end) == WHOLE
