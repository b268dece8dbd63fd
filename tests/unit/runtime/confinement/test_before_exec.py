"""What a child may not do, in real processes."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from oprel.runtime.confinement import before_exec

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux's own means")

SCORE = Path("/proc/self/oom_score_adj")
REPORT = """
import json, os, socket
print(json.dumps({
    "network": os.readlink("/proc/self/ns/net"),
    "interfaces": [name for _, name in socket.if_nameindex()],
    "score": int(open("/proc/self/oom_score_adj").read()),
    "user": [os.getuid(), os.getgid()],
}))
"""

STARTS_A_CHILD = """
import subprocess, sys
from oprel.runtime.confinement.before_exec import preparation
prepare = preparation(dies_with_parent=True, offline=True)
subprocess.run([sys.executable, "-P", "-c", sys.argv[1]], preexec_fn=prepare, check=True)
"""


def report(prepare: Callable[[], None] | None) -> dict[str, object]:
    command = [sys.executable, "-P", "-c", REPORT]
    done = subprocess.run(command, capture_output=True, text=True, check=True, preexec_fn=prepare)
    return dict(json.loads(done.stdout))


def may_have_namespaces() -> bool:
    """Asked with util-linux, which knows the same two ways."""
    ways = (["unshare", "--net"], ["unshare", "--user", "--net"])
    return any(subprocess.run([*way, "true"], capture_output=True, check=False).returncode == 0 for way in ways)


def test_it_goes_before_its_parent_when_memory_runs_out() -> None:
    child = report(before_exec.preparation(dies_with_parent=True, offline=False))
    assert child["score"] == min(1000, int(SCORE.read_text()) + 300)
    assert child["network"] == os.readlink("/proc/self/ns/net")


def test_one_without_a_network_has_nothing_but_itself_and_stays_who_it_is() -> None:
    if not may_have_namespaces():
        pytest.skip("this system forbids network namespaces")
    child = report(before_exec.preparation(dies_with_parent=True, offline=True))
    assert child["network"] != os.readlink("/proc/self/ns/net")
    assert child["interfaces"] == ["lo"]
    assert child["user"] == [os.getuid(), os.getgid()]


def test_where_the_system_permits_none_it_runs_all_the_same() -> None:
    if not may_have_namespaces():
        pytest.skip("this system forbids user namespaces, in which this test forbids the others")
    forbid = 'echo 0 > /proc/sys/user/max_net_namespaces && exec "$@"'
    outer = ["unshare", "--user", "--map-root-user", "sh", "-c", forbid, "sh"]
    command = [*outer, sys.executable, "-P", "-c", STARTS_A_CHILD, REPORT]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    child = json.loads(done.stdout)
    assert child["network"] == os.readlink("/proc/self/ns/net") and child["user"] == [0, 0]
