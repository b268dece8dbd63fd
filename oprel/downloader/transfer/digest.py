"""Digests of files: SHA-256 while a file is being written, and git's hash of a small one."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import anyio
import anyio.to_thread

from oprel.core.exceptions import DownloadError
from oprel.downloader.source import RemoteFile
from oprel.utils.process import systems

PIECE_BYTES = 2**20
STEP_BYTES = 64 * PIECE_BYTES  # per thread call: a cancelled transfer waits for at most one


class Digest:
    """Hashes the file behind `descriptor`, whose first `frontier()` bytes are complete."""

    def __init__(self, descriptor: int, frontier: Callable[[], int]) -> None:
        self._descriptor = descriptor
        self._frontier = frontier
        self._sha256 = hashlib.sha256()
        self._buffer = memoryview(bytearray(PIECE_BYTES))
        self._more = anyio.Event()
        self.done_bytes = 0

    @property
    def hexadecimal(self) -> str:
        return self._sha256.hexdigest()

    def wake(self) -> None:
        """Signal that `frontier` has advanced."""
        self._more.set()

    async def follow(self, size_bytes: int, moved: Callable[[], None]) -> None:
        """Return once the whole file is hashed; calls `moved` after each step. Raises OSError."""
        while self.done_bytes < size_bytes:
            self._more = anyio.Event()
            end = min(self._frontier(), self.done_bytes + STEP_BYTES)
            if end == self.done_bytes:
                await self._more.wait()
                continue
            await anyio.to_thread.run_sync(self._read_until, end)
            moved()

    def _read_until(self, end: int) -> None:
        while self.done_bytes < end:
            piece = self._buffer[: min(PIECE_BYTES, end - self.done_bytes)]
            count = systems.read_into(self._descriptor, piece, self.done_bytes)
            if not count:
                raise OSError("the file was truncated while it was written")
            self._sha256.update(piece[:count])
            self.done_bytes += count


def check_git_hash(path: Path, file: RemoteFile) -> None:
    """Verify a small file by its git hash; on mismatch delete it and raise DownloadError."""
    content = path.read_bytes()
    digest = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    if digest != file.etag:
        path.unlink()
        raise DownloadError(
            f"digest mismatch for {file.name}: want {file.etag}, got {digest}", "Try again.", fault="checksum"
        )
