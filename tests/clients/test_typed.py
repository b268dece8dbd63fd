"""What type checkers say of programs that use oprel: nothing."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import oprel
from tests.clients.ollama_clients import PACKAGES, install_packages, node
from tests.fixtures.documents import ROOT, blocks

pytestmark = pytest.mark.long

PROGRAMS = Path(__file__).parent / "typed"
OF_BOTH = PROGRAMS / "calls_of_both.py"
PAGE = ROOT / "docs" / "python.md"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs, that of both packages with either, and the blocks of the page."""
    folder = tmp_path_factory.mktemp("typed")
    for program in PROGRAMS.glob("*.py"):
        (folder / program.name).write_text(program.read_text())
    text = OF_BOTH.read_text()
    assert "\nimport oprel as ollama\n" in text
    (folder / "calls_of_ollama.py").write_text(text.replace("import oprel as ollama", "import ollama"))
    for number, block in enumerate(block for block in blocks(PAGE) if block.language == "python"):
        (folder / f"block_{number}.py").write_text(block.text)
    return folder


def test_mypy_finds_nothing(folder: Path) -> None:
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", f"--cache-dir={folder}/.cache", "."]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_pyright_finds_nothing(folder: Path) -> None:
    install_packages()
    command = [node(), str(PACKAGES / "pyright" / "index.js"), "--pythonpath", sys.executable, "."]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_programs_use_every_call() -> None:
    nodes = [node for program in PROGRAMS.glob("*.py") for node in ast.walk(ast.parse(program.read_text()))]
    used = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    for owner in (oprel.Client, oprel.Model):
        assert {name for name in vars(owner) if not name.startswith("_")} <= used
    functions = {name for name in oprel.__all__ if name.islower()} - {"__version__"}
    assert functions <= used
