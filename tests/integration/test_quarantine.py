"""A request that kills its engine, among others that do not."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from oprel.core.config import Config
from oprel.core.exceptions import QuarantinedError
from oprel.core.models.manifests import Manifest, Manifests
from tests.conftest import DEADLINE, RunningDaemon, eventually
from tests.fixtures.fake_engine import install, told

pytestmark = pytest.mark.long

POISON = "poison " + told(die_at_token=1, dies_of="SIGSEGV")
SLOW = "innocent " + told(tokens=20, token_delay=0.05)

Start = Callable[..., RunningDaemon]


@pytest.fixture
def daemon(start_daemon: Start, config: Config, tiny: Path, home: Path) -> RunningDaemon:
    Manifests(config.models_dir).put(Manifest(name="tiny:latest", weights=tiny))
    return start_daemon(engine_path=str(install(home / "engine", tokens=5)))


def ask(daemon: RunningDaemon, prompt: str) -> str:
    with daemon.client as client:
        return client.generate("tiny", prompt).response


def test_the_request_that_killed_two_engines_is_refused_and_others_are_not(daemon: RunningDaemon) -> None:
    with pytest.raises(QuarantinedError, match="ended its engine 2 times"):
        ask(daemon, POISON)
    starts = daemon.log.count("-> starting")
    with pytest.raises(QuarantinedError):
        ask(daemon, POISON)
    assert daemon.log.count("-> starting") == starts == 2
    assert ask(daemon, "hello").count("t") == 5


def test_who_was_in_the_engine_with_it_is_not_blamed(daemon: RunningDaemon) -> None:
    with ThreadPoolExecutor(4) as pool:
        innocent = [pool.submit(ask, daemon, f"{number} {SLOW}") for number in range(3)]
        with daemon.client as client:
            eventually(lambda: [engine.in_flight for engine in client.engines().models] == [3])
        with pytest.raises(QuarantinedError):
            ask(daemon, POISON)
        assert all(one.result(30).count("t") == 20 for one in innocent)
    assert all(ask(daemon, f"{number} {SLOW}") for number in range(3))


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/chat", {"messages": [{"role": "user", "content": POISON}], "stream": False}),
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": POISON}]}),
        ("/v1/messages", {"messages": [{"role": "user", "content": POISON}], "max_tokens": 9}),
    ],
)
def test_every_dialect_says_so(daemon: RunningDaemon, path: str, body: dict[str, object]) -> None:
    with httpx.Client(base_url=daemon.url, timeout=DEADLINE, trust_env=False) as http:
        for _ in range(2):
            reply = http.post(path, json={"model": "tiny", **body})
            assert reply.status_code == 422 and "is refused now" in reply.text
