"""Files of the run folder are removed, and the daemon is put aside, as it happens on people's machines."""

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from oprel.client import own_daemon
from oprel.client.own_daemon import ensure_daemon, stop_daemon
from oprel.client.plain import daemon_state, plain_client
from oprel.client.plain.daemon_state import daemon_pid, why_silent
from oprel.client.plain.plain_client import PlainClient
from oprel.client.shared import patient_network
from oprel.client_api import Client
from oprel.core.config import Config
from oprel.core.exceptions import ConnectError, DaemonStartError
from oprel.core.home import prepare_home
from oprel.model import Model
from tests.conftest import RunningDaemon

REMOVALS: list[Callable[[Config], None]] = [
    lambda config: config.socket_path.unlink(),
    lambda config: shutil.rmtree(config.run_dir),
]


def say(client: Client) -> str:
    return client.generate("guide", "hi", options={"num_predict": 4, "temperature": 0}).response


def test_commands_and_answers_outlive_the_run_folder(start_daemon: Callable[..., RunningDaemon]) -> None:
    daemon = start_daemon(keep_alive="-1")
    pid, config = daemon.process.pid, daemon.config
    with daemon.client as over_tcp, ThreadPoolExecutor() as pool:
        before = say(over_tcp)
        for remove in REMOVALS:
            remove(config)
            # At the same time: by the socket, which is not there for a moment, and by TCP.
            health = pool.submit(lambda: PlainClient(config, start=False).health())
            starting = pool.submit(lambda: ensure_daemon(config))  # it must not start another one
            assert say(over_tcp) == before
            assert health.result().pid == pid
            starting.result()
            assert daemon_pid(config) == pid
            assert [model.name for model in PlainClient(config, start=False).ps().models] == ["guide:latest"]
    assert daemon.process.poll() is None


def test_a_model_in_this_process_outlives_its_folder(config: Config, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with Model("guide", use_server=False, config=config) as model:
        before = model.generate("hi", options={"num_predict": 4, "temperature": 0})
        (folder,) = tmp_path.glob("oprel-*")
        shutil.rmtree(folder)
        assert model.generate("hi", options={"num_predict": 4, "temperature": 0}) == before


@pytest.fixture
def stopped(start_daemon: Callable[..., RunningDaemon], monkeypatch: pytest.MonkeyPatch) -> Iterator[RunningDaemon]:
    """A daemon that was put aside."""
    for module in (plain_client, patient_network):
        monkeypatch.setattr(module, "QUIET_SECONDS", 0.1)
    monkeypatch.setattr(daemon_state, "ANSWER_SECONDS", 0.1)
    daemon = start_daemon()
    daemon.process.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, daemon.process.pid, os.WSTOPPED)
    yield daemon
    daemon.process.send_signal(signal.SIGCONT)


CALLS: dict[str, Callable[[Config], object]] = {
    "command": lambda config: PlainClient(config, start=False).ps(),
    "command that starts one": lambda config: PlainClient(config).list(),
    "client": lambda config: Client(config=config).list(),
    "stream": lambda config: list(Client(config=config).chat("guide", [], stream=True)),
    "start": ensure_daemon,
}


def test_a_daemon_that_is_put_aside_is_told_and_can_be_ended(stopped: RunningDaemon) -> None:
    for call in CALLS.values():
        with pytest.raises(ConnectError, match=rf"\(pid {stopped.process.pid}\) is stopped, as by Ctrl-Z") as caught:
            call(stopped.config)
        assert "`oprel stop --daemon`" in caught.value.resolution_steps[0]
    with ThreadPoolExecutor() as pool:  # it is a child of this process, and reaped meanwhile
        ended = pool.submit(stopped.process.wait)
        assert stop_daemon(stopped.config)
        assert ended.result() == 0


@contextlib.contextmanager
def wedged(config: Config) -> Iterator[subprocess.Popen[bytes]]:
    """A process that has the daemon's lock, and neither answers nor ends."""
    prepare_home(config)
    program = """
import fcntl, os, signal, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
lock = open(sys.argv[1], "w")
fcntl.flock(lock, fcntl.LOCK_EX)
lock.write(str(os.getpid()))
lock.flush()
print("ready", flush=True)
while True:
    signal.pause()
"""
    command = [sys.executable, "-c", program, str(config.run_dir / "daemon.lock")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout and process.stdout.readline() == b"ready\n"
        try:
            yield process
        finally:
            process.kill()


def test_a_wedged_daemon_is_told_and_killed_only_at_once(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("END_SECONDS", "NOW_SECONDS"):
        monkeypatch.setattr(own_daemon, name, 0.1)
    monkeypatch.setattr(daemon_state, "REMADE_SECONDS", 0.1)
    monkeypatch.setattr(own_daemon, "PROBE_SECONDS", 0.1)
    config = config.replace(drain_timeout="0")
    with wedged(config) as process:
        gone = rf"\(pid {process.pid}\) runs, but its socket .*oprel.sock is gone, and it does not answer"
        with pytest.raises(ConnectError, match=gone):
            PlainClient(config, start=False).ps()
        with pytest.raises(ConnectError, match=gone):
            ensure_daemon(config)
        with pytest.raises(ConnectError, match="has not ended within 0 s"):
            stop_daemon(config)
        assert process.poll() is None
        assert stop_daemon(config, now=True)
        assert process.wait() == -signal.SIGKILL
    assert why_silent(config).message == f"no daemon runs for {config.home_dir}"


def test_a_command_that_starts_the_daemon_for_ever_is_told(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_daemon, "LOCK_SECONDS", 0.1)
    prepare_home(config)
    with (config.run_dir / "start.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(DaemonStartError, match="another command has been starting the daemon"):
            ensure_daemon(config)
