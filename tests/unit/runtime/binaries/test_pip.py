"""pip as a child of oprel."""

import sys
from pathlib import Path

import pytest

from oprel.runtime.binaries.pip import run_pip


@pytest.mark.parametrize("arguments", [("--version",), (f"--python={sys.executable}", "--version")])
def test_it_imports_nothing_of_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    for name in ("pip", "json", "runpy", "urllib3"):
        (tmp_path / f"{name}.py").write_text("open('imported', 'w')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", ":")
    run_pip(*arguments, log=tmp_path / "log", shown=False)
    assert not Path("imported").exists()
