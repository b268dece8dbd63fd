"""oprel is moved or reinstalled under a process that uses it."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import oprel

PROGRAM = """
import sys
import oprel.server.errors
from oprel.core.configuration import installation
assert not installation.was_replaced()
print("started", flush=True)
sys.stdin.readline()
assert installation.was_replaced()
try:
    import oprel.server.api.oprel.monitoring.observe
except ImportError as error:
    print(oprel.server.errors.unexpected(error))
else:
    print(oprel.server.errors.unexpected(TypeError("of another version")))
"""


def upgrade(packages: Path) -> None:
    """As pip does: the folder is made anew."""
    (packages / "oprel").rename(packages / "old")
    shutil.copytree(packages / "old", packages / "oprel")


CHANGES: dict[str, Callable[[Path], object]] = {
    "moved": lambda packages: packages.rename(packages.with_name("elsewhere")),
    "reinstalled": upgrade,
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_a_replaced_installation_causes_is_told(tmp_path: Path, change: Callable[[Path], object]) -> None:
    packages = tmp_path / "packages"
    unneeded = shutil.ignore_patterns("bundled", "__pycache__")
    shutil.copytree(Path(oprel.__file__).parent, packages / "oprel", ignore=unneeded)
    paths = os.pathsep.join([str(packages), *sys.path])
    with subprocess.Popen(
        [sys.executable, "-P", "-S", "-c", PROGRAM],  # -S: no other oprel on the path of an editable installation
        env={"PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=tmp_path,
    ) as process:
        assert process.stdout and process.stdout.readline() == "started\n"
        change(packages)
        output, _ = process.communicate("\n")
    assert output.startswith("oprel, or a package that it needs, was reinstalled or moved while this daemon ran (")
    assert process.returncode == 0
