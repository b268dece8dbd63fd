"""What commands import: their start takes as long as that. Counts, since times depend on the machine."""

import json
import subprocess
import sys

import pytest

from tests.conftest import RunningDaemon

# Third-party modules, and those of the standard library that take as long as a few of ours.
HEAVY = {
    *("anyio", "fastapi", "httpx", "prompt_toolkit", "pydantic", "rich", "uvicorn", "xllamacpp", "yaml"),
    *("asyncio", "email", "http.client", "importlib.metadata", "logging", "ssl", "subprocess"),
}
HEAVY_FOR_THE_SIMPLEST = HEAVY | {"dataclasses", "inspect", "oprel.core.names"}
PROGRAM = """
import json, sys
before = {*sys.modules}
from oprel.cli.main import main
status = main(sys.argv[1:])
print(json.dumps([status, *({*sys.modules} - before)]), file=sys.stderr)
"""


def imported(*words: str) -> tuple[int, set[str]]:
    """The exit status of a command, and the modules that it imported."""
    command = [sys.executable, "-P", "-c", PROGRAM, *words]
    ended = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=True)
    status, *modules = json.loads(ended.stderr.splitlines()[-1])
    return status, {*modules}


@pytest.mark.parametrize("command", ["list", "ps", "version", "cp guide copy-of-guide"])
def test_the_simplest_commands_import_only_what_they_need(shared_daemon: RunningDaemon, command: str) -> None:
    status, modules = imported(*command.split(), f"--home={shared_daemon.config.home}")
    assert (status, HEAVY_FOR_THE_SIMPLEST & modules) == (0, set())
    assert len(modules) <= 85


@pytest.mark.parametrize(
    ("command", "status"),
    [("show guide", 0), ("stop not-loaded", 3), ("rm not-installed", 3), ("run guide --option num_predict=1 hi", 0)],
)
def test_simple_commands_import_nothing_heavy(shared_daemon: RunningDaemon, command: str, status: int) -> None:
    ended, modules = imported(*command.split(), f"--home={shared_daemon.config.home}")
    assert (ended, HEAVY & modules) == (status, set())
    assert len(modules) <= 120


def test_a_command_that_needs_no_daemon_imports_no_client() -> None:
    status, modules = imported("--version")
    assert (status, HEAVY_FOR_THE_SIMPLEST & modules) == (0, set())
    assert len(modules) <= 62


def test_the_parser_of_all_commands_needs_no_third_party_module() -> None:
    assert HEAVY & imported("--help")[1] <= {"subprocess"}
