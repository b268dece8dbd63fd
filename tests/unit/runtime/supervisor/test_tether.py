"""A command on a tether: it ends with whoever holds it, and tells its end as if it were started without."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from oprel.runtime.supervisor.processes._posix import TETHER
from tests.conftest import DEADLINE, alive, eventually


@contextmanager
def tethered(*command: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [*TETHER, *command], stdin=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )
    with process:
        yield process
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)


def family(folder: Path) -> Sequence[str]:
    """A shell that writes its number, and that of its child, into `folder`."""
    return "sh", "-c", f"echo $$ > {folder}/parent; sleep 600 & echo $! > {folder}/child; wait"


def pid_in(file: Path) -> int:
    eventually(lambda: file.exists() and file.read_text().strip())
    return int(file.read_text())


def test_the_command_and_its_children_end_with_the_holder(tmp_path: Path) -> None:
    with tethered(*family(tmp_path)) as process:
        pids = [pid_in(tmp_path / name) for name in ("parent", "child")]
        assert all(map(alive, pids))
        assert process.stdin
        process.stdin.close()
        eventually(lambda: not any(map(alive, pids)))
        assert process.wait(DEADLINE) == -signal.SIGKILL


@pytest.mark.parametrize("status", [0, 3, 127])
def test_the_exit_status_is_the_commands(status: int) -> None:
    with tethered("sh", "-c", f"exit {status}") as process:
        assert process.wait(DEADLINE) == status


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL, signal.SIGTERM, signal.SIGILL])
def test_a_signal_that_ends_the_command_ends_the_tether(number: signal.Signals) -> None:
    with tethered("sh", "-c", f"kill -{number.name[3:]} $$") as process:
        assert process.wait(DEADLINE) == -number


def test_a_signal_to_the_group_reaches_the_command_once(tmp_path: Path) -> None:
    script = (
        "import signal, sys, pathlib, time\n"
        f"count = pathlib.Path({str(tmp_path / 'count')!r})\n"
        "signal.signal(signal.SIGINT, lambda *_: count.write_text(count.read_text() + 'x'))\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(9))\n"
        "count.write_text('')\n"
        "while True: time.sleep(1)\n"
    )
    with tethered(sys.executable, "-c", script) as process:
        eventually((tmp_path / "count").exists)
        os.killpg(process.pid, signal.SIGINT)
        eventually((tmp_path / "count").read_text)
        os.killpg(process.pid, signal.SIGTERM)
        assert process.wait(DEADLINE) == 9
    assert (tmp_path / "count").read_text() == "x"


def test_a_command_that_cannot_be_started_is_told() -> None:
    with tethered("/nonexistent/engine") as process:
        assert process.wait(DEADLINE) == 126
        assert process.stderr and b"/nonexistent/engine cannot be started" in process.stderr.read()
