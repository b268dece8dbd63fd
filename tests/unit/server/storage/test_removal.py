"""Which files go when models do, and which stay."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from oprel.core.config import Config
from oprel.core.exceptions import ModelNotFoundError
from oprel.core.models.manifests import Manifest
from oprel.core.names import ModelRef
from oprel.downloader.cache import HubCache
from oprel.server.models.library import Library
from oprel.server.storage.removal import Arriving, Removal, Removed
from tests.fixtures.gguf_factory import write_tiny_gguf

COMMIT = "0" * 40
ETAGS = ("a" * 64, "b" * 64)


class Engines:
    """A manager of engines that run these models; asked to unload, they stay for their answer."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.loaded: list[Any] = []

    def run(self, manifest: Manifest) -> None:
        self.loaded.append(SimpleNamespace(model=SimpleNamespace(manifest=manifest, converted=None), leases=1))

    async def unload(self, model: Any, *, removed: bool) -> list[Any]:
        assert removed
        return [one for one in self.loaded if one.model.manifest.weights == model.weights]


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config(home=str(tmp_path / "home"))


@pytest.fixture
def library(config: Config) -> Library:
    (config.models_dir / "blobs").mkdir(parents=True)
    return Library(config)


@pytest.fixture
def engines(config: Config) -> Engines:
    return Engines(config)


def removal(engines: Engines, library: Library, arriving: Arriving = Arriving()) -> Removal:  # noqa: B008 - frozen
    return Removal(engines, library, lambda: arriving)  # type: ignore[arg-type]


def is_there(path: Path) -> bool:
    return path.exists()


def blob(library: Library, seed: int) -> Path:
    with library.blobs.temporary() as temporary:
        write_tiny_gguf(temporary, seed=seed)
        return library.blobs.adopt(temporary)


@pytest.fixture
def fetched(config: Config) -> Iterator[tuple[Path, Path]]:
    """Two models of one repository in the hub's cache."""
    cache, paths = HubCache(config.hub_dir), []
    for number, etag in enumerate(ETAGS):
        content = cache.blob("org/repo", etag)
        content.parent.mkdir(parents=True, exist_ok=True)
        write_tiny_gguf(content, seed=number)
        paths.append(cache.link("org/repo", COMMIT, f"m{number}.gguf", etag))
    yield paths[0], paths[1]


async def test_a_blob_goes_with_its_last_name(library: Library, engines: Engines):
    path = blob(library, 1)
    size = path.stat().st_size
    for name in ("one", "two"):
        library.manifests.put(Manifest(name=name, weights=path))
    assert await removal(engines, library).remove("one") == Removed(name="one:latest")
    assert await removal(engines, library).remove("two") == Removed(size, name="two:latest")
    with pytest.raises(ModelNotFoundError):
        await removal(engines, library).remove("two")


async def test_a_file_that_has_another_link_frees_nothing(library: Library, engines: Engines, tmp_path: Path):
    path = blob(library, 1)
    os.link(path, tmp_path / "mine.gguf")
    library.manifests.put(Manifest(name="linked", weights=path))
    assert await removal(engines, library).remove("linked") == Removed(0, name="linked:latest")
    assert not path.exists() and (tmp_path / "mine.gguf").exists()


async def test_a_file_of_the_user_s_stays(library: Library, engines: Engines, tiny: Path):
    library.manifests.put(Manifest(name="theirs", weights=tiny))
    assert await removal(engines, library).remove("theirs") == Removed(0, name="theirs:latest")
    assert is_there(tiny)


async def test_what_an_engine_uses_stays_and_is_said_to(library: Library, engines: Engines):
    path = blob(library, 1)
    engines.run(library.manifests.put(Manifest(name="busy", weights=path)))
    assert await removal(engines, library).remove("busy") == Removed(0, busy=True, name="busy:latest")
    assert path.exists()
    engines.loaded.clear()
    size = path.stat().st_size
    assert await removal(engines, library).sweep() == Removed(size)


async def test_a_fetched_file_goes_and_its_neighbour_stays(
    library: Library, engines: Engines, fetched: tuple[Path, Path]
):
    for number, path in enumerate(fetched):
        library.manifests.put(Manifest(name=f"m{number}", weights=path, source="hf.co/org/repo"))
    size = fetched[0].stat().st_size
    assert await removal(engines, library).remove("m0") == Removed(size, name="m0:latest")
    assert (fetched[0].is_symlink(), fetched[1].exists()) == (False, True)
    await removal(engines, library).remove("m1")
    assert [
        path for path in engines.config.hub_dir.rglob("*") if not path.is_dir() and path.parent.name != "refs"
    ] == []


async def test_an_update_frees_what_only_the_earlier_version_had(
    library: Library, engines: Engines, fetched: tuple[Path, Path]
):
    old, new = fetched
    before = library.manifests.put(Manifest(name="m", weights=old, source="hf.co/org/repo"))
    library.manifests.put(Manifest(name="other", weights=old, source="hf.co/org/repo"))
    library.manifests.put(Manifest(name="m", weights=new, source="hf.co/org/repo"))
    assert await removal(engines, library).free_replaced(before) == ""
    assert old.exists()  # another model has it
    library.manifests.delete(ModelRef.parse("other"))
    engines.run(before)
    said = await removal(engines, library).free_replaced(before)
    assert old.exists() and said.endswith(
        "of the earlier version stay while an engine has them: then `oprel cache prune` frees them"
    )
    engines.loaded.clear()
    said = await removal(engines, library).free_replaced(before)
    assert said.startswith("removed ") and said.endswith(" of the earlier version")
    assert (old.is_symlink(), new.exists()) == (False, True)


async def test_an_update_frees_unused_blobs_of_a_registry(library: Library, engines: Engines):
    before = library.manifests.put(Manifest(name="m", weights=blob(library, 1), source="box.example/m"))
    after = library.manifests.put(Manifest(name="m", weights=blob(library, 2), source="box.example/m"))
    assert (await removal(engines, library).free_replaced(before)).startswith("removed ")
    assert (before.weights.exists(), after.weights.exists()) == (False, True)


async def test_an_update_says_what_stays_in_a_shared_cache(tmp_path: Path):
    config = Config(home=str(tmp_path / "home"), cache_dir=str(tmp_path / "shared"))
    config.models_dir.mkdir(parents=True)
    library, content = Library(config), HubCache(config.hub_dir).blob("org/repo", ETAGS[0])
    content.parent.mkdir(parents=True)
    content.write_bytes(bytes(2_000))
    before = Manifest(name="m", weights=content, source="hf.co/org/repo")
    said = await removal(Engines(config), library).free_replaced(before)
    assert content.exists()
    assert said == (
        f"of the earlier version, 2.0 KB stay in {config.hub_dir}, where other programs put or use them: "
        "`hf cache rm model/org/repo` frees them"
    )


LATER = '{"name": "later", "version": 9, "weights": {"repository": "org/repo", "file": "m1.gguf"}}'
UNREADABLE = {"of a later version": LATER, "cut": LATER[:20], "empty": "", "not text": "\0\x80"}


@pytest.mark.parametrize("content", UNREADABLE.values(), ids=UNREADABLE)
async def test_what_a_manifest_may_use_that_cannot_be_read_stays(
    library: Library, engines: Engines, fetched: tuple[Path, Path], content: str
):
    """`m1` is the model of that manifest; `twin` is another name of its file."""
    library.manifests.put(Manifest(name="twin", weights=fetched[1], source="hf.co/org/repo"))
    unreadable = engines.config.models_dir / "later%3Alatest.json"
    unreadable.write_text(content)
    kept = Removed(0, kept_for=unreadable)
    assert await removal(engines, library).sweep() == kept
    assert await removal(engines, library).remove("twin") == replace(kept, name="twin:latest")
    assert await removal(engines, library).clear() == kept
    assert all(map(is_there, fetched))
    unreadable.unlink()
    size = sum(path.stat().st_size for path in fetched)
    assert await removal(engines, library).sweep() == Removed(size)


async def test_nothing_goes_while_the_names_cannot_be_listed(
    library: Library, engines: Engines, fetched: tuple[Path, Path], tmp_path: Path
):
    library.manifests.put(Manifest(name="m1", weights=fetched[0], source="hf.co/org/repo"))
    os.rename(engines.config.models_dir, tmp_path / "unplugged")
    assert await removal(engines, library).sweep() == Removed(0, kept_for=engines.config.models_dir)
    assert all(map(is_there, fetched))


@pytest.mark.parametrize(("content", "freed"), [(LATER, True), (LATER[:20], False)])
async def test_blobs_stay_only_when_a_manifest_may_have_lost_their_digests(
    library: Library, engines: Engines, content: str, freed: bool
):
    path = blob(library, 1)
    (engines.config.models_dir / "later%3Alatest.json").write_text(content)
    os.utime(path, (0, 0))
    await removal(engines, library).prune()
    assert path.exists() != freed


async def test_what_a_download_of_a_later_version_may_want_stays(
    library: Library, engines: Engines, fetched: tuple[Path, Path]
):
    path = blob(library, 1)
    arriving = Arriving(are_all=False, want_any=True)
    assert await removal(engines, library, arriving).sweep() == Removed(0)
    assert path.exists() and all(map(is_there, fetched))


async def test_what_a_download_wants_stays(library: Library, engines: Engines, fetched: tuple[Path, Path]):
    wanted, other = blob(library, 1), blob(library, 2)
    part = wanted.with_name(f"{'sha256-' + 'c' * 64}.part")
    part.write_bytes(b"half")
    arriving = Arriving(frozenset([wanted, part.with_suffix(""), fetched[0].resolve()]))
    freed = other.stat().st_size + fetched[1].stat().st_size
    assert await removal(engines, library, arriving).sweep() == Removed(freed)
    assert wanted.exists() and part.exists() and fetched[0].exists() and not other.exists()


@pytest.mark.parametrize(("are_all", "left"), [(True, []), (False, ["x.part", "x.part.json"])])
async def test_what_is_left_of_a_transfer_goes_when_nobody_goes_on_with_it(
    library: Library, engines: Engines, are_all: bool, left: list[str]
):
    folder = HubCache(engines.config.hub_dir).blob("org/repo", ETAGS[0]).parent
    folder.mkdir(parents=True)
    for name in ("x.part", "x.part.json"):
        (folder / name).write_bytes(b"half")
    await removal(engines, library, Arriving(are_all=are_all)).sweep()
    assert sorted(path.name for path in folder.glob("*")) == left


async def test_a_cache_that_others_share_is_not_swept(tmp_path: Path, fetched: tuple[Path, Path]):
    config = Config(home=str(tmp_path / "elsewhere"), cache_dir=str(fetched[0].parents[3]))
    config.models_dir.mkdir(parents=True)
    assert await removal(Engines(config), Library(config)).sweep() == Removed(0)
    assert fetched[0].exists()


async def test_clearing_leaves_names_of_files_elsewhere(library: Library, engines: Engines, tiny: Path):
    path = blob(library, 1)
    size = path.stat().st_size
    library.manifests.put(Manifest(name="own", weights=path))
    library.manifests.put(Manifest(name="theirs", weights=tiny))
    assert await removal(engines, library).clear() == Removed(size)
    assert [manifest.name for manifest in library.manifests if manifest.provider == "oprel"] == ["theirs:latest"]


async def test_a_damaged_name_can_be_removed(library: Library, engines: Engines, tmp_path: Path):
    library.manifests.put(Manifest(name="gone", weights=tmp_path / "gone.gguf"))
    assert await removal(engines, library).remove("gone") == Removed(0, name="gone:latest")


def test_a_link_out_of_the_cache_is_not_followed(config: Config, tmp_path: Path):
    outside = tmp_path / "outside.gguf"
    outside.write_bytes(b"1")
    link = config.hub_dir / "models--a--b" / "snapshots" / COMMIT / "m.gguf"
    link.parent.mkdir(parents=True)
    link.symlink_to(outside)
    assert HubCache(config.hub_dir).discard(link) == 0
    assert outside.exists()
