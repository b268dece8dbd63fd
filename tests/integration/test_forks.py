"""A process and its forked children use one client, and each gets its own answers."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import DEADLINE, RunningDaemon

pytestmark = pytest.mark.long

PROGRAM = Path(__file__).parents[1] / "fixtures" / "forking.py"


def complaints(*arguments: str, home: Path | str = "/nonexistent") -> str:
    command = [sys.executable, str(PROGRAM), *arguments]
    environment = {**os.environ, "OPREL_HOME": str(home)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=DEADLINE)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize(
    ("mode", "over", "calls"),
    [("client", "a socket", 500), ("client", "TCP", 50), ("async client", "a socket", 50), ("async client", "TCP", 50)],
)
def test_children_get_no_foreign_answer(shared_daemon: RunningDaemon, mode: str, over: str, calls: int):
    """So many calls of each of four children."""
    address = shared_daemon.url if over == "TCP" else f"unix:{shared_daemon.config.socket_path}"
    assert complaints(mode, address, str(calls)) == ""


def test_a_child_cannot_read_on_where_its_parent_reads(shared_daemon: RunningDaemon, endless: Path):
    assert complaints("stream", f"unix:{shared_daemon.config.socket_path}", str(endless)) == ""


def test_an_engine_of_the_process_is_not_that_of_its_children(home: Path, endless: Path):
    assert complaints("model", str(endless), home=home) == ""
