"""Downloads one file completely and verified, resuming after any interruption.

Several concurrent requests fill `NAME.part`; `NAME.part.json` records which bytes are complete. Both survive a kill -9
at any time. A transfer holds the kernel's lock on `NAME.part`; another process that wants the file waits, and then
finds it complete or continues it.
"""

import logging
import os
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path

import anyio
import anyio.to_thread
import httpx

from oprel.core.configuration.rates import HourlyRate
from oprel.core.exceptions import NO_SPACE, DownloadError
from oprel.downloader.backoff import Throttle, Unreachable, backoff
from oprel.downloader.network.waits import announce
from oprel.downloader.source import Progress, RemoteFile
from oprel.downloader.transfer import disk, segments
from oprel.downloader.transfer.block import Block
from oprel.downloader.transfer.digest import Digest
from oprel.downloader.transfer.ranges import Changed, InXetOnly, NoRanges, RangeRequests, Silent, Timeouts, TryAgain
from oprel.downloader.transfer.segments import Segments
from oprel.downloader.transfer.xet import XetReading
from oprel.utils.process import systems

logger = logging.getLogger(__name__)

MIB = 2**20
BLOCK_BYTES = MIB // 2  # per write: larger blocks would not stay in the CPU cache
LOOK_INTERVAL = 0.2  # s between two checks of a file that another process downloads
WRITE_INTERVAL = 0.25  # s after which even a small block is written and reported
STARTS = 3  # attempts from the beginning, if the file changes during the transfer


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Parameters of a transfer; times are in seconds.

    `segments` is the number of concurrent requests, `segment_bytes` the size of one, an upper bound for what is fetched
    again after a crash. `tries` is the limit of consecutive requests without data; `first_wait` follows the first of
    them. Without `rates` there is no limit. Unless files may be `sparse`, one grows from its start, in one request
    after the other.
    """

    segments: int = 8
    segment_bytes: int = 16 * MIB
    header_timeout: float = 30.0
    stall_timeout: float = 30.0
    tries: int = 8
    first_wait: float = 0.5
    rates: tuple[HourlyRate, ...] = ()
    sparse: bool = True


def _ignore(progress: Progress) -> None:
    pass


async def fetch(
    file: RemoteFile,
    destination: Path,
    *,
    client: httpx.AsyncClient,
    progress: Callable[[Progress], None] = _ignore,
    limits: Limits = Limits(),
    pace: Throttle | None = None,
) -> None:
    """Download `file` to `destination` and verify it. An existing file of the right size is accepted as it is.

    Partial state lies beside it as `destination.name + ".part"` and `".part.json"`. It is kept on cancellation, and the
    next call, from any process, continues it. A `pace` shared by several transfers replaces `limits.rates`. Raises
    DownloadError.
    """
    part = disk.part_of(destination)
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        descriptor = await _lock(part, destination, file, progress)
        if descriptor is not None:
            try:
                transfer = _Transfer(file, part, descriptor, client, progress, limits, pace or Throttle(limits.rates))
                await transfer.run()
                await anyio.to_thread.run_sync(disk.publish, part, descriptor, destination)
            finally:
                os.close(descriptor)
    except OSError as error:
        raise disk.storage_error(error, file.name, file.size_bytes, destination.parent) from error
    progress(Progress(file, file.size_bytes, "done"))


async def _lock(part: Path, destination: Path, file: RemoteFile, progress: Callable[[Progress], None]) -> int | None:
    """Open and lock the partial file; None if another process has finished it. Raises OSError."""
    while not disk.is_there(file, destination):
        if (descriptor := disk.open_alone(part)) is not None:
            return descriptor
        if state := segments.load(disk.state_of(part), segments.Version(file.size_bytes, file.sha256)):
            progress(Progress(file, state[1].done_bytes, "downloading"))
        await anyio.sleep(LOOK_INTERVAL)
    return None


class _Transfer:
    """Fills the file behind `descriptor`, which this process has locked."""

    def __init__(
        self,
        file: RemoteFile,
        part: Path,
        descriptor: int,
        client: httpx.AsyncClient,
        progress: Callable[[Progress], None],
        limits: Limits,
        pace: Throttle,
    ) -> None:
        self._file, self._part, self._descriptor = file, part, descriptor
        self._progress, self._limits, self._pace = progress, limits, pace
        self._requests = RangeRequests(client, file, Timeouts(limits.header_timeout, limits.stall_timeout))
        # All buffers plus the bytes not yet recorded are less than one segment together.
        self._block_bytes = max(1, min(BLOCK_BYTES, limits.segment_bytes // (2 * limits.segments)))
        self._save_bytes = limits.segment_bytes // 4
        self._writing = anyio.CapacityLimiter(1)  # concurrent writes would spin on each other in the kernel
        self._unsaved = 0
        self._segments = Segments(file.size_bytes, limits.segment_bytes)
        self._digest = self._new_digest()

    async def run(self) -> None:
        """Return once the file is complete and verified. Raises DownloadError, OSError."""
        try:
            await self._until_verified()
        finally:
            with anyio.CancelScope(shield=True):
                await self._requests.aclose()
            if not (self._segments.done_bytes or self._segments.is_complete):
                disk.discard(self._part)

    async def _until_verified(self) -> None:
        resumed = self._resume()
        for _ in range(STARTS):
            try:
                if await self._attempt():
                    return
            except Changed as change:
                logger.warning("%s: restarting the download", change)
            else:
                if not resumed:
                    raise self._damaged()
                logger.warning("the partial file of %s is damaged: restarting the download", self._file.name)
            resumed = False
            self._restart()
        raise DownloadError(f"{self._file.name} keeps changing during the download", "Try again later.")

    async def _attempt(self) -> bool:
        """Fetch what is missing; returns whether the digest matches."""
        self._check_space()
        try:
            await together(self._fill, self._hash)
        finally:
            self._save()
        return self._file.sha256 in ("", self._digest.hexadecimal)

    def _resume(self) -> bool:
        """Restore the saved state; returns whether it has any bytes."""
        state = segments.load(disk.state_of(self._part), self._requests.version)
        size = os.fstat(self._descriptor).st_size
        if state is None or size < state[1].end or (self._limits.sparse and size != self._file.size_bytes):
            self._restart()
            return False
        self._requests.version, self._segments = state
        self._digest = self._new_digest()
        return self._segments.done_bytes > 0

    def _restart(self) -> None:
        disk.forget(self._part)
        os.ftruncate(self._descriptor, 0)
        if self._limits.sparse:
            os.ftruncate(self._descriptor, self._file.size_bytes)
        self._requests.version = segments.Version(self._file.size_bytes, self._file.sha256)
        self._segments = Segments(self._file.size_bytes, self._limits.segment_bytes)
        self._digest = self._new_digest()

    def _new_digest(self) -> Digest:
        return Digest(self._descriptor, lambda: self._segments.frontier)

    def _damaged(self) -> DownloadError:
        disk.discard(self._part)
        return DownloadError(
            f"digest mismatch for {self._file.name}, the file must be downloaded again:"
            f" want sha256:{self._file.sha256}, got sha256:{self._digest.hexadecimal}",
            "The data was discarded. If it happens again, a proxy or the server alters the file.",
            fault="checksum",
        )

    def _check_space(self) -> None:
        allocated = systems.allocated_bytes(os.fstat(self._descriptor))
        disk.check_space(self._file.name, self._file.size_bytes - allocated, self._part.parent)

    async def _hash(self) -> None:
        if self._file.sha256:
            await self._digest.follow(self._file.size_bytes, self._tell)

    async def _fill(self) -> None:
        try:
            await self._in_ranges(self._requests)
        except InXetOnly as error:
            logger.info("reading %s from Xet storage: %s", self._file.name, error.message)
            self._requests.answered.set()
            await self._in_ranges(XetReading(self._file, error.place, self._limits.stall_timeout))
        except NoRanges:
            logger.info("the server does not support ranges for %s: the download cannot be resumed", self._file.name)
            await self._in_one_piece()

    async def _in_ranges(self, reading: RangeRequests | XetReading) -> None:
        missing = deque(self._segments.missing())

        async def work() -> None:
            while missing:
                await self._segment(missing.popleft(), reading)

        async def help() -> None:
            await self._requests.answered.wait()  # else each would discover a lack of range support
            await work()

        helpers = min(self._limits.segments, len(missing)) - 1 if self._limits.sparse else 0
        await together(work, *[help] * helpers)

    async def _segment(self, number: int, reading: RangeRequests | XetReading) -> None:
        failures = 0
        while gap := self._segments.gap(number):
            try:
                async with reading.range(*gap) as pieces:
                    await self._write(number, pieces, gap)
            except TryAgain as error:
                failures = failures + 1 if self._segments.gap(number) == gap else 1
                await self._wait(failures, error)

    async def _write(self, number: int, pieces: AsyncIterator[bytes], gap: tuple[int, int]) -> None:
        """Write a range's bytes to the file, but never beyond the requested end."""
        block = Block(*gap)
        due = time.monotonic() + WRITE_INTERVAL
        try:
            async for piece in pieces:
                block.add(piece)
                if self._pace.limits:
                    await self._pace.take(len(piece))
                if block.is_full(self._block_bytes) or time.monotonic() > due:
                    count = await anyio.to_thread.run_sync(block.write, self._descriptor, limiter=self._writing)
                    due = time.monotonic() + WRITE_INTERVAL
                    self._count(number, count)
                if block.has_dropped:
                    break  # the answer may be endless
        finally:
            if block.size_bytes:
                self._count(number, block.write(self._descriptor))

    async def _in_one_piece(self) -> None:
        failures = 0
        while not self._segments.is_complete:
            before = self._segments.frontier
            try:
                async with self._requests.whole() as pieces:
                    await self._write_whole(pieces)
                if not self._segments.is_complete:
                    raise TryAgain("the answer ended early")
            except TryAgain as error:
                failures = failures + 1 if self._segments.frontier == before else 1
                await self._wait(failures, error)

    async def _write_whole(self, pieces: AsyncIterator[bytes]) -> None:
        """Write the bytes that the file does not have yet."""
        position = 0
        async for piece in pieces:
            if self._pace.limits:
                await self._pace.take(len(piece))
            end = min(position + len(piece), self._file.size_bytes)
            frontier = self._segments.frontier
            if end > frontier >= position:
                block = Block(frontier, end - 1)
                block.add(piece[frontier - position :])
                await anyio.to_thread.run_sync(block.write, self._descriptor, limiter=self._writing)
                self._segments.add_until(end)
                self._moved(end - frontier)
            if position + len(piece) > end:
                break  # the answer may be endless
            position = end

    def _count(self, number: int, count: int) -> None:
        self._segments.add(number, count)
        self._moved(count)

    def _moved(self, count: int) -> None:
        self._unsaved += count
        if self._unsaved >= self._save_bytes:
            self._save()
        self._digest.wake()
        self._tell()

    def _save(self) -> None:
        try:
            segments.save(disk.state_of(self._part), self._requests.version, self._segments)
            self._unsaved = 0
        except FileNotFoundError:
            pass  # the transfer was discarded together with its state
        except OSError as error:
            if error.errno not in NO_SPACE:  # the older state is still valid
                raise

    def _tell(self) -> None:
        if self._segments.is_complete:
            self._progress(Progress(self._file, self._digest.done_bytes, "verifying"))
        else:
            self._progress(Progress(self._file, self._segments.done_bytes, "downloading"))

    async def _wait(self, failures: int, error: TryAgain) -> None:
        if failures >= self._limits.tries:
            raise Unreachable(
                f"cannot download {self._file.name}: {error} ({failures} attempts in a row)",
                "The partial file is kept: try again to continue.",
            ) from error
        seconds = max(backoff(failures, self._limits.first_wait), error.seconds or 0.0)
        announce(f"{self._file.name}: {error}", seconds, was_silent=isinstance(error, Silent))
        await anyio.sleep(seconds)


async def together(*jobs: Callable[[], Coroutine[object, object, None]]) -> None:
    """Run all jobs concurrently; the first failure cancels the others and is raised unwrapped."""
    try:
        async with anyio.create_task_group() as group:
            for job in jobs:
                group.start_soon(job)
    except BaseExceptionGroup as several:
        error: BaseException = several
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        raise error from error.__cause__
