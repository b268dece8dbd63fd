"""A daemon and its engines are stopped in the middle of their work, and go on as if no time had passed."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from oprel.client.own_daemon import is_up
from oprel.client_api import Client
from tests.conftest import RunningDaemon, eventually
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


def loaded(client: Client) -> list[str]:
    return [model.name for model in client.ps().models]


def test_a_load_goes_on(start_daemon: StartDaemon, elsewhere: ThreadPoolExecutor, home: Path, tiny: Path) -> None:
    journal = home / "journal"
    program = install(home / "engine", silent_load=2.5, journal=str(journal))
    daemon = start_daemon(engine_path=str(program), load_timeout=SHORT)
    with daemon.client as client:
        answer = elsewhere.submit(client.generate, str(tiny), "hello")
        eventually(lambda: starts(journal) == 1 and any((daemon.config.run_dir / "engines").iterdir()))
        freeze(daemon, LONG)
        assert answer.result().response == WHOLE
    assert starts(journal) == 1 and "made no progress" not in daemon.log
    assert "nothing could run for" in daemon.log


def test_an_answer_goes_on(start_daemon: StartDaemon, home: Path, tiny: Path) -> None:
    journal = home / "journal"
    program = install(home / "engine", token_delay=0.3, journal=str(journal))
    daemon = start_daemon(engine_path=str(program), stall_timeout=SHORT)
    with daemon.client as client:
        answer = client.generate(str(tiny), "hello", stream=True)
        first = next(answer).response
        freeze(daemon, LONG)
        assert first + "".join(part.response for part in answer) == WHOLE
    assert starts(journal) == 1


def test_an_idle_model_keeps_the_rest_of_its_time(start_daemon: StartDaemon, home: Path, tiny: Path) -> None:
    daemon = start_daemon(engine_path=str(install(home / "engine")), keep_alive=SHORT)
    with daemon.client as client:
        client.load(str(tiny))
        freeze(daemon, LONG)
        assert len(loaded(client)) == 1
        eventually(lambda: not loaded(client))


def test_a_daemon_that_ends_lets_the_answer_finish(start_daemon: StartDaemon, home: Path, tiny: Path) -> None:
    program = install(home / "engine", token_delay=0.3)
    daemon = start_daemon(engine_path=str(program), drain_timeout=SHORT)
    with daemon.client as client:
        answer = client.generate(str(tiny), "hello", stream=True)
        first = next(answer).response
        daemon.process.terminate()
        eventually(lambda: not is_up(daemon.config))
        freeze(daemon, LONG)
        parts = list(answer)
    assert first + "".join(part.response for part in parts) == WHOLE and parts[-1].done
