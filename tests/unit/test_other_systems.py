"""oprel and its pure tests where the system is called otherwise, and has not what only Linux has."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.fixtures.other_systems import PURE, PURE_BRIEFLY

ROOT = Path(__file__).parents[2]


def ends_well(system: str, *tests: str) -> str:
    """What pytest prints of these tests on another system."""
    command = [sys.executable, "-m", "tests.fixtures.other_systems", system, *tests]
    ended = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def test_all_of_it_is_imported_on_windows_and_what_is_pure_works_there() -> None:
    assert " passed" in ends_well("win32", *PURE_BRIEFLY)


@pytest.mark.long
@pytest.mark.parametrize("system", ["win32", "darwin"])
def test_pure_tests_pass_on_other_systems(system: str) -> None:
    assert " passed" in ends_well(system, *PURE)
