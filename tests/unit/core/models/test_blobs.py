"""Files by the SHA-256 of their content: there whole or not at all."""

import hashlib
import os
import resource
import signal
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import anyio
import pytest
from starlette.requests import ClientDisconnect

from oprel.core.exceptions import DiskFullError, ValidationError
from oprel.core.models.blobs import GRACE_SECONDS, WRITE_BYTES, Blobs

CONTENT = b"weights" * 1000
DIGEST = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "models" / "blobs"


@dataclass
class SettableClock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> SettableClock:
    return SettableClock()


@pytest.fixture
def blobs(folder: Path, clock: SettableClock) -> Blobs:
    return Blobs(folder, clock)


async def pieces(content: bytes = CONTENT, size: int = 1024) -> AsyncIterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def test_a_file_is_found_by_its_digest(blobs: Blobs, folder: Path):
    assert blobs.find(DIGEST) is None
    assert await blobs.add(DIGEST, pieces()) is True
    path = blobs.find(DIGEST)
    assert path and path.read_bytes() == CONTENT
    assert files(folder) == [DIGEST.replace(":", "-")]


async def test_both_spellings_of_a_digest_are_one(blobs: Blobs):
    await blobs.add(f"sha256-{DIGEST.removeprefix('sha256:').upper()}", pieces())
    assert blobs.find(DIGEST) == blobs.path(DIGEST)


async def test_what_is_there_is_not_written_again(blobs: Blobs):
    await blobs.add(DIGEST, pieces())
    before = blobs.path(DIGEST).stat()
    assert await blobs.add(DIGEST, pieces(b"never read")) is False
    assert (blobs.path(DIGEST).stat().st_ino, blobs.path(DIGEST).stat().st_mtime) == (before.st_ino, before.st_mtime)


async def test_larger_than_what_is_written_at_a_time(blobs: Blobs):
    content = os.urandom(2 * WRITE_BYTES + 5)
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    assert await blobs.add(digest, pieces(content, 100_000))
    assert blobs.path(digest).read_bytes() == content


async def test_other_content_than_was_said_is_refused(blobs: Blobs, folder: Path):
    wrong = f"sha256:{'0' * 64}"
    with pytest.raises(ValidationError) as caught:
        await blobs.add(wrong, pieces())
    assert caught.value.message == f'digest mismatch, expected "{wrong}", got "{DIGEST}"'
    assert files(folder) == []


@pytest.mark.parametrize("digest", ["", "sha256:", "sha256:0", "md5:" + "0" * 64, "sha256:" + "g" * 64, "../../etc"])
def test_what_is_no_digest_names_no_file(blobs: Blobs, digest: str):
    with pytest.raises(ValidationError, match="invalid digest format"):
        blobs.path(digest)


async def test_two_at_once_make_one_file(blobs: Blobs, folder: Path):
    async with anyio.create_task_group() as group:
        for size in (10, 333):
            group.start_soon(blobs.add, DIGEST, pieces(size=size))
    assert files(folder) == [DIGEST.replace(":", "-")]


async def test_an_upload_that_breaks_off_leaves_nothing(blobs: Blobs, folder: Path):
    async def broken() -> AsyncIterator[bytes]:
        yield CONTENT
        raise ClientDisconnect

    with pytest.raises(ClientDisconnect):
        await blobs.add(DIGEST, broken())
    assert files(folder) == []


async def test_an_upload_that_is_cancelled_leaves_nothing(blobs: Blobs, folder: Path):
    began = anyio.Event()

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield bytes(WRITE_BYTES)
            began.set()

    async with anyio.create_task_group() as group:
        group.start_soon(blobs.add, DIGEST, endless())
        await began.wait()
        group.cancel_scope.cancel()
    assert files(folder) == []


@pytest.fixture
def small_files() -> Iterator[None]:
    """No file may grow beyond 1 MB, as on a disk without room."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.usefixtures("small_files")
async def test_what_does_not_fit_is_told_and_leaves_nothing(blobs: Blobs, folder: Path):
    with pytest.raises(DiskFullError, match="the file cannot be stored: File too large") as caught:
        await blobs.add(DIGEST, pieces(bytes(2**21)))
    assert str(folder) in caught.value.resolution_steps[0]
    assert files(folder) == []


async def test_a_file_of_our_own_is_moved_to_its_name(blobs: Blobs, folder: Path):
    with blobs.temporary() as temporary:
        temporary.write_bytes(CONTENT)
        assert blobs.adopt(temporary) == blobs.path(DIGEST)
    assert files(folder) == [DIGEST.replace(":", "-")]


def aged(path: Path) -> Path:
    """The file as if nobody had asked for it within the hour of grace."""
    old = time.time() - GRACE_SECONDS - 1
    os.utime(path, (old, old))
    return path


def linked(path: Path, other: Path) -> Path:
    """Another file, to which `path` leads."""
    path.parent.mkdir(parents=True)
    path.symlink_to(other)
    other.write_bytes(b"mine")
    return other


class TestPruning:
    async def test_what_nothing_uses_goes(self, folder: Path):
        await Blobs(folder).add(DIGEST, pieces())
        blobs = Blobs(folder)  # of the next daemon, which has promised nothing
        unused = aged(blobs.path(DIGEST))
        assert blobs.prune(set(), time.time()) == [unused.name]
        assert files(folder) == []

    async def test_what_is_used_stays(self, blobs: Blobs):
        await blobs.add(DIGEST, pieces())
        assert blobs.prune({aged(blobs.path(DIGEST)).name}, time.time()) == []
        assert blobs.find(DIGEST)

    async def test_what_was_just_uploaded_stays(self, folder: Path):
        await Blobs(folder).add(DIGEST, pieces())
        blobs = Blobs(folder)
        assert blobs.prune(set(), time.time()) == []
        assert blobs.prune(set(), time.time() + GRACE_SECONDS + 1) == [blobs.path(DIGEST).name]

    async def test_what_was_asked_for_stays_until_a_model_has_it(self, blobs: Blobs):
        await blobs.add(DIGEST, pieces())
        path = aged(blobs.path(DIGEST))
        assert blobs.find(DIGEST) == path
        assert blobs.prune(set(), time.time()) == []
        blobs.release([path])
        assert blobs.prune(set(), time.time()) == [path.name]

    async def test_a_promise_ends_with_the_hour_whatever_the_time_of_day(self, blobs: Blobs, clock: SettableClock):
        await blobs.add(DIGEST, pieces())
        tomorrow = time.time() + 24 * 3600
        clock.now += GRACE_SECONDS - 1
        assert blobs.prune(set(), tomorrow) == []
        clock.now += 2
        assert blobs.prune(set(), tomorrow) == [blobs.path(DIGEST).name]

    def test_what_a_killed_daemon_left_goes(self, blobs: Blobs, folder: Path):
        folder.mkdir(parents=True)
        left = {".upload-x1y2z3w4", ".upload.x1y2z3w4.oprel-new"}
        for name in left:
            (folder / name).write_bytes(b"half")
        with blobs.temporary() as temporary:
            assert {*blobs.prune(set(), time.time())} == left
            assert files(folder) == [temporary.name]

    async def test_a_link_is_no_blob(self, blobs: Blobs, folder: Path, tmp_path: Path):
        other = linked(blobs.path(DIGEST), tmp_path / "other")
        assert blobs.find(DIGEST) is None
        assert await blobs.add(DIGEST, pieces())
        assert (blobs.path(DIGEST).is_symlink(), other.read_bytes()) == (False, b"mine")

    def test_what_is_not_ours_stays(self, blobs: Blobs, folder: Path):
        folder.mkdir(parents=True)
        for name in ("notes.txt", "sha256-short", "model.gguf"):
            (folder / name).write_text("mine")
            aged(folder / name)
        (folder / ("sha256-" + "0" * 63)).mkdir()
        assert blobs.prune(set(), time.time()) == []
        assert len(files(folder)) == 4

    def test_without_a_folder_there_is_nothing_to_do(self, blobs: Blobs):
        assert blobs.prune(set(), time.time()) == []


async def test_the_parts_of_a_split_model_stand_under_names_that_an_engine_knows(
    blobs: Blobs, folder: Path, clock: SettableClock
):
    other = f"sha256:{hashlib.sha256(b'two').hexdigest()}"
    await blobs.add(DIGEST, pieces())
    await blobs.add(other, pieces(b"two"))
    first = blobs.join([blobs.path(DIGEST), blobs.path(other)])
    assert blobs.join([blobs.path(DIGEST), blobs.path(other)]) == first
    assert files(first.parent) == ["model-00001-of-00002.gguf", "model-00002-of-00002.gguf"]
    assert [(first.parent / name).read_bytes() for name in files(first.parent)] == [CONTENT, b"two"]
    later = time.time() + GRACE_SECONDS + 1
    parts = {blobs.path(DIGEST).name, blobs.path(other).name}
    clock.now += GRACE_SECONDS + 1
    assert blobs.prune(parts, later) == [first.parent.name]
    assert files(folder) == sorted(parts)
