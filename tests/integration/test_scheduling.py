"""Several models in the memory of one, through a real daemon: who loads, who goes, who waits."""

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from oprel.core.config import Config
from oprel.core.exceptions import BusyError, InsufficientMemoryError
from oprel.core.models.manifests import Manifest, Manifests
from oprel.telemetry.memory.process import NATIVE
from tests.conftest import RunningDaemon, eventually
from tests.fixtures.fake_engine import install, told
from tests.fixtures.limits import megabytes_for

Start = Callable[..., RunningDaemon]


@pytest.fixture
def models(config: Config, tiny: Path, home: Path) -> tuple[str, ...]:
    names = "one", "two", "three"
    for name in names:
        Manifests(config.models_dir).put(
            Manifest(name=f"{name}:latest", weights=Path(shutil.copy(tiny, home / f"{name}.gguf")))
        )
    return names


@pytest.fixture
def for_one(tiny: Path) -> int:
    """MiB for one engine, but not for two."""
    return megabytes_for(tiny, engines=1.6)


@pytest.fixture
def for_one_fake(tiny: Path) -> int:
    """The same for the fake llama-server."""
    return megabytes_for(tiny, engines=1.4, program=NATIVE)


def loaded(daemon: RunningDaemon) -> set[str]:
    with daemon.client as client:
        return {engine.name.removesuffix(":latest") for engine in client.engines().models}


def ask(daemon: RunningDaemon, model: str, prompt: str = "hello", **options: int) -> str:
    with daemon.client as client:
        return client.generate(
            model, prompt, options={"num_predict": 3, "num_ctx": 256, "temperature": 0, **options}
        ).response


def test_models_that_fit_stay_side_by_side(start_daemon: Start, models: tuple[str, ...], tiny: Path) -> None:
    daemon = start_daemon(default_max_memory_mb=megabytes_for(tiny, engines=2.6))
    ask(daemon, "one"), ask(daemon, "two")
    assert loaded(daemon) == {"one", "two"}


def test_models_that_fit_load_at_the_same_time(start_daemon: Start, models: tuple[str, ...], home: Path) -> None:
    daemon = start_daemon(engine_path=str(install(home / "engine", silent_load=1.0)))
    with ThreadPoolExecutor(2) as pool, daemon.client as client:
        answers = [pool.submit(ask, daemon, model) for model in models[:2]]
        eventually(lambda: [engine.state for engine in client.engines().models] == ["starting", "starting"])
        assert all(answer.result(20) for answer in answers)


def test_an_idle_model_goes_for_one_that_is_asked_for(
    start_daemon: Start, models: tuple[str, ...], for_one: int
) -> None:
    daemon = start_daemon(default_max_memory_mb=for_one)
    assert ask(daemon, "one") and ask(daemon, "two") and ask(daemon, "one")
    assert loaded(daemon) == {"one"}
    assert ": idle for" in daemon.log and "evicting " in daemon.log


def test_a_pinned_model_stays_and_what_does_not_fit_beside_it_is_refused(
    start_daemon: Start, models: tuple[str, ...], for_one: int
) -> None:
    daemon = start_daemon(default_max_memory_mb=for_one, models='{"one": {"pin": true}}')
    ask(daemon, "one")
    with pytest.raises(InsufficientMemoryError, match="pinned models take"):
        ask(daemon, "two")
    assert loaded(daemon) == {"one"}


def test_a_model_larger_than_the_limit_is_refused_before_an_engine_starts(
    start_daemon: Start, models: tuple[str, ...]
) -> None:
    daemon = start_daemon(default_max_memory_mb=10)
    with pytest.raises(InsufficientMemoryError, match="one:latest does not fit: it needs"):
        ask(daemon, "one")
    assert "starting" not in daemon.log


def test_a_busy_model_is_waited_for(
    start_daemon: Start, models: tuple[str, ...], home: Path, for_one_fake: int
) -> None:
    engine = install(home / "engine", tokens=20, token_delay=0.1)
    daemon = start_daemon(default_max_memory_mb=for_one_fake, engine_path=str(engine))
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(ask, daemon, "one")
        eventually(lambda: loaded(daemon) == {"one"})
        second = pool.submit(ask, daemon, "two", told(tokens=1))
        assert first.result(20).count("t") == 20  # nobody cut it short
        assert second.result(20) and loaded(daemon) == {"two"}


def test_nobody_waits_for_ever_for_a_model_that_is_always_busy(
    start_daemon: Start, models: tuple[str, ...], home: Path, for_one_fake: int
) -> None:
    engine = install(home / "engine", tokens=3, token_delay=0.1)
    daemon = start_daemon(default_max_memory_mb=for_one_fake, engine_path=str(engine))
    stop = False

    def keep_busy() -> int:
        asked = 0
        while not stop:
            ask(daemon, "one")
            asked += 1
        return asked

    with ThreadPoolExecutor(4) as pool:
        crowd = [pool.submit(keep_busy) for _ in range(3)]
        try:
            eventually(lambda: loaded(daemon) == {"one"})
            assert ask(daemon, "two", told(tokens=1))
        finally:
            stop = True
        assert all(one.result(20) for one in crowd)


def test_requests_beyond_the_queue_are_told_their_place(
    start_daemon: Start, models: tuple[str, ...], home: Path
) -> None:
    engine = install(home / "engine", tokens=10, token_delay=0.1)
    daemon = start_daemon(parallel=1, max_queue=1, engine_path=str(engine))
    with ThreadPoolExecutor(2) as pool:
        asked = [pool.submit(ask, daemon, "one") for _ in range(2)]
        with daemon.client as client:
            eventually(lambda: [engine.in_flight for engine in client.engines().models] == [2])
        with pytest.raises(BusyError, match="maximum pending requests exceeded") as refused:
            ask(daemon, "one")
        assert "you would be number 2 in the queue of one:latest" in refused.value.resolution_steps[0]
        assert all(one.result(20) for one in asked)


def test_who_leaves_the_queue_is_not_answered(start_daemon: Start, models: tuple[str, ...], home: Path) -> None:
    journal = home / "journal"
    engine = install(home / "engine", tokens=10, token_delay=0.1, journal=str(journal))
    daemon = start_daemon(parallel=1, engine_path=str(engine))
    with ThreadPoolExecutor(1) as pool, daemon.client as client:
        first = pool.submit(ask, daemon, "one", "first")
        eventually(lambda: [engine.in_flight for engine in client.engines().models] == [1])
        with pytest.raises(httpx.ReadTimeout), httpx.Client(base_url=daemon.url, trust_env=False) as http:
            http.post(
                "/api/generate", json={"model": "one", "prompt": "second", "options": {"num_ctx": 256}}, timeout=0.2
            )
        eventually(lambda: [engine.in_flight for engine in client.engines().models] == [1])
        assert first.result(20) and ask(daemon, "one", "third")
    answered = [line for line in journal.read_text().splitlines() if line.startswith("ask")]
    assert len(answered) == 2 and "third" in answered[1]
