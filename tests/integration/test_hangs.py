"""Through a real daemon: what hangs is replaced and its answers are whole; what is only slow is waited for."""

import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import oprel
from oprel.client_api import Client
from oprel.core.exceptions import BackendError
from oprel.runtime.supervisor.hang_detector import REFUSALS
from tests.conftest import RunningDaemon
from tests.fixtures.fake_engine import install, told

pytestmark = pytest.mark.long

STALL = "3s"  # an engine that stands still has a third of it, which a busy machine must not use up
ATTEMPTS = 100  # at stopping an engine within one of guide's short answers
HELLO = [{"role": "user", "content": "hello"}]
OPTIONS = {"temperature": 0, "num_predict": 300, "seed": 1}
WHOLE = " t0 t1 t2 t3 t4"

StartDaemon = Callable[..., RunningDaemon]


@pytest.fixture
def faulty(start_daemon: StartDaemon, home: Path) -> Callable[..., RunningDaemon]:
    """A daemon whose engines have faults."""

    def raised(**faults: object) -> RunningDaemon:
        program = install(home / "engine", **faults)
        return start_daemon(engine_path=str(program), stall_timeout=STALL)

    return raised


def cured(daemon: RunningDaemon, model: Path, home: Path) -> None:
    """The model's engine is loaded with its faults, and the next one will have none."""
    with daemon.client as client:
        client.load(str(model))
    install(home / "engine")


@pytest.mark.parametrize("path", ["generate", "chat"])
def test_an_honest_prefill_of_many_limits_is_answered(faulty, home: Path, tiny: Path, path: str) -> None:
    """Each of its batches takes a quarter of the limit, all of them five times as long."""
    journal = home / "journal"
    faults = {"prefill_tokens": 20, "prefill_batch": 1, "prefill_seconds": 0.25, "journal": str(journal)}
    with faulty(**faults).client as client:
        if path == "generate":
            assert client.generate(str(tiny), "hello").response == WHOLE
        else:
            assert client.chat(str(tiny), HELLO).message.content == WHOLE
    assert journal.read_text().count("start ") == 1


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_an_honest_prefill_of_minutes_is_answered(start_daemon: StartDaemon, home: Path, tiny: Path) -> None:
    """Each of its five batches takes more than twice the limit, without any CPU time."""
    journal = home / "journal"
    faults = {"prefill_tokens": 5 * 2048, "prefill_batch": 2048, "prefill_seconds": 45.0, "journal": str(journal)}
    daemon = start_daemon(engine_path=str(install(home / "engine", **faults)), stall_timeout="20s")
    with daemon.client as client:
        assert client.generate(str(tiny), "hello" * 8000, options={"num_ctx": 16384}).response == WHOLE
    assert journal.read_text().count("start ") == 1


@pytest.mark.parametrize(
    "fault",
    [
        {"hang_at_token": 3},
        {"spin_at_token": 3},
        {"hang_at_token": 0},
        {"prefill_tokens": 100, "prefill_batch": 10, "hang_at_prefill": 50},
    ],
    ids=["it hangs", "it spins", "before a word", "in its prefill"],
)
def test_a_wedged_engine_with_green_health_is_replaced(
    faulty, home: Path, tiny: Path, fault: dict[str, object]
) -> None:
    daemon = faulty(**fault)
    cured(daemon, tiny, home)
    with daemon.client as client:
        stream = list(client.generate(str(tiny), "hello", stream=True))
    assert "".join(piece.response for piece in stream) == WHOLE
    assert stream[-1].done
    assert re.search(r"killing engine \d+: it ", daemon.log)
    assert "goes on with another engine" in daemon.log


def test_a_stopped_engine_is_recovered_from_like_a_crash(start_daemon: StartDaemon) -> None:
    """SIGSTOP in mid-stream: the text is that of an undisturbed run."""
    daemon = start_daemon(stall_timeout=STALL)
    with daemon.client as client:

        def said(stop: bool = False) -> str:
            client.load("guide")
            engine = engine_of(client)
            stream = client.chat("guide", HELLO, options=OPTIONS, stream=True, think=False)
            words = [next(stream).message.content or ""]
            if stop:
                os.kill(engine, signal.SIGSTOP)
            return "".join([*words, *(piece.message.content or "" for piece in stream)])

        calm = said()
        for _ in range(ATTEMPTS):
            assert said(stop=True) == calm
            if "stood still" in daemon.log:
                break
            os.kill(engine_of(client), signal.SIGCONT)  # the answer had been whole before the signal came
    assert "goes on with another engine" in daemon.log


def engine_of(client: Client) -> int:
    (engine,) = client.engines().models
    assert engine.pid
    return engine.pid


def test_a_request_at_which_every_engine_hangs_is_told_so(faulty, tiny: Path) -> None:
    with faulty(hang_at_token=0).client as client, pytest.raises(oprel.OprelError, match="stood still"):
        list(client.generate(str(tiny), "hello", stream=True))


def test_a_client_that_reads_slowly_is_no_hang(faulty, tiny: Path) -> None:
    """All buffers fill, and then the engine can send nothing more until this client reads on."""
    daemon = faulty(tokens=20_000)
    with daemon.client as client:
        stream = client.generate(str(tiny), "hello", stream=True)
        next(stream)
        time.sleep(2.5)  # what the client does meanwhile; not a wait for anything
        assert sum(1 for _ in stream) == 20_000
    assert "is killed" not in daemon.log


def test_an_engine_that_refuses_everything_is_replaced(faulty, home: Path, tiny: Path) -> None:
    daemon = faulty(status=500)
    cured(daemon, tiny, home)
    with daemon.client as client:
        for _ in range(REFUSALS):
            with pytest.raises(BackendError, match="told to fail"):
                client.generate(str(tiny), "hello")
        assert client.generate(str(tiny), "hello").response == WHOLE


def test_an_engine_that_only_refuses_what_is_wrong_stays(faulty, home: Path, tiny: Path) -> None:
    journal = home / "journal"
    with faulty(journal=str(journal)).client as client:
        for _ in range(REFUSALS):
            with pytest.raises(BackendError, match="told to fail"):
                client.generate(str(tiny), told(status=500))
        assert client.generate(str(tiny), "hello").response == WHOLE
    assert journal.read_text().count("start ") == 1
