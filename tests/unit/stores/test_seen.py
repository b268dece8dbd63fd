"""Models of other programs are remembered while the disk that they are on is away."""

import os
from pathlib import Path

import pytest

from oprel.core.config import Config
from oprel.core.exceptions import ModelAwayError
from oprel.core.models.manifests import Manifest, Manifests
from oprel.core.places import places
from oprel.server.models.library import Library
from oprel.stores.seen import FILE, SeenStores, away_models
from tests.fixtures.model_stores import add_to_ollama

TINY = "registry.ollama.ai/library/tiny/latest"


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    return tmp_path / "disk"


@pytest.fixture
def config(tmp_path: Path, disk: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    """With a model in a store of Ollama's on a disk, and one of our own in the cache on that disk."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("OLLAMA_MODELS", str(disk / "ollama"))
    config = Config(home=str(tmp_path / "home"), cache_dir=str(disk / "hub"))
    config.home_dir.mkdir()
    add_to_ollama(disk / "ollama", TINY, [("model", tiny.read_bytes())])
    (disk / "hub" / "urls").mkdir(parents=True)
    weights = disk / "hub" / "urls" / "m.gguf"
    weights.write_bytes(tiny.read_bytes())
    Manifests(config.models_dir).put(Manifest(name="own:latest", weights=weights, source="https://x.example/m.gguf"))
    return config


async def test_they_are_listed_as_away_and_come_back(config: Config, disk: Path, tmp_path: Path):
    library = Library(config)
    names = {"own:latest", "tiny:latest"}
    assert names < {model.name for model in (await library.survey(lambda models: models)).usable}
    os.rename(disk, tmp_path / "unplugged")
    for reader in (library, Library(config)):  # also after a restart
        models = await reader.survey(lambda models: models)
        assert {manifest.name: type(error) for manifest, error in models.faults} == dict.fromkeys(names, ModelAwayError)
        for name in names:
            with pytest.raises(ModelAwayError, match=str(disk)):
                await reader.find(name, may_use_paths=False)
        assert not reader.sees_everything()
    assert away_models(config) == {disk / "hub": ["own:latest"], disk / "ollama": ["tiny:latest"]}
    os.rename(tmp_path / "unplugged", disk)
    assert names < {model.name for model in (await reader.survey(lambda models: models)).usable}
    assert away_models(config) == {} and reader.sees_everything()


async def test_what_was_removed_there_is_forgotten(config: Config, disk: Path, tmp_path: Path):
    library = Library(config)
    await library.survey(lambda models: models)
    (disk / "ollama" / "manifests" / TINY).unlink()
    await library.survey(lambda models: models)
    os.rename(disk, tmp_path / "unplugged")
    assert away_models(config) == {disk / "hub": ["own:latest"]}


@pytest.mark.parametrize(
    "content", ["", "[]", '{"/x": 5}', '{"/x": {"a b": "ollama"}}', '{"/x": {"m:latest": 5}}', "\0"]
)
def test_a_damaged_record_is_begun_anew(tmp_path: Path, content: str):
    folder, path = tmp_path / "disk", tmp_path / FILE
    path.write_text(content)
    seen = SeenStores(path, [folder, Path("/x")])
    assert seen.away() == []
    seen.note(folder, [Manifest(name="m:latest", weights=folder, provider="ollama")])
    assert [model.name for model in SeenStores(path, [folder]).away()] == ["m:latest"]


def test_only_folders_that_were_moved_are_remembered(tmp_path: Path):
    usual = places({"HOME": str(tmp_path)})
    assert usual.moved == ()
    (tmp_path / ".ollama").symlink_to("/mnt")
    assert places({"HOME": str(tmp_path)}).moved == (tmp_path / ".ollama" / "models",)
    assert places({"HOME": str(tmp_path), "HF_HOME": "/mnt/hf"}).moved[-1] == Path("/mnt/hf/hub")
    path, folder = tmp_path / FILE, usual.llama_cpp[0]
    SeenStores(path, usual.moved).note(folder, [Manifest(name="m:latest", weights=folder, provider="llama.cpp")])
    assert not path.exists()
