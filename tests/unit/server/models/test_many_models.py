"""Lists of thousands of models: each file is read once, and never by the event loop."""

import contextlib
import json
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from oprel.core.config import Config
from oprel.core.models.manifests import Manifest, Manifests
from oprel.core.names import ModelRef
from oprel.server.models.library import Library
from oprel.server.models.summaries import ModelList, ModelSummary
from tests.fixtures.gguf_factory import write_tiny_gguf

MANY = 2000


@dataclass
class Reads:
    """The files that were opened inside a `counted` block, and the threads that did so."""

    paths: list[str] = field(default_factory=list)
    threads: set[int] = field(default_factory=set)


_counting: list[tuple[str, Reads]] = []


def _note(event: str, arguments: tuple[object, ...]) -> None:
    if event == "open":
        for folder, reads in _counting:
            if str(arguments[0]).startswith(folder):
                reads.paths.append(str(arguments[0]))
                reads.threads.add(threading.get_ident())


sys.addaudithook(_note)  # which cannot be removed, and does nothing outside of `counted`


@contextlib.contextmanager
def counted(folder: Path) -> Iterator[Reads]:
    reads = Reads()
    _counting.append((str(folder), reads))
    try:
        yield reads
    finally:
        _counting.remove((str(folder), reads))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with many names for two files."""
    home, models = tmp_path / "home", tmp_path / "home" / "models"
    models.mkdir(parents=True)
    files = [write_tiny_gguf(tmp_path / f"{number}.gguf") for number in range(2)]
    for number in range(MANY):
        content = {"name": f"m{number}:latest", "weights": str(files[number % 2]), "license": "a/b " * 100}
        (models / f"m{number}%3Alatest.json").write_text(json.dumps(content))
    return home


def encoded(model: ModelSummary) -> bytes:
    return model.name.encode()


def rows(models: ModelList) -> list[bytes]:
    return [model.encoded(encoded) for model in models.usable]


async def test_files_are_read_once_by_worker_threads_and_again_when_they_change(home: Path, tmp_path: Path) -> None:
    library = Library(Config(home=str(home)))
    with counted(tmp_path) as reads:
        assert len(await library.survey(rows)) == MANY + 1  # and the bundled one
    assert len(reads.paths) < MANY + 20  # each manifest, and the two files a few times
    assert threading.get_ident() not in reads.threads

    with counted(tmp_path) as reads:
        before = await library.survey(lambda models: {model.name: model for model in models.usable})
    assert reads.paths == []
    counts = []
    for _ in range(2):
        with counted(tmp_path) as reads:
            library.manifests.uses()
        counts.append(len(reads.paths))
    assert counts == [MANY, 0]

    changed, damaged, removed = (home / "models" / f"m{number}%3Alatest.json" for number in (1, 2, 3))
    changed.write_text(changed.read_text().replace('"license"', '"system": "Be kind.", "license"'))
    damaged.write_text("{")
    removed.unlink()
    library.copy(ModelRef.parse("m5"), ModelRef.parse("added"))
    with counted(tmp_path) as reads:
        after = await library.survey(lambda models: {model.name: model for model in models.usable})
    assert {Path(path).name for path in reads.paths} <= {changed.name, damaged.name, "added%3Alatest.json", "1.gguf"}
    assert before.keys() - after.keys() == {"m2:latest", "m3:latest"}
    assert after.keys() - before.keys() == {"added:latest"}
    others = before.keys() & after.keys() - {"m1:latest"}
    assert all(after[name] is before[name] for name in others)
    assert after["m1:latest"].digest != before["m1:latest"].digest


async def test_lists_are_made_off_the_event_loop(tmp_path: Path) -> None:
    library = Library(Config(home=str(tmp_path)))
    assert await library.survey(lambda models: threading.get_ident()) != threading.get_ident()


async def test_weights_that_change_and_go_change_the_list(tmp_path: Path) -> None:
    library, path = Library(Config(home=str(tmp_path / "home"))), write_tiny_gguf(tmp_path / "m.gguf")
    library.manifests.put(Manifest(name="m:latest", weights=path))
    digests = {await library.survey(_digest)}
    write_tiny_gguf(path, name="Another")
    digests.add(await library.survey(_digest))
    path.write_bytes(b"GGUF, damaged")
    digests.add(await library.survey(_digest))
    path.unlink()
    digests.add(await library.survey(_digest))
    assert len(digests) == 3 and "" in digests
    write_tiny_gguf(path)
    assert await library.survey(_digest)


def _digest(models: ModelList) -> str:
    return next((model.digest for model in models.usable if model.name == "m:latest"), "")


async def test_a_known_model_is_found_without_reading_until_its_name_changes(tmp_path: Path) -> None:
    library, path = Library(Config(home=str(tmp_path / "home"))), write_tiny_gguf(tmp_path / "m.gguf")
    library.manifests.put(Manifest(name="hf.co/a/b:Q8_0", weights=path))
    for name in ("a/b", "hf.co/a/b:Q8_0", "guide", str(path)):
        known = await library.find(name, may_use_paths=True)
        with counted(tmp_path) as reads:
            assert await library.find(name, may_use_paths=True) is known
        assert reads.paths == []
    library.manifests.put(Manifest(name="a/b:latest", weights=path, system="Be kind."))
    library.manifests.put(Manifest(name="guide:latest", weights=path))
    assert (await library.find("a/b", may_use_paths=False)).manifest.system == "Be kind."
    assert (await library.find("guide", may_use_paths=False)).weights == path


def test_completion_reads_the_names_with_the_prefix_only(home: Path, tmp_path: Path) -> None:
    with counted(tmp_path) as reads:
        names = {manifest.name for manifest in Manifests(home / "models").starting_with("M19")}
    assert len(names) == len(reads.paths) == 1 + 10 + 100
    assert all(name.startswith("m19") for name in names)
