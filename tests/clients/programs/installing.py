"""Programs of others that use a model, each installed once into a folder of its own in `.clients`.

Their packages take 2 GB, so that `bin/test` leaves them out and `bin/test clients` installs them. A test whose program
cannot be installed, without a network for example, is skipped with the reason.
"""

import fcntl
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
PLACE = FOLDER.parents[2] / ".clients"
VERSIONS: dict[str, str] = json.loads((FOLDER / "package.json").read_text())["dependencies"]
INSTALL_SECONDS = 900


def npm(name: str, *packages: str) -> Path:
    """The folder with these packages, in the versions of package.json."""
    wanted = {package: VERSIONS[package] for package in packages}

    def install(folder: Path) -> None:
        manifest = {"private": True, "type": "module", "dependencies": wanted}
        (folder / "package.json").write_text(json.dumps(manifest))
        run("npm", "install", "--no-audit", "--no-fund", folder=folder)

    return installed(name, json.dumps(wanted), install)


def pip(name: str, *requirements: str) -> Path:
    """The Python of an environment with these packages."""

    def install(folder: Path) -> None:
        run(sys.executable, "-m", "venv", "env", folder=folder)
        run("env/bin/python", "-m", "pip", "install", "--quiet", *requirements, folder=folder)

    return installed(name, " ".join(requirements), install) / "env/bin/python"


def jdk() -> Path:
    """Java's compiler and launcher, which is the system's."""
    compiler = shutil.which("javac")
    if compiler is None:
        pytest.skip("no JDK here: install default-jdk-headless")
    return Path(compiler).with_name("java")


def installed(name: str, wanted: str, install: Callable[[Path], None]) -> Path:
    """The folder of a program, after `install` if it is not there as `wanted`."""
    folder, stamp = PLACE / name, PLACE / name / "installed"
    PLACE.mkdir(exist_ok=True)
    with (PLACE / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (stamp.exists() and stamp.read_text() == wanted):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            install(folder)
            stamp.write_text(wanted)
    return folder


def run(*command: str, folder: Path) -> None:
    """A step of an installation. Skips the test when it fails."""
    if shutil.which(command[0], path=None) is None and not (folder / command[0]).exists():
        pytest.skip(f"no {command[0]} on this machine")
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip(f"{' '.join(command[:2])} took more than {INSTALL_SECONDS} s")
    if done.returncode:
        pytest.skip(f"{' '.join(command)} failed: {(done.stderr or done.stdout).strip()[-300:]}")
