"""Looking at a daemon: its figures, the logs of its engines, what is kept of crashes, and requests in quarantine."""

import threading
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from oprel import AsyncClient
from oprel.core.config import Config
from oprel.core.exceptions import ModelNotFoundError, QuarantinedError
from oprel.core.models.manifests import Manifest, Manifests
from tests.conftest import DEADLINE, RunningDaemon
from tests.fixtures.fake_engine import install, told

SECRET = "my own secret"
POISON = f"{SECRET} {told(die_at_token=1, dies_of='SIGSEGV')}"

Start = Callable[..., RunningDaemon]


@pytest.fixture
def start_fake(start_daemon: Start, config: Config, tiny: Path, home: Path) -> Start:
    Manifests(config.models_dir).put(Manifest(name="tiny:latest", weights=tiny))
    return lambda **settings: start_daemon(engine_path=str(install(home / "engine", log_at_start="hello")), **settings)


@pytest.fixture
def daemon(start_fake: Start) -> RunningDaemon:
    return start_fake()


@pytest.fixture
def poisoned(daemon: RunningDaemon) -> RunningDaemon:
    """A daemon of which a request has ended two engines."""
    crash(daemon)
    return daemon


def crash(daemon: RunningDaemon) -> None:
    with daemon.client as client, pytest.raises(QuarantinedError):
        client.generate("tiny", POISON)


def figures(daemon: RunningDaemon) -> dict[tuple[str, ...], float]:
    text = httpx.get(f"{daemon.url}/metrics", trust_env=False, timeout=DEADLINE).raise_for_status().text
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


# Figures


def test_an_answer_shows_in_the_figures(daemon: RunningDaemon) -> None:
    with daemon.client as client:
        client.generate("tiny", "hello")
    found = figures(daemon)
    assert found["oprel_requests_total", "ok", "tiny:latest"] == 1
    assert found["oprel_first_token_seconds_count", "tiny:latest"] == 1
    assert found["oprel_generated_tokens_total", "tiny:latest"] == 5
    assert found["oprel_loads_total", "ready", "tiny:latest"] == 1
    assert found["oprel_engines", "ready"] == 1
    assert found["oprel_slots", "completion", "tiny:latest"] == 8
    expected, reserved = (
        found[f"oprel_engine_memory_{figure}_bytes", "completion", "tiny:latest"] for figure in ("expected", "reserved")
    )
    assert 0 < expected < reserved  # a saved conversation or two


def test_a_crash_shows_in_the_figures(poisoned: RunningDaemon) -> None:
    found = figures(poisoned)
    assert found["oprel_restarts_total", "crash_signal", "tiny:latest"] == 1
    assert found["oprel_quarantined_total", "tiny:latest"] == 1
    assert found["oprel_requests_total", "quarantined", "tiny:latest"] == 1


# Logs


def test_an_engines_last_lines_are_told(daemon: RunningDaemon) -> None:
    with daemon.client as client:
        client.load("tiny")
        assert "hello" in list(client.logs("tiny"))


def test_the_log_of_an_engine_that_is_gone_can_still_be_read(daemon: RunningDaemon) -> None:
    with daemon.client as client:
        client.load("tiny")
        client.unload("tiny")
        assert "hello" in list(client.logs("tiny"))


@pytest.mark.parametrize(("model", "said"), [("tiny", "was not loaded"), ("nonesuch", "not found")])
def test_a_log_that_there_is_not_is_an_error(daemon: RunningDaemon, model: str, said: str) -> None:
    with daemon.client as client, pytest.raises(ModelNotFoundError, match=said):
        list(client.logs(model))


def test_a_log_is_followed_until_the_model_is_unloaded(daemon: RunningDaemon) -> None:
    with daemon.client as client:
        client.load("tiny")
        lines = client.logs("tiny", follow=True)
        assert "hello" in (next(lines), next(lines))
        rest = threading.Thread(target=lambda: list(lines))
        rest.start()
        client.unload("tiny")
        rest.join(20)
        assert not rest.is_alive()


async def test_the_async_client_follows_a_log_too(daemon: RunningDaemon) -> None:
    async with AsyncClient(f"unix:{daemon.config.socket_path}") as client:
        await client.load("tiny")
        async for line in await client.logs("tiny", follow=True):
            if line == "hello":
                break


# Crashes


def test_what_is_known_of_a_crash_is_kept(poisoned: RunningDaemon) -> None:
    with poisoned.client as client:
        newest, first = client.crashes().crashes
        found = client.crash(newest.id)
        assert client.crash(first.id).starts == 1
    assert (found.model, found.reason, found.detail, found.starts) == ("tiny:latest", "crash_signal", "SIGSEGV", 2)
    assert found.engine.name == poisoned.config.engine_path
    assert found.command[0] == found.engine.name
    assert "hello" in found.log
    assert found.served_seconds > 0
    (request,) = found.requests
    assert request.characters >= len(POISON)
    assert request.prompt is None


def test_a_prompt_is_in_no_file_unless_the_setting_allows_it(poisoned: RunningDaemon) -> None:
    with poisoned.client as client:
        client.crashes()  # waits until the last report is written
    files = list((poisoned.config.home_dir / "crashes").iterdir())
    assert len(files) == 2
    assert [file for file in files if SECRET in file.read_text()] == []


def test_a_prompt_is_kept_where_the_setting_allows_it(start_fake: Start) -> None:
    daemon = start_fake(crash_prompts="on")
    crash(daemon)
    with daemon.client as client:
        assert SECRET in str(client.crash("tiny").requests[0].prompt)


def test_crashes_outlive_the_daemon(poisoned: RunningDaemon, start_fake: Start) -> None:
    poisoned.end()
    with start_fake().client as client:
        assert len(client.crashes().crashes) == 2


def test_an_engine_that_was_asked_to_end_has_not_crashed(daemon: RunningDaemon) -> None:
    with daemon.client as client:
        client.load("tiny")
        client.unload("tiny")
        assert client.crashes().crashes == []


# Quarantine


def test_a_request_in_quarantine_is_listed_and_let_go(poisoned: RunningDaemon) -> None:
    with poisoned.client as client:
        (entry,) = client.quarantine().requests
        assert (entry.model, entry.reason, entry.strikes) == ("tiny:latest", "crash_signal: SIGSEGV", 2)
        assert client.clear_quarantine("nonesuch").cleared == 0
        assert client.clear_quarantine(entry.hash).cleared == 1
        assert client.quarantine().requests == []


# Who may look


PRIVATE = ["/crashes", "/crashes/tiny", "/logs?model=tiny", "/quarantine"]


@pytest.mark.parametrize("path", PRIVATE)
def test_no_web_page_reads_what_was_asked(daemon: RunningDaemon, path: str) -> None:
    page = {"Origin": "http://localhost:3000"}  # which may use models
    assert httpx.get(f"{daemon.url}/models", headers=page, trust_env=False, timeout=DEADLINE).status_code == 200
    answer = httpx.get(f"{daemon.url}{path}", headers=page, trust_env=False, timeout=DEADLINE)
    assert (answer.status_code, answer.json()["error"]["message"]) == (401, "this needs a key")


def test_no_web_page_lets_a_request_go(poisoned: RunningDaemon) -> None:
    page = {"Origin": "http://localhost:3000"}
    assert (
        httpx.delete(f"{poisoned.url}/quarantine", headers=page, trust_env=False, timeout=DEADLINE).status_code == 401
    )
    with poisoned.client as client:
        assert len(client.quarantine().requests) == 1
