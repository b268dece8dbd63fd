import base64
from pathlib import Path

import pytest

from oprel.cli.conversation.images import encode, find_images
from oprel.core.exceptions import ValidationError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with some images and a text."""
    for name in ("cat.png", "my dog.JPG", "notes.txt", "a.webp"):
        (tmp_path / name).write_bytes(b"content")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("prompt", "rest", "names"),
    [
        ("what is in cat.png", "what is in", ["cat.png"]),
        ("./cat.png", "", ["./cat.png"]),
        ("describe 'my dog.JPG' please", "describe  please", ["my dog.JPG"]),
        ('describe "my dog.JPG"', "describe", ["my dog.JPG"]),
        (r"describe my\ dog.JPG", "describe", ["my dog.JPG"]),
        ("compare cat.png with a.webp, please", "compare  with , please", ["cat.png", "a.webp"]),
        ("cat.png?", "?", ["cat.png"]),
        ("read notes.txt", "read notes.txt", []),
        ("what is in nowhere.png", "what is in nowhere.png", []),
        ("how do I open .png files", "how do I open .png files", []),
        ("cat.pngs", "cat.pngs", []),
    ],
)
def test_images_that_exist_are_taken_out_of_the_prompt(folder: Path, prompt: str, rest: str, names: list[str]) -> None:
    assert find_images(prompt) == (rest, tuple(Path(name) for name in names))


def test_an_absolute_path_is_found_in_a_sentence(folder: Path) -> None:
    assert find_images(f"see {folder}/cat.png now")[1] == (folder / "cat.png",)


def test_an_image_is_sent_in_base64(folder: Path) -> None:
    assert base64.b64decode(encode(folder / "cat.png")) == b"content"


def test_an_image_that_cannot_be_read_is_an_error(folder: Path) -> None:
    with pytest.raises(ValidationError, match="cannot read"):
        encode(folder / "gone.png")
