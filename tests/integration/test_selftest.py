"""`oprel selftest`: it finds that all is well here, and what is wrong with an engine that is not."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from oprel.selftest.checks import CHECKS
from oprel.selftest.faults import FAULTS
from tests.fixtures.fake_engine import install

pytestmark = pytest.mark.long


def selftest(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-m", "oprel", "selftest", *arguments]
    return subprocess.run(
        command, env={**os.environ, **variables}, capture_output=True, text=True, timeout=240, check=False
    )


def failures(result: subprocess.CompletedProcess[str]) -> Mapping[str, str]:
    return {check["name"]: check["text"] for check in json.loads(result.stdout)["checks"] if not check["passed"]}


def test_an_engine_that_works_passes(home: Path) -> None:
    result = selftest(OPREL_HOME=str(home))
    assert (result.returncode, result.stderr) == (0, "")
    *lines, total = result.stdout.splitlines()
    assert [line[0] for line in lines] == ["✓"] * len(CHECKS)
    assert total.startswith(f"{len(CHECKS)} of {len(CHECKS)} passed")
    assert list(home.iterdir()) == []  # the user's own home is not touched


@pytest.mark.timeout(300)
def test_the_installed_engine_survives_every_fault(home: Path) -> None:
    result = selftest("--chaos", "--json", TMPDIR=str(home), OPREL_HOME=str(home))
    assert failures(result) == {}, result.stderr
    assert len(json.loads(result.stdout)["checks"]) == len(CHECKS) + len(FAULTS)
    assert result.returncode == 0
    assert list(home.iterdir()) == []


def test_an_engine_that_talks_nonsense_fails(tmp_path: Path) -> None:
    program = install(tmp_path / "engine")
    result = selftest("--json", OPREL_ENGINE_PATH=str(program), OPREL_HOME=str(tmp_path / "home"))
    assert result.returncode == 1
    assert failures(result) == {
        "the answer makes sense": "expected an answer that names `oprel list`, not ' t0 t1 t2 t3 t4'"
    }
    assert "the daemon's log is" in result.stderr


def test_an_engine_that_does_not_start_fails_with_the_reason(tmp_path: Path) -> None:
    program = install(tmp_path / "engine", exit_at_start=1, log_at_start="error: no such device")
    result = selftest("--json", OPREL_ENGINE_PATH=str(program), OPREL_HOME=str(tmp_path / "home"))
    assert result.returncode == 1
    (reason,) = failures(result).values()
    assert "no such device" in reason
    assert json.loads(result.stdout)["not_run"] == [check.name for check in CHECKS[1:]]
    assert f"{len(CHECKS) - 1} more were not run" in result.stderr
