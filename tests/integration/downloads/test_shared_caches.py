"""A cache that Hugging Face's own library shares with oprel: whose file is whose, before and after each command."""

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from huggingface_hub import hf_hub_download, scan_cache_dir

from oprel.core.config import Config
from oprel.core.names import ModelRef
from oprel.downloader.cache import HubCache
from oprel.server.storage.removal import Removed
from tests.fixtures.download_home import DownloadHome, layout
from tests.fixtures.gguf_factory import write_tiny_gguf
from tests.fixtures.hub_server import HubServer

REPO, FILE, OTHER = "org/tiny-GGUF", "tiny-Q8_0.gguf", "tiny-Q4_0.gguf"
NAME = f"hf.co/{REPO}:Q8_0"


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubServer]:
    folder = tmp_path / "served" / REPO
    folder.mkdir(parents=True)
    for seed, name in enumerate((FILE, OTHER)):
        write_tiny_gguf(folder / name, seed=seed)
    (folder / "README.md").write_text("# tiny")
    with HubServer(tmp_path / "served").running() as server:
        yield server


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "huggingface" / "hub"


@pytest.fixture
async def home(tmp_path: Path, hub: HubServer, cache: Path) -> AsyncIterator[DownloadHome]:
    home = DownloadHome(Config(home=str(tmp_path / "home"), cache_dir=str(cache), hf_endpoint=hub.url))
    yield home
    await home.fetcher.close()


def update(hub: HubServer, name: str, seed: int) -> None:
    """The publisher changes a file; others keep their content."""
    write_tiny_gguf(hub.folder / REPO / name, seed=seed)


def hf_download(hub: HubServer, cache: Path, name: str = FILE) -> Path:
    return Path(hf_hub_download(REPO, name, endpoint=hub.url, cache_dir=cache, token=False))


def scanned(cache: Path) -> dict[str, set[str]]:
    """The files that Hugging Face's library sees of each repository; it has nothing to complain about."""
    scan = scan_cache_dir(cache)
    assert (scan.warnings, scan.incomplete_files) == ([], frozenset())
    return {repo.repo_id: {file.file_name for one in repo.revisions for file in one.files} for repo in scan.repos}


async def test_a_pull_leaves_what_their_library_leaves(home: DownloadHome, hub: HubServer, cache: Path, tmp_path: Path):
    await home.pull(NAME)
    hf_download(hub, tmp_path / "theirs")
    theirs = {name: text for name, text in layout(tmp_path / "theirs").items() if name != "CACHEDIR.TAG"}
    assert layout(cache) == theirs
    assert scanned(cache) == {REPO: {FILE}}
    hub.seen.clear()
    assert hf_download(hub, cache).is_file()
    assert not [line for line in hub.seen if "/cdn/" in line]  # it has the file already


async def test_what_hugging_face_s_library_downloaded_stays(home: DownloadHome, hub: HubServer, cache: Path):
    hf_download(hub, cache)
    before = layout(cache)
    await home.pull(NAME)
    assert layout(cache) == before
    removed = await home.remove(NAME)
    assert (removed.freed_bytes, layout(cache)) == (0, before)
    assert f"stay in {cache}" in removed.note and f"hf cache rm model/{REPO}" in removed.note
    assert await home.removal.sweep() == Removed(0)
    assert (layout(cache), scanned(cache)) == (before, {REPO: {FILE}})


async def test_only_what_was_pulled_goes(home: DownloadHome, hub: HubServer, cache: Path):
    hf_download(hub, cache, OTHER)
    before = layout(cache)
    await home.pull(NAME)
    assert scanned(cache) == {REPO: {FILE, OTHER}}
    removed = await home.remove(NAME)
    assert (removed.freed_bytes, removed.note) == ((hub.folder / REPO / FILE).stat().st_size, "")
    assert layout(cache) == before


async def test_a_file_that_both_use_stays_for_the_other(home: DownloadHome, hub: HubServer, cache: Path):
    await home.pull(NAME)
    (hub.folder / REPO / "README.md").write_text("# another commit")
    hf_download(hub, cache)  # the same content, linked in its own snapshot
    removed = await home.remove(NAME)
    assert removed.freed_bytes == 0 and "stay in" in removed.note
    assert scanned(cache) == {REPO: {FILE}}
    assert hf_download(hub, cache).read_bytes() == (hub.folder / REPO / FILE).read_bytes()


async def test_an_update_frees_what_was_pulled_before_and_keeps_what_was_not(
    home: DownloadHome, hub: HubServer, cache: Path
):
    theirs = hf_download(hub, cache, OTHER)
    await home.pull(NAME)
    update(hub, FILE, seed=7)
    assert (await home.pull(NAME)).startswith("removed ")
    assert scanned(cache) == {REPO: {FILE, OTHER}} and theirs.is_file()
    update(hub, OTHER, seed=8)
    await home.pull(f"hf.co/{REPO}:Q4_0")
    assert theirs.is_file()  # it is in the commit that they know
    await home.remove(NAME)
    await home.remove(f"hf.co/{REPO}:Q4_0")
    assert scanned(cache) == {REPO: {OTHER}} and theirs.is_file()


async def test_a_branch_names_no_commit_that_is_gone(home: DownloadHome, hub: HubServer, cache: Path):
    await home.pull(NAME)
    update(hub, OTHER, seed=8)
    await home.pull(f"hf.co/{REPO}:Q4_0")
    await home.remove(f"hf.co/{REPO}:Q4_0")
    assert scanned(cache) == {REPO: {FILE}}
    await home.remove(NAME)
    assert os.listdir(cache) == []


async def test_what_was_replaced_is_not_ours_any_more(home: DownloadHome, hub: HubServer, cache: Path):
    await home.pull(NAME)
    hf_hub_download(REPO, FILE, endpoint=hub.url, cache_dir=cache, token=False, force_download=True)
    assert (await home.remove(NAME)).freed_bytes == 0
    assert scanned(cache) == {REPO: {FILE}}


async def test_in_a_moved_cache_a_new_daemon_knows_what_is_ours(
    home: DownloadHome, hub: HubServer, cache: Path, tmp_path: Path
):
    hf_download(hub, cache, OTHER)
    await home.pull(NAME)
    await home.fetcher.close()
    os.rename(cache, tmp_path / "moved")
    later = DownloadHome(Config(home=home.config.home, cache_dir=str(tmp_path / "moved"), hf_endpoint=hub.url))
    assert (await later.remove(NAME)).freed_bytes > 0
    assert scanned(tmp_path / "moved") == {REPO: {OTHER}}
    await later.fetcher.close()


async def test_files_from_elsewhere_are_not_in_the_cache(home: DownloadHome, hub: HubServer, cache: Path):
    await home.pull(url := f"{hub.url}/cdn/{REPO}/{FILE}")
    assert layout(cache) == {}
    assert (await home.remove(url)).freed_bytes > 0
    assert [path for path in home.config.urls_dir.rglob("*") if path.is_file()] == []


async def test_a_download_that_has_begun_is_no_damage(home: DownloadHome, hub: HubServer, cache: Path):
    """Its folders are those that Hugging Face's library makes first; given up, nothing is left."""
    offer = await (await home.fetcher.sources()).find(ModelRef.parse(NAME))
    home.fetcher._prepared(offer)
    offer.targets[0].destination.with_name("x.part").write_bytes(b"half")
    assert scanned(cache) == {REPO: set()}
    offer.targets[0].destination.with_name("x.part").unlink()
    home.library.fetched.abandon(offer.targets[0].destination)
    assert os.listdir(cache) == []
    hf_download(hub, cache)
    assert (await home.removal.sweep()).freed_bytes == 0


def test_content_in_the_store_that_repositories_share_is_never_deleted(tmp_path: Path):
    """The layout of huggingface_hub's shared blobs: a blob is a link to `blobs/XX/HASH` of the whole cache."""
    payload = tmp_path / "blobs" / "aa" / ("a" * 64)
    repository = tmp_path / "models--org--m"
    for folder in (payload.parent, repository / "blobs", repository / "snapshots" / ("c" * 40)):
        folder.mkdir(parents=True)
    payload.write_bytes(b"GGUF")
    (repository / "blobs" / "e").symlink_to(f"../../blobs/aa/{payload.name}")
    (link := repository / "snapshots" / ("c" * 40) / "m.gguf").symlink_to("../../blobs/e")
    assert HubCache(tmp_path).discard(link) == 0
    assert payload.read_bytes() == b"GGUF" and not repository.exists()
