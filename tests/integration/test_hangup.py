"""A terminal that is closed while the daemon runs in it: answers are finished, unless the daemon is to outlive it."""

import contextlib
import shlex
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from oprel.client.own_daemon import serve_command
from oprel.client.plain.daemon_state import is_up
from oprel.client_api import Client
from oprel.core.config import Config
from tests.conftest import DEADLINE, eventually
from tests.fixtures.fake_engine import install
from tests.fixtures.terminal import Terminal

Serve = Callable[..., Terminal]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log.txt"


@pytest.fixture
def serve(log: Path) -> Iterator[Serve]:
    """Run the daemon in a shell's place at a terminal, which is not where it logs."""
    with contextlib.ExitStack() as stack:

        def run(config: Config, before: str = "") -> Terminal:
            command = f"{before}exec {shlex.join(serve_command(config))} 2>{shlex.quote(str(log))}"
            terminal = Terminal(config.home, program=("/bin/sh", "-c", command))
            stack.callback(terminal.close)
            eventually(lambda: is_up(config))
            return terminal

        yield run


def test_answers_are_finished_when_the_terminal_is_closed(
    config: Config, serve: Serve, log: Path, tmp_path: Path, tiny: Path
) -> None:
    config = config.replace(engine_path=str(install(tmp_path / "engine", tokens=30, token_delay=0.05)))
    terminal = serve(config)
    with Client(f"unix:{config.socket_path}", config=config) as client:
        answer = client.generate(str(tiny), "hello", stream=True)
        next(answer)
        terminal.hang_up()
        eventually(lambda: "shutting down" in log.read_text())
        terminal.process.send_signal(signal.SIGHUP)  # what a shell does as it ends itself
        assert list(answer)[-1].done_reason
    assert terminal.process.wait(DEADLINE) == 0
    assert "a second signal" not in log.read_text()


def test_a_daemon_that_is_to_outlive_its_terminal_reads_its_settings(config: Config, serve: Serve, log: Path) -> None:
    terminal = serve(config, before="trap '' HUP; ")  # what nohup does
    terminal.hang_up()
    terminal.process.send_signal(signal.SIGHUP)
    eventually(lambda: "read the settings again" in log.read_text())
    assert is_up(config)
    terminal.process.terminate()
    assert terminal.process.wait(DEADLINE) == 0
