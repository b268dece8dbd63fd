"""docs/notebook.ipynb runs in a kernel, whose event loop is running."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ENGINE_THREADS, NOWHERE, RunningDaemon
from tests.fixtures.documents import ROOT

pytestmark = pytest.mark.long


def run(notebook: Path, daemon: RunningDaemon) -> dict[str, str]:
    """The printed text and the value of each cell of code, by its source."""
    own = {"OPREL_HOME": str(daemon.config.home_dir), "IPYTHONDIR": str(notebook.parent), "OPREL_SERVER_PORT": "0"}
    settings = {"OPREL_N_THREADS": str(ENGINE_THREADS), "OPREL_HF_ENDPOINT": NOWHERE, "OPREL_OLLAMA_REGISTRY": NOWHERE}
    command = [str(Path(sys.executable).with_name("jupyter-execute")), "--inplace", str(notebook)]
    done = subprocess.run(command, env={**os.environ, **settings, **own}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    cells = [cell for cell in json.loads(notebook.read_text())["cells"] if cell["cell_type"] == "code"]
    return {"".join(cell["source"]): "".join(map(text_of, cell["outputs"])) for cell in cells}


def text_of(output: dict[str, object]) -> str:
    data = output.get("data")
    text = data["text/plain"] if isinstance(data, dict) else output.get("text", "")
    return "".join(text) if isinstance(text, list) else str(text)


@pytest.mark.timeout(300)
def test_the_notebook_runs_from_its_first_cell_to_its_last(start_daemon, tmp_path: Path) -> None:
    notebook = tmp_path / "notebook.ipynb"
    notebook.write_text((ROOT / "docs" / "notebook.ipynb").read_text())
    assert all(not cell.get("outputs") for cell in json.loads(notebook.read_text())["cells"])
    outputs = run(notebook, start_daemon())
    assert all(outputs.values())
    whole, *_, closed, error = outputs.values()
    (awaited,) = (text for source, text in outputs.items() if "AsyncClient" in source and "gather" not in source)
    assert awaited.strip() == whole.strip()
    assert closed == "<oprel.Model guide, num_ctx=1024, in this process, closed>"
    assert "oprel list" in error or "oprel pull" in error or "Did you mean" in error
