"""Groups of engines below one that was given to us, in the kernel's own file system."""

import contextlib
import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from oprel.runtime.confinement import control_groups
from oprel.telemetry.hardware.cgroups import groups

# A daemon that settles, starts an engine and then sweeps.
DAEMON = """
import json, pathlib, subprocess, sys
from oprel.runtime.confinement import before_exec, control_groups
pathlib.Path(sys.argv[1], "cgroup.procs").write_text("0")
control_groups.settle()
group = control_groups.make(1 << 30)
left = control_groups.make(1 << 30)
prepare = before_exec.preparation(dies_with_parent=True, offline=False, group=group)
engine = subprocess.Popen(["sleep", "600"], preexec_fn=prepare)
control_groups.sweep()
held = group.members.read_text().split() == [str(engine.pid)] and not left.folder.exists()
killed = group.has_killed
engine.kill()
engine.wait()
group.remove()
print(json.dumps([held, killed, group.folder.exists(), str(group.folder.parent)]))
"""


@pytest.fixture
def given() -> Iterator[Path]:
    """A group of the kernel's that is ours to divide."""
    own = next((group.folder for group in groups(Path("/"), "memory") if group.version == 2), None)
    if own is None or not os.access(own, os.W_OK):
        pytest.skip("no control group of version 2 can be written here")
    given = own / f"oprel-test-{secrets.token_hex(4)}"
    try:
        given.mkdir()
        os.setxattr(given, control_groups.DELEGATED, b"1")
    except OSError as error:
        pytest.skip(f"no control group can be made here: {error}")
    yield given
    for folder in (*given.glob("*/"), given):
        with contextlib.suppress(OSError):
            folder.rmdir()


def test_an_engine_is_in_a_group_of_its_own_beside_the_daemon(given: Path) -> None:
    command = [sys.executable, "-P", "-c", DAEMON, str(given)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [True, False, False, str(given)]


def test_without_a_group_of_ours_none_is_made(tmp_path: Path) -> None:
    control_groups.settle(tmp_path)
    assert control_groups.make(1 << 30, tmp_path) is None and not [*tmp_path.iterdir()]


@pytest.mark.parametrize(
    ("events", "killed"), [("oom 2\noom_kill 1\n", True), ("oom 2\noom_kill 0\n", False), ("", False)]
)
def test_the_kernel_tells_whether_it_has_ended_an_engine(tmp_path: Path, events: str, killed: bool) -> None:
    (tmp_path / "memory.events").write_text(events)
    assert control_groups.ControlGroup(tmp_path).has_killed == killed
