"""The models of the benches: the bundled one, a mid-size one with random weights, and a published one where it is."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks.processes import ROOT
from tests.fixtures.random_models import write_random_model


@dataclass(frozen=True)
class BenchModel:
    """`name` is what daemons of any checkout know it by: that of the bundled model, or the path of `file`."""

    label: str
    name: str
    file: Path


def random_model(name: str) -> Path:
    """The file of a random model, which is written in the first run and stays for the next one."""
    folder = Path(tempfile.gettempdir()) / "oprel-random-models"
    folder.mkdir(exist_ok=True)
    return write_random_model(folder, name)


def from_file(label: str, file: Path) -> BenchModel:
    return BenchModel(label, str(file), file)


GUIDE_FILE = ROOT / "oprel" / "bundled" / "guide.gguf"
GEMMA_FILE = ROOT / ".real-models" / "gemma-3-270m-q4_k_m.gguf"
GUIDE = BenchModel("guide", "guide", GUIDE_FILE)


def mid_size() -> BenchModel:
    """A llama with 12 layers of 896: about 180 MB, some 60 tokens/s on two cores."""
    return from_file("mid-size", random_model("mid-size"))


def all_models() -> list[BenchModel]:
    published = [from_file("gemma", GEMMA_FILE)] if GEMMA_FILE.exists() else []
    return [GUIDE, mid_size(), *published]
