"""Programs with an engine in their own process end at once, whichever answers they leave unfinished."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import DEADLINE, alive

pytestmark = pytest.mark.long

PROGRAM = Path(__file__).parents[1] / "fixtures" / "leaving.py"
LONG = 300.0  # s for a hundred answers of each kind, on a machine with other work

COUNTS = [
    pytest.param(4, id="a few"),
    pytest.param(100, id="a hundred", marks=[pytest.mark.slow, pytest.mark.timeout(LONG)]),
]


def leave(home: Path, model: Path, mode: str, count: int, seconds: float) -> tuple[int, str]:
    """The exit status of the program and what it printed as errors; its engines have ended."""
    environment = {**os.environ, "OPREL_HOME": str(home)}
    command = [sys.executable, str(PROGRAM), mode, str(model), str(count)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=seconds)
    assert done.stdout, done.stderr
    assert not [pid for pid in map(int, done.stdout.split()) if alive(pid)]
    return done.returncode, done.stderr


@pytest.mark.parametrize("count", COUNTS)
def test_answers_may_be_left_in_every_way_in_turn(home: Path, endless: Path, count: int):
    assert leave(home, endless, "in turn", count, LONG) == (0, "")


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize(("mode", "status"), [("end", 0), ("raise", 1), ("exit", 3)])
def test_a_program_ends_although_it_has_unfinished_answers(
    home: Path, endless: Path, mode: str, status: int, count: int
):
    result, errors = leave(home, endless, mode, count, LONG if count > 10 else DEADLINE)
    assert result == status
    assert errors.count("Traceback") == (mode == "raise")
    assert errors == "" or errors.endswith("ZeroDivisionError\n")
