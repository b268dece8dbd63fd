"""An engine that keeps dying, and a model that everybody wants at once."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from oprel.runtime.restarts import MOST
from tests.conftest import DEADLINE, RunningDaemon, eventually
from tests.fixtures import fake_engine

pytestmark = pytest.mark.long


@pytest.fixture
def http() -> Iterator[httpx.Client]:
    with httpx.Client(timeout=DEADLINE) as client:
        yield client


def ask(http: httpx.Client, daemon: RunningDaemon, model: Path, prompt: str = "hello") -> httpx.Response:
    body = {"model": str(model), "prompt": prompt, "stream": False, "keep_alive": 0}
    return http.post(f"{daemon.url}/api/generate", json=body)


def test_a_crash_loop_ends_in_503_with_the_reason_and_when_to_try_again(
    start_daemon: Callable[..., RunningDaemon], http: httpx.Client, home: Path, tiny: Path
) -> None:
    """Even where each request lets the engine go: what happened is remembered longer."""
    journal = home / "journal"
    program = fake_engine.install(home / "engine", exit_at_start=3, log_at_start="no luck", journal=str(journal))
    daemon = start_daemon(engine_path=str(program))
    replies = [ask(http, daemon, tiny) for _ in range(MOST + 2)]
    assert [reply.status_code for reply in replies] == [500] * MOST + [503] * 2
    assert journal.read_text().count("start ") == MOST
    assert 60 < int(replies[-1].headers["retry-after"]) <= 600
    assert "exit status 3: no luck" in replies[-1].json()["error"]


def test_a_damaged_engine_flag_is_not_tried_again_at_once(
    start_daemon: Callable[..., RunningDaemon], http: httpx.Client, home: Path, tiny: Path
) -> None:
    program = fake_engine.install(home / "engine", exit_at_start=1, log_at_start="error: unknown argument: --nonesuch")
    daemon = start_daemon(engine_path=str(program))
    assert [ask(http, daemon, tiny).status_code for _ in range(2)] == [500, 503]


def test_a_model_that_was_replaced_is_tried_anew(
    start_daemon: Callable[..., RunningDaemon], http: httpx.Client, home: Path, tiny: Path
) -> None:
    model = home / "m.gguf"
    model.write_bytes(tiny.read_bytes())
    program = fake_engine.install(home / "engine", exit_at_start=1, log_at_start="invalid magic")
    daemon = start_daemon(engine_path=str(program))
    assert [ask(http, daemon, model).status_code for _ in range(2)] == [500, 503]
    fake_engine.install(home / "engine")
    model.write_bytes(tiny.read_bytes() + b" ")
    assert ask(http, daemon, model).status_code == 200


def test_a_stop_ends_the_wait_for_another_start(
    start_daemon: Callable[..., RunningDaemon], http: httpx.Client, home: Path, tiny: Path
) -> None:
    journal = home / "journal"
    program = fake_engine.install(home / "engine", exit_at_start=3, journal=str(journal))
    daemon = start_daemon(engine_path=str(program), drain_timeout="100ms")
    for _ in range(MOST - 2):
        ask(http, daemon, tiny)
    with ThreadPoolExecutor(1) as pool, daemon.client as client:
        waiting = pool.submit(ask, http, daemon, tiny)
        eventually(lambda: [model.state for model in client.engines().models] == ["backing_off"])
        assert daemon.end() == 0
        assert waiting.result().status_code == 503
    assert journal.read_text().count("start") == MOST - 2, "it did not wait for the start"


def test_no_more_requests_wait_than_may(
    start_daemon: Callable[..., RunningDaemon], http: httpx.Client, home: Path, tiny: Path
) -> None:
    program = fake_engine.install(home / "engine", tokens=500, token_delay=0.01)
    daemon = start_daemon(engine_path=str(program), parallel=1, max_queue=1)

    with ThreadPoolExecutor(2) as pool, daemon.client as client:
        answers = [pool.submit(ask, http, daemon, tiny) for _ in range(2)]
        eventually(lambda: sum(model.in_flight for model in client.engines().models) == 2)
        refused = ask(http, daemon, tiny)
        assert refused.status_code == 503
        assert refused.json()["error"] == "server busy, please try again.  maximum pending requests exceeded"
        assert refused.headers["retry-after"] == "1"
        assert [answer.result().status_code for answer in answers] == [200, 200]
