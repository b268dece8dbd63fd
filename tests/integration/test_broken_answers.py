"""An answer that breaks off never looks finished, and a client that leaves frees its slot."""

import json
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

import oprel
from oprel.client_api import Client
from tests.conftest import DEADLINE, RunningDaemon, eventually
from tests.fixtures.fake_engine import install

pytestmark = pytest.mark.long

StartDaemon = Callable[..., RunningDaemon]


@pytest.fixture
def faulty(start_daemon: StartDaemon, tmp_path: Path) -> StartDaemon:
    """A daemon whose engine has these faults."""
    return lambda **faults: start_daemon(engine_path=str(install(tmp_path / "engine", **faults)))


FAULTS = {
    "dies": ({"die_at_token": 2}, "the engine died while answering: SIGKILL"),
    "ends early": ({"end_at_token": 2}, "the answer ended without its terminator"),
    "sends garbage": ({"garbage_at_token": 2}, "the engine sent what is not its dialect"),
    "sends an error": ({"error_at_token": 2}, "the engine failed: told to fail"),
}


@pytest.mark.parametrize(
    ("path", "fault"), [*(("/api/generate", fault) for fault in FAULTS), ("/api/chat", "dies"), ("/generate", "dies")]
)
def test_a_stream_that_loses_its_engine_ends_in_an_error_line(faulty, tiny: Path, path: str, fault: str):
    faults, words = FAULTS[fault]
    body = {"model": str(tiny), "prompt": "x", "messages": [{"role": "user", "content": "x"}]}
    with httpx.Client(base_url=faulty(**faults).url, timeout=DEADLINE, trust_env=False) as http:
        response = http.post(path, json=body)
    sent = [json.loads(line) for line in response.text.splitlines()]
    assert response.status_code == 200
    assert [line["done"] for line in sent[:-1]] == [False, False]
    assert "done" not in sent[-1]
    assert words in json.dumps(sent[-1]["error"])


@pytest.mark.parametrize(("faults", "words"), FAULTS.values(), ids=FAULTS.keys())
def test_a_whole_answer_that_loses_its_engine_is_an_error_with_its_status(faulty, tiny: Path, faults, words: str):
    with httpx.Client(base_url=faulty(**faults).url, timeout=DEADLINE, trust_env=False) as http:
        response = http.post("/api/generate", json={"model": str(tiny), "prompt": "x", "stream": False})
    assert response.status_code == 500
    assert words in response.json()["error"]


def test_an_engine_that_dies_before_its_first_token_gives_a_status(faulty, tiny: Path):
    with httpx.Client(base_url=faulty(die_at_token=0).url, timeout=DEADLINE, trust_env=False) as http:
        response = http.post("/api/generate", json={"model": str(tiny), "prompt": "x"})
    assert response.status_code == 500
    assert response.json()["resolution_steps"]


def test_the_client_raises_the_error_that_the_stream_ended_in(faulty, tiny: Path):
    said = []
    with faulty(die_at_token=2).client as client, pytest.raises(oprel.BackendCrashedError, match="SIGKILL"):
        for piece in client.generate(str(tiny), "x", stream=True):
            said.append(piece.response)
    assert said == [" t0", " t1"]


def test_the_client_does_not_take_a_stream_cut_by_a_dying_daemon_for_whole(faulty, tiny: Path):
    daemon = faulty(tokens=1000, token_delay=0.01)
    with daemon.client as client, pytest.raises(oprel.OprelError):
        for _ in client.generate(str(tiny), "x", stream=True):
            daemon.process.kill()


def test_the_next_request_gets_a_new_engine(faulty, tiny: Path):
    with faulty().client as client:
        client.generate(str(tiny), "x")
        (first,) = client.engines().models
        assert first.pid
        os.kill(first.pid, signal.SIGKILL)
        eventually(lambda: client.engines().models[0].state == "crashed")
        assert client.engines().models[0].last_exit == "killed: SIGKILL"
        assert client.generate(str(tiny), "x").done
        assert client.engines().models[0].pid != first.pid


@pytest.mark.parametrize(
    "faults", [{"tokens": 1000, "token_delay": 0.01}, {"hang_at_token": 2}], ids=["streams", "hangs"]
)
@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_ends_its_request_in_the_engine(faulty, tiny: Path, faults, stream: bool):
    daemon = faulty(**faults)
    with daemon.client as client:
        client.load(str(tiny))
        leave_after_asking(daemon, {"model": str(tiny), "prompt": "x", "stream": stream})
        eventually(lambda: client.engines().models[0].in_flight == 0)


def test_a_client_that_leaves_frees_the_slot_of_a_real_engine(start_daemon: StartDaemon, endless: Path):
    daemon = start_daemon(ctx_size=32_768)
    with daemon.client as client:
        client.load(str(endless))
        address = client.engines().models[0].address.removeprefix("unix:")
        with httpx.Client(
            transport=httpx.HTTPTransport(uds=address), base_url="http://engine", timeout=DEADLINE
        ) as engine:
            leave_after_asking(daemon, {"model": str(endless), "prompt": "x", "stream": True})
            eventually(lambda: not any(slot["is_processing"] for slot in engine.get("/slots").json()))


def leave_after_asking(daemon: RunningDaemon, body: dict[str, object]) -> None:
    """Send a request, wait until the daemon works on it, and close the connection."""
    content = json.dumps(body).encode()
    with socket.socket(socket.AF_UNIX) as connection, Client(f"unix:{daemon.config.socket_path}") as client:
        connection.connect(str(daemon.config.socket_path))
        head = f"POST /api/generate HTTP/1.1\r\nhost: x\r\ncontent-length: {len(content)}\r\n\r\n"
        connection.sendall(head.encode() + content)
        if body["stream"]:
            assert connection.recv(1)
        else:
            eventually(lambda: client.engines().models[0].in_flight == 1)
