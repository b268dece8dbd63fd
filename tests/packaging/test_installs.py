"""The wheel, installed in the ways of users, runs; the lock file makes a development environment."""

import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import oprel
from oprel.cli.commands.shell.completion import SCRIPTS
from tests.packaging.conftest import REPOSITORY, isolated, run

pytestmark = [pytest.mark.packages, pytest.mark.timeout(1200)]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A home with a path short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="oprel-") as name:
        yield Path(name)


def test_the_wheel_has_a_manual_page_completions_and_addresses(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        texts = {name: archive.read(name).decode() for name in archive.namelist() if "/share/" in name}
        metadata = archive.read(f"oprel_daemon-{oprel.__version__}.dist-info/METADATA").decode()
        names = archive.namelist()
    by_name = {name.partition("/data/share/")[2]: text for name, text in texts.items()}
    assert by_name.pop("man/man1/oprel.1").startswith(f'.TH OPREL 1 "" "oprel {oprel.__version__}"')
    assert by_name == {
        "bash-completion/completions/oprel": SCRIPTS["bash"],
        "zsh/site-functions/_oprel": SCRIPTS["zsh"],
        "fish/vendor_completions.d/oprel.fish": SCRIPTS["fish"],
    }
    assert f"Project-URL: Source, {REPOSITORY}\n" in metadata
    assert f"Project-URL: Changelog, {REPOSITORY}/blob/main/CHANGELOG.md\n" in metadata
    assert "oprel/bundled/guide.gguf" in names and "oprel/py.typed" in names
    assert not [name for name in names if name.startswith(("tests/", "tools/"))]


def works(program: Path, variables: dict[str, str]) -> None:
    assert run(program, "--version", **variables).stdout == f"oprel {oprel.__version__}\n"
    try:
        assert run(program, "run", "guide", "--option", "num_predict=30", "hello", **variables).stdout.strip()
        assert run(program, "restart", **variables).stdout == "restarted the daemon\n"
    finally:
        run(program, "stop", "--daemon", **variables)


def test_pipx_installs_it(tools: Path, wheel: Path, folder: Path) -> None:
    places = {"PIPX_HOME": folder / "pipx", "PIPX_BIN_DIR": folder / "bin", "PIPX_MAN_DIR": folder / "man"}
    variables = {**isolated(folder), **{name: str(path) for name, path in places.items()}}
    run(tools / "pipx", "install", "--python", sys.executable, wheel, **variables)
    works(folder / "bin" / "oprel", variables)
    assert (folder / "man" / "man1" / "oprel.1").exists()
    run(tools / "pipx", "uninstall", "oprel-daemon", **variables)
    assert not (folder / "bin" / "oprel").exists()


def test_uv_installs_it_as_a_tool(tools: Path, wheel: Path, folder: Path) -> None:
    places = {"UV_TOOL_DIR": folder / "tools", "UV_TOOL_BIN_DIR": folder / "bin", "UV_CACHE_DIR": folder / "cache"}
    variables = {**isolated(folder), **{name: str(path) for name, path in places.items()}}
    run(tools / "uv", "tool", "install", "--python", sys.executable, wheel, **variables)
    works(folder / "bin" / "oprel", variables)
    run(tools / "uv", "tool", "uninstall", "oprel-daemon", **variables)
    assert not (folder / "bin" / "oprel").exists()


def test_the_lock_makes_a_development_environment(checkout: Path) -> None:
    run(sys.executable, checkout / "bin" / "install.py", "dev")
    python = checkout / ".venv" / "bin" / "python"
    run(python, "-m", "pip", "check")
    lines = (checkout / "requirements-dev.lock").read_text().splitlines()
    locked = {line.split("==")[0].lower() for line in lines if "==" in line}
    listed = subprocess.run(
        [python, "-m", "pip", "list", "--format=freeze"], capture_output=True, text=True, check=True
    )
    installed = {line.split("==")[0].lower().replace("_", "-") for line in listed.stdout.splitlines()}
    assert installed - locked <= {"oprel-daemon", "setuptools"}
    assert run(checkout / ".venv" / "bin" / "oprel", "--version").stdout == f"oprel {oprel.__version__}\n"
