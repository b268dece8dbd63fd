"""What the files of a source are taken for."""

from pathlib import Path

import pytest

from oprel.core.exceptions import ValidationError
from oprel.downloader.offers import together
from oprel.downloader.source import RemoteFile


def files(*names: str, sha256: str = "") -> list[RemoteFile]:
    return [RemoteFile(name=name, url=f"https://box/{name}", size_bytes=10, sha256=sha256) for name in names]


def folder_of(offered: list[RemoteFile], title: str = "box/team/tiny:v1") -> Path:
    return together(title, offered, Path("/models")).targets[0].destination.parent


@pytest.mark.parametrize(
    ("names", "weights", "parts"),
    [
        (("tiny.gguf",), "tiny.gguf", 0),
        (("a-00001-of-00002.gguf", "a-00002-of-00002.gguf"), "a-00001-of-00002.gguf", 2),
        (("config.json", "model.safetensors", "tokenizer.json"), "", 3),
    ],
)
def test_files_are_a_single_one_or_parts_or_a_folder(names: tuple[str, ...], weights: str, parts: int) -> None:
    manifest = together("box/team/tiny:v1", files(*names), Path("/models")).manifest("tiny:latest")
    assert manifest.weights == folder_of(files(*names)) / weights
    assert (len(manifest.parts), manifest.source) == (parts, "box/team/tiny:v1")


def test_each_version_has_a_folder_of_its_own_wherever_it_comes_from() -> None:
    first = folder_of(files("tiny.gguf", sha256="a" * 64))
    moved = [RemoteFile(name="tiny.gguf", url="https://elsewhere/?signature=2", size_bytes=10, sha256="a" * 64)]
    assert folder_of(moved) == first
    assert folder_of(files("tiny.gguf", sha256="b" * 64)) != first
    assert folder_of(files("tiny.gguf", sha256="a" * 64), title="box/team/tiny:v2") != first


@pytest.mark.parametrize("name", ["../tiny.gguf", "/etc/passwd", "a/../../tiny.gguf", ""])
def test_no_file_leaves_its_folder(name: str) -> None:
    with pytest.raises(ValidationError):
        together("box/team/tiny:v1", files(name), Path("/models"))
