"""The wheel of this checkout, and the programs that install it. Slow: `bin/test packages` runs these tests only."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.fixtures.documents import ROOT

REPOSITORY = "https://git.example/me/oprel"
SOURCES = ("oprel", "tools/packaging", "bin", "LICENSE", "README.md", "config.yaml", "CHANGELOG.md", "pyproject.toml")
LOCKS = ("requirements.lock", "requirements-dev.lock")

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def run(*command: str | Path, **variables: str) -> "subprocess.CompletedProcess[str]":
    """Run a program to its end; a failure has its output."""
    environment = {**os.environ, **variables}
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, env=environment, cwd="/", check=False
    )
    assert done.returncode == 0, f"{command}: {done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    return done


@pytest.fixture(scope="session")
def tools() -> Path:
    """The programs of an environment with pipx, uv and build, which stays for the next time."""
    folder = Path(sys.prefix) / "packaging-tools"
    if not (folder / "bin" / "pyproject-build").exists():
        run(sys.executable, "-m", "venv", folder)
        run(folder / "bin" / "pip", "install", "--quiet", "build", "pipx", "uv")
    return folder / "bin"


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the sources: building and installing leaves traces."""
    folder = tmp_path_factory.mktemp("packaging") / "checkout"
    for name in (*SOURCES, *LOCKS):
        source, target = ROOT / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, target)
    return folder


@pytest.fixture(scope="session")
def wheel(tools: Path, checkout: Path) -> Path:
    """Built as maintainers do: the source distribution, and the wheel from that."""
    run(tools / "pyproject-build", checkout, REPOSITORY_URL=REPOSITORY)
    (file,) = (checkout / "dist").glob("*.whl")
    return file


def isolated(folder: Path) -> Mapping[str, str]:
    """Variables with which nothing outside the folder is written or read."""
    places = {"HOME": folder, "XDG_CONFIG_HOME": folder / "config", "OPREL_HOME": folder / "oprel"}
    return {**{name: str(path) for name, path in places.items()}, "OPREL_SERVER_PORT": "0"}
