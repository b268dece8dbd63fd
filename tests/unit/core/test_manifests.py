"""Names on disk, and beside them the models that come with the package."""

import json
from pathlib import Path

import pytest

from oprel.core.exceptions import InvalidModelError, ModelNotFoundError
from oprel.core.manifests import Manifest, Manifests
from oprel.core.names import ModelRef

FULL = Manifest(
    name="user/Tiny:q4",
    weights=Path("/models/tiny.gguf"),
    system="Be kind.",
    parameters={"temperature": 0.5, "stop": ["a", "b"], "use_mmap": False},
    messages=(("user", "hello"), ("assistant", "good day")),
    license="Apache-2.0",
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "models"


@pytest.fixture
def manifests(folder: Path, tmp_path: Path) -> Manifests:
    """None of its own yet; `smol` comes bundled."""
    bundled = tmp_path / "bundled"
    bundled.mkdir()
    (bundled / "smol.gguf").touch()
    return Manifests(folder, bundled)


def names(manifests: Manifests) -> list[str]:
    return sorted(manifest.name for manifest in manifests)


def test_what_was_put_is_got_back_whole(manifests: Manifests) -> None:
    manifests.put(FULL)
    assert manifests.get(ModelRef.parse("user/Tiny:q4")) == FULL
    assert names(manifests) == ["smol:latest", "user/Tiny:q4"]


def test_case_makes_no_second_name(manifests: Manifests) -> None:
    manifests.put(Manifest("Tiny:latest", Path("/old.gguf")))
    manifests.put(Manifest("tiny:LATEST", Path("/new.gguf")))
    assert manifests.get(ModelRef.parse("TINY")).weights == Path("/new.gguf")
    assert names(manifests) == ["smol:latest", "tiny:LATEST"]


def test_a_name_with_slashes_and_colons_is_one_file(manifests: Manifests, folder: Path) -> None:
    manifests.put(Manifest("box:5000/user/tiny:q4", Path("/tiny.gguf")))
    assert [file.parent for file in folder.rglob("*")] == [folder]
    assert manifests.get(ModelRef.parse("box:5000/user/tiny:q4")).weights == Path("/tiny.gguf")


def test_another_daemon_finds_it(manifests: Manifests, folder: Path) -> None:
    manifests.put(FULL)
    assert Manifests(folder).get(ModelRef.parse(FULL.name)) == FULL


def test_a_path_needs_no_manifest(manifests: Manifests) -> None:
    assert manifests.get(ModelRef.parse("/any.gguf")) == Manifest("/any.gguf", Path("/any.gguf"))


def test_an_unknown_name_is_not_found(manifests: Manifests) -> None:
    with pytest.raises(ModelNotFoundError, match="model 'nonesuch:latest' not found"):
        manifests.get(ModelRef.parse("nonesuch"))


def test_a_bundled_model_is_found_until_a_name_overrides_it(manifests: Manifests, tmp_path: Path) -> None:
    smol = ModelRef.parse("Smol")
    assert manifests.get(smol) == Manifest("smol:latest", tmp_path / "bundled" / "smol.gguf")
    manifests.put(Manifest("smol:latest", Path("/mine.gguf")))
    assert manifests.get(smol).weights == Path("/mine.gguf")
    assert [manifest.weights for manifest in manifests] == [Path("/mine.gguf")]


DAMAGE = {
    "empty": "",
    "half": '{"name": "bad',
    "a list": "[1, 2]",
    "without weights": '{"name": "bad:latest"}',
    "of wrong types": '{"name": "bad:latest", "weights": 5}',
    "a bad message": '{"name": "bad:latest", "weights": "/m.gguf", "messages": [["user"]]}',
}


@pytest.mark.parametrize("content", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_manifest_hides_only_itself(manifests: Manifests, folder: Path, content: str) -> None:
    manifests.put(FULL)
    damaged = folder / "bad%3Alatest.json"
    damaged.write_text(content)
    assert names(manifests) == ["smol:latest", FULL.name]
    with pytest.raises(InvalidModelError) as caught:
        manifests.get(ModelRef.parse("bad"))
    assert str(damaged) in caught.value.message and str(damaged) in caught.value.resolution_steps[0]


def test_what_is_no_manifest_is_left_alone(manifests: Manifests, folder: Path) -> None:
    manifests.put(FULL)
    (folder / "notes.txt").write_text("mine")
    (folder / ".bad%3Alatest.json.x1y2").write_text("left over by a crash")
    assert names(manifests) == ["smol:latest", FULL.name]


def test_a_name_is_replaced_in_one_step(manifests: Manifests, folder: Path) -> None:
    manifests.put(FULL)
    [file] = folder.iterdir()
    with file.open() as reader:
        manifests.put(Manifest(FULL.name, Path("/new.gguf")))
        assert json.load(reader)["weights"] == str(FULL.weights)
    assert list(folder.iterdir()) == [file]
