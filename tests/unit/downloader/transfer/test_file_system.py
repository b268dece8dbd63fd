"""File systems that can do less than others: files are kept in another way, or refused before a byte is fetched."""

import errno
import os
import resource
from dataclasses import replace
from pathlib import Path

import pytest

from oprel.core.exceptions import DownloadError
from oprel.downloader.cache import HubCache
from oprel.downloader.transfer import disk, file_system
from oprel.downloader.transfer.file_system import FileSystem
from oprel.downloader.transfer.segments import Segments

ETAG, COMMIT = "a" * 64, "c" * 40
USUAL = FileSystem(symlinks=True, locks=True, sparse=True, tells_case=True, renames_over=True)
GIB = 2**30


@pytest.fixture
def no_links(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*paths: object, **options: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "symlink", refuse)


def test_a_usual_file_system_can_do_everything(tmp_path: Path):
    assert file_system.tried(tmp_path) == USUAL and USUAL.lacks == []
    assert list(tmp_path.iterdir()) == []


def test_what_it_cannot_do_is_found_out(tmp_path: Path, no_links: None):
    system = file_system.tried(tmp_path)
    assert system == replace(USUAL, symlinks=False) and system.lacks == ["symbolic links"]


@pytest.mark.parametrize(
    ("system", "names", "message"),
    [
        (USUAL, ("Model.gguf", "model.gguf"), ""),
        (replace(USUAL, tells_case=False), ("Model.gguf", "model.gguf"), "are the same name"),
        (replace(USUAL, renames_over=False), ("model.gguf",), "cannot replace a file"),
        (replace(USUAL, symlinks=False, locks=False, sparse=False), ("model.gguf",), ""),
    ],
)
def test_what_cannot_be_kept_is_refused(system: FileSystem, names: tuple[str, ...], message: str, tmp_path: Path):
    files = [(tmp_path / name, 1) for name in names]
    if not message:
        return file_system.check(system, tmp_path, files)
    with pytest.raises(DownloadError, match=message) as caught:
        file_system.check(system, tmp_path, files)
    assert "another file system" in caught.value.resolution_steps[0]


@pytest.mark.parametrize("sparse", [True, False])
def test_a_file_that_is_too_large_is_refused(tmp_path: Path, sparse: bool):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (GIB, before[1]))
    try:
        with pytest.raises(DownloadError, match="too large for the file system"):
            file_system.check(replace(USUAL, sparse=sparse), tmp_path, [(tmp_path / "m", 5 * GIB)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_without_links_the_content_takes_the_place_of_the_link(tmp_path: Path, no_links: None, monkeypatch):
    monkeypatch.setattr("oprel.downloader.cache.SMALL_BYTES", 0)
    cache = HubCache(tmp_path)
    blob = cache.blob("org/repo", ETAG)
    assert cache.content("org/repo", COMMIT, "m.gguf", ETAG, 4) == blob
    for _ in range(2):
        blob.parent.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(b"GGUF")  # fetched, and fetched again
        path = cache.link("org/repo", COMMIT, "m.gguf", ETAG)
        assert (path.read_bytes(), path.is_symlink(), blob.exists()) == (b"GGUF", False, False)
    assert cache.link("org/repo", COMMIT, "m.gguf", ETAG) == path
    assert cache.content("org/repo", COMMIT, "m.gguf", ETAG, 4) == path
    assert cache.content("org/repo", COMMIT, "m.gguf", ETAG, 5) == blob  # another content
    assert cache.files() == [path]
    assert cache.discard(path) == 4 and not (tmp_path / "models--org--repo").exists()


def test_without_links_small_files_of_the_same_content_have_one_each(tmp_path: Path, no_links: None):
    cache = HubCache(tmp_path)
    cache.blob("org/repo", ETAG).parent.mkdir(parents=True)
    cache.blob("org/repo", ETAG).write_bytes(b"{}")
    paths = [cache.link("org/repo", COMMIT, name, ETAG) for name in ("a.json", "b.json")]
    assert [path.read_bytes() for path in paths] == [b"{}", b"{}"]


def test_a_file_that_cannot_be_locked_is_written_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(descriptor: int) -> bool:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(disk, "locked", refuse)
    descriptor = disk.open_alone(tmp_path / "m.part")
    assert descriptor is not None
    os.close(descriptor)


def test_the_end_of_what_is_there_counts_what_lies_beyond_a_gap():
    segments = Segments(100, 10)
    assert segments.end == 0
    segments.add(0, 4)
    assert segments.end == 4
    segments.add(3, 2)
    assert segments.end == 32
