"""Engines that a killed daemon left behind are ended; nothing else is."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from oprel.runtime.supervisor import records
from tests.conftest import DEADLINE, alive, eventually


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A process in a group of its own, as an engine is."""
    with subprocess.Popen(["sleep", "600"], start_new_session=True) as process:
        eventually(lambda: has_command_line(process.pid))
        yield process
        process.kill()


def has_command_line(pid: int) -> bool:
    """Not so in the moment in which it is started."""
    return bool(Path(f"/proc/{pid}/cmdline").read_bytes())


def changed(path: Path, **fields: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def record(run_dir: Path, process: subprocess.Popen[bytes]) -> Path:
    path = records.write(run_dir, process.pid, run_dir / "engine-1.sock")
    assert path
    return path


def test_an_engine_left_behind_is_killed_and_its_files_go(tmp_path: Path, sleeper: subprocess.Popen[bytes]) -> None:
    record(tmp_path, sleeper)
    for name in ("engine-1.sock", "engine-1.jinja", "daemon.lock"):
        (tmp_path / name).touch()
    (left,) = records.reconcile(tmp_path)
    assert left.pid == sleeper.pid
    assert sleeper.wait(DEADLINE) == -signal.SIGKILL
    assert {path.name for path in tmp_path.iterdir()} == {"daemon.lock", "engines"}
    assert list((tmp_path / "engines").iterdir()) == []


@pytest.mark.parametrize(
    "other", [{"start": 1.0}, {"boot": "another"}, {"command": "another"}], ids=["start", "boot", "command"]
)
def test_a_process_that_only_has_the_number_is_left_alone(
    tmp_path: Path, sleeper: subprocess.Popen[bytes], other: dict[str, object]
) -> None:
    path = record(tmp_path, sleeper)
    changed(path, **other)
    assert records.reconcile(tmp_path) == []
    assert sleeper.poll() is None
    assert not path.exists()


@pytest.mark.parametrize("named", [True, False])
def test_a_child_of_an_engine_that_is_gone_is_killed_if_it_has_its_socket(tmp_path: Path, named: bool) -> None:
    """As under a wrapper, which the kernel ends with the daemon, but not the server that it started."""
    socket = tmp_path / "engine-1.sock"
    argument = str(socket) if named else "x.sock"
    child = f"sh -c 'sleep 600; true' sh {argument} & echo $!; read line"
    with subprocess.Popen(
        ["sh", "-c", child], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    ) as wrapper:
        assert wrapper.stdout
        pid = int(wrapper.stdout.readline())
        # Its own, not that of the wrapper, which it has until it is that other program.
        eventually(lambda: Path(f"/proc/{pid}/cmdline").read_bytes().endswith(f"\0{argument}\0".encode()))
        record(tmp_path, wrapper)
        wrapper.kill()
        wrapper.wait()
        try:
            assert len(records.reconcile(tmp_path)) == named
            eventually(lambda: alive(pid) is not named)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(wrapper.pid, signal.SIGKILL)


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"pid": 1}', "\0", '{"pid": "x", "start": 1}'])
def test_a_damaged_record_is_removed(tmp_path: Path, content: str) -> None:
    path = tmp_path / "engines" / "1.json"
    path.parent.mkdir()
    path.write_text(content)
    assert records.reconcile(tmp_path) == []
    assert not path.exists()


@pytest.mark.parametrize("pid", [-1, 0, 1, True])
def test_a_number_that_means_many_processes_is_never_killed(
    tmp_path: Path, sleeper: subprocess.Popen[bytes], pid: int
) -> None:
    changed(record(tmp_path, sleeper), pid=pid)
    assert records.reconcile(tmp_path) == []


def test_of_a_process_that_has_ended_there_is_no_record(tmp_path: Path) -> None:
    ended = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    assert records.write(tmp_path, int(ended.stdout), tmp_path / "x.sock") is None


def test_a_run_folder_without_records_is_fine(tmp_path: Path) -> None:
    assert records.reconcile(tmp_path) == []
