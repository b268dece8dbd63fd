"""The owner of all downloads of models.

A download is recorded in state.db from its start, so it continues after a restart. Clients that request the same model
share a download. It runs while a client follows it, or on its own if requested (`keep`). A network or a server that is
away does not end it: it waits, and goes on by itself.
"""

import asyncio
import logging
import sqlite3
import uuid
from collections.abc import AsyncGenerator, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from oprel.api_models import ProgressResponse
from oprel.core.config import Config
from oprel.core.exceptions import DownloadError, ModelNotFoundError, OprelError
from oprel.core.names import ModelRef
from oprel.downloader.backoff import Unreachable, backoff
from oprel.downloader.offers import Choose, usual
from oprel.downloader.source import Progress
from oprel.downloader.transfer import disk
from oprel.server.downloads.records import DownloadState, Records
from oprel.server.downloads.task import Download, FreeReplaced, keep_replaced, restored_error
from oprel.server.errors import unexpected
from oprel.server.models.library import Library

if TYPE_CHECKING:
    from oprel.downloader.sources import Sources
    from oprel.server.downloads.fetcher import ModelFetcher

logger = logging.getLogger(__name__)

TELL_INTERVAL = 0.06  # s between two lines about one file, as with Ollama
VERIFYING = "verifying sha256 digest"
FIRST_WAIT = 1.0  # s until a source is asked again that could not be reached


class Downloads:
    """`choose`, `serves_folders` and `free_replaced` are for `ModelFetcher`.
    `draining` is true once the daemon is stopping.

    `unreadable` counts records of a later version; it is not known which files those downloads want.
    """

    def __init__(
        self,
        config: Config,
        library: Library,
        choose: Choose = usual,
        serves_folders: Callable[[], bool] = lambda: False,
        draining: Callable[[], bool] = lambda: False,
        free_replaced: FreeReplaced = keep_replaced,
    ) -> None:
        self._draining = draining
        self._fetched = library.fetched
        self._for_fetcher = config, library, choose, serves_folders, free_replaced
        self._records = Records(config.home_dir / "state.db")
        self._opened: ModelFetcher | None = None
        self._opening = asyncio.Lock()
        self._all: dict[str, Download] = {}
        self.unreadable = 0

    async def sources(self) -> "Sources":
        return await (await self._fetcher()).sources()

    async def _fetcher(self) -> "ModelFetcher":
        """Made at the first download: the imports take half a second."""
        async with self._opening:
            if self._opened is None:
                self._opened = await anyio.to_thread.run_sync(self._open_fetcher)
        return self._opened

    def _open_fetcher(self) -> "ModelFetcher":
        from oprel.server.downloads.fetcher import ModelFetcher

        return ModelFetcher(*self._for_fetcher)

    def open(self) -> None:
        """Resume the downloads of the last daemon."""
        records, self.unreadable = self._records.all()
        for record in records:
            try:
                ref = ModelRef.parse(record.name)
                chosen = ModelRef.parse(record.chosen) if record.chosen else None
            except OprelError:  # written by a later version
                self.unreadable += 1
                continue
            error = restored_error(record)
            download = Download(
                id=record.id,
                ref=ref,
                state=record.state,
                keep=True,
                error=error,
                insecure=record.insecure,
                public_only=record.public_only,
                chosen=chosen,
                started=record.started,
                recorded=(record.total, record.completed),
                destinations=frozenset(Path(place) for place in record.places),
            )
            self._all[download.id] = download
            if download.state is DownloadState.RUNNING:
                self._run(download)

    async def close(self) -> None:
        """Stop all; the running ones continue with the next daemon."""
        jobs = [download.job for download in self._all.values() if download.job]
        for job in jobs:
            job.cancel()
        await asyncio.gather(*jobs, return_exceptions=True)
        self._records.close()
        if self._opened:
            await self._opened.close()

    def all(self) -> Sequence[Download]:
        """Oldest first."""
        return tuple(self._all.values())

    def get(self, id: str) -> Download:
        """Raises ModelNotFoundError."""
        if id in self._all:
            return self._all[id]
        raise ModelNotFoundError(f"there is no download {id}", "`GET /api/models/download` lists all downloads.")

    def start(self, ref: ModelRef, *, keep: bool, insecure: bool = False, public_only: bool = False) -> Download:
        """The download of that model: the existing one, resumed if necessary, or a new one.

        `insecure`: access registries over http. `public_only`: connect to public addresses only.
        """
        alike = (download for download in self._all.values() if download.ref.key == ref.key)
        download = next((download for download in alike if download.state is not DownloadState.DONE), None)
        if download and download.state is DownloadState.RUNNING:
            download.keep = download.keep or keep
            return download
        download = download or Download(id=uuid.uuid4().hex[:12], ref=ref)
        download.keep, download.insecure, download.public_only = keep, insecure, public_only
        self._all[download.id] = download
        self._run(download)
        return download

    def pause(self, id: str) -> Download:
        """Pause a download. A finished one does not change. Raises ModelNotFoundError."""
        download = self.get(id)
        if download.state is DownloadState.RUNNING:
            self._stop(download, DownloadState.PAUSED)
        return download

    def resume(self, id: str) -> Download:
        """Resume a paused or failed download. Raises ModelNotFoundError."""
        download = self.get(id)
        download.keep = True
        if download.state in (DownloadState.PAUSED, DownloadState.FAILED):
            self._run(download)
        return download

    async def cancel(self, id: str) -> Download:
        """Cancel a download and delete its partial files. A finished model stays. Raises ModelNotFoundError."""
        download = self.get(id)
        job = download.job
        if download.state is DownloadState.RUNNING:
            self._stop(download, DownloadState.PAUSED)
        if job:
            await asyncio.gather(job, return_exceptions=True)
        if download.state is not DownloadState.DONE:
            await anyio.to_thread.run_sync(self._discard, download, download.destinations)
        self._forget(download)
        return download

    async def follow(self, download: Download) -> AsyncGenerator[ProgressResponse, None]:
        """Yield each step until the model is installed, in Ollama's words. Raises the error that ended the download."""
        download.waiting += 1
        sent: dict[str, Progress] = {}
        verifying, waits_for = False, ""
        try:
            yield ProgressResponse(status="pulling manifest")
            while True:
                changed = download.changed
                if download.waits_for not in ("", waits_for):
                    yield ProgressResponse(status=download.waits_for)
                waits_for = download.waits_for
                for line in () if verifying else download.news(sent):
                    yield line
                if download.is_verifying and not verifying:
                    verifying = True
                    yield ProgressResponse(status=VERIFYING)
                if download.state is not DownloadState.RUNNING:
                    break
                await changed.wait()
                await anyio.sleep(TELL_INTERVAL)
        finally:
            download.waiting -= 1
            self._left(download)
        if download.state is not DownloadState.DONE:
            raise download.error or DownloadError("the download was paused", "Try again to continue.")
        for status in (*([] if verifying else [VERIFYING]), "writing manifest", *download.remarks, "success"):
            yield ProgressResponse(status=status)

    def _left(self, download: Download) -> None:
        """A client has left. As with Ollama, a download without clients stops."""
        if download.state is DownloadState.RUNNING and not (download.waiting or download.keep or self._draining()):
            self._stop(download, DownloadState.PAUSED)
            if not download.destinations:
                self._forget(download)  # nothing to resume

    def _stop(self, download: Download, state: DownloadState) -> None:
        download.state, download.waits_for = state, ""
        if download.job:
            download.job.cancel()
        self._save(download)

    def _run(self, download: Download) -> None:
        before = download.job
        download.state, download.error, download.waits_for = DownloadState.RUNNING, None, ""
        download.job = asyncio.create_task(self._work(download, before))
        download.job.add_done_callback(partial(self._ended, download))
        self._save(download)

    def _ended(self, download: Download, job: "asyncio.Task[None]") -> None:
        if download.job is not job:
            return
        download.job = None
        if job.cancelled():  # the canceller has set the state
            return
        error = job.exception()
        if isinstance(error, Exception):
            download.error = error if isinstance(error, OprelError) else unexpected(error)
            logger.warning("the download of %s failed: %s", download.ref.text, download.error.message)
        download.state = DownloadState.FAILED if download.error else DownloadState.DONE
        self._save(download)
        if not (download.keep or download.destinations):
            self._forget(download)  # nothing to fetch, or no source had it: nothing to resume

    def _forget(self, download: Download) -> None:
        self._records.delete(download.id)
        self._all.pop(download.id, None)

    def _save(self, download: Download) -> None:
        try:
            self._records.put(download.record)
        except sqlite3.Error as error:  # the disk is full, perhaps because of this download
            logger.error("cannot record the download of %s: %s", download.ref.text, error)
        download.tell()

    async def _work(self, download: Download, before: "asyncio.Task[None] | None") -> None:
        from oprel.downloader.network.waits import tell_waits

        if before:
            await asyncio.wait([before])
        loop = asyncio.get_running_loop()
        tell_waits(lambda why: loop.call_soon_threadsafe(download.waits, why))
        failures = 0
        while True:
            done = download.completed
            try:
                fetcher = await self._fetcher()
                await fetcher.fetch(download, partial(self._save, download))
                return await anyio.to_thread.run_sync(self._discard, download, download.replaced)
            except Unreachable as error:
                if not download.outlives(error):
                    raise
                failures = 1 if download.completed > done else failures + 1
                await self._wait(download, failures, error)

    async def _wait(self, download: Download, failures: int, error: Unreachable) -> None:
        seconds = max(backoff(failures, FIRST_WAIT), error.seconds)
        logger.info("the download of %s goes on in %.0f s: %s", download.ref.text, seconds, error.message)
        download.waits_for = f"waiting for the {error.what}: {error.message}"
        download.tell()
        await anyio.sleep(seconds)

    def _discard(self, download: Download, destinations: frozenset[Path]) -> None:
        """Delete the partial files of a download, unless others want them."""
        others = (other for other in self._all.values() if other is not download)
        for destination in destinations - {path for other in others for path in other.destinations}:
            disk.discard(disk.part_of(destination))
            self._fetched.abandon(destination)
