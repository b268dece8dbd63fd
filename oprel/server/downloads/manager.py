"""Models on their way here: the only owner of downloads.

A download has a record in state.db from its beginning, so that it goes on after a restart. Clients that want the same
model share one; it goes on while somebody waits for it, or by itself where it was asked to (`keep`).
"""

import asyncio
import contextlib
import logging
import sqlite3
import time
import uuid
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path

import anyio
import anyio.to_thread
import httpx

from oprel.api_models import ProgressResponse
from oprel.core.config import Config
from oprel.core.exceptions import DownloadError, InvalidModelError, ModelNotFoundError, OprelError
from oprel.core.names import ModelRef, hub_origin
from oprel.downloader.backoff import Throttle
from oprel.downloader.cache import HubCache
from oprel.downloader.connections import open_client
from oprel.downloader.offers import Choose, Offer, usual
from oprel.downloader.source import Progress
from oprel.downloader.sources import Sources
from oprel.downloader.transfer import disk
from oprel.downloader.transfer.fetch import fetch
from oprel.server.downloads.records import DownloadState, Records
from oprel.server.downloads.task import Download
from oprel.server.errors import unexpected
from oprel.server.models.library import InstalledModel, Library

logger = logging.getLogger(__name__)

TELL_INTERVAL = 0.06  # s between two lines about one file, as with Ollama
VERIFYING = "verifying sha256 digest"
MEGABYTE = 10**6


class Downloads:
    """`choose` takes the variant where a name does not say which; `serves_folders` tells whether an engine is here for
    repositories of safetensors; `draining` is true when the daemon is to end.
    """

    def __init__(
        self,
        config: Config,
        library: Library,
        choose: Choose = usual,
        serves_folders: Callable[[], bool] = lambda: False,
        draining: Callable[[], bool] = lambda: False,
    ) -> None:
        self._config, self._library, self._draining = config, library, draining
        self._choose, self._serves_folders = choose, serves_folders
        self._records = Records(config.home_dir / "state.db")
        self._turns = anyio.Semaphore(config.max_concurrent_downloads)
        self._pace = Throttle(config.download_rate * MEGABYTE)
        self._all: dict[str, Download] = {}

    @cached_property
    def _client(self) -> httpx.AsyncClient:
        return open_client()

    @cached_property
    def sources(self) -> Sources:
        return Sources(self._config, self._client, self._choose, self._serves_folders)

    def open(self) -> None:
        """Go on with what the last daemon was at."""
        for record in self._records.all():
            try:
                ref = ModelRef.parse(record.name)
            except OprelError:  # written by a later oprel
                continue
            error = DownloadError(record.error, "Ask again to carry on.") if record.error else None
            download = Download(
                record.id,
                ref,
                record.state,
                keep=True,
                error=error,
                known=(record.total, record.completed),
                destinations=frozenset(Path(place) for place in record.places),
            )
            self._all[download.id] = download
            if download.state is DownloadState.RUNNING:
                self._run(download)

    async def close(self) -> None:
        """Stop all; those that ran go on with the next daemon."""
        jobs = [download.job for download in self._all.values() if download.job]
        for job in jobs:
            job.cancel()
        await asyncio.gather(*jobs, return_exceptions=True)
        self._records.close()
        if "_client" in vars(self):
            await self._client.aclose()

    def all(self) -> Sequence[Download]:
        """Oldest first."""
        return tuple(self._all.values())

    def get(self, id: str) -> Download:
        """Raises ModelNotFoundError."""
        if id in self._all:
            return self._all[id]
        raise ModelNotFoundError(f"there is no download {id}", "`GET /api/models/download` shows those there are.")

    def start(self, ref: ModelRef, *, keep: bool, insecure: bool = False) -> Download:
        """The download of that model: the one there is, carried on if need be, or a new one.

        `insecure`: a registry is asked over http.
        """
        alike = (one for one in self._all.values() if one.ref.key == ref.key and one.state is not DownloadState.DONE)
        download = next(alike, None)
        if download and download.state is DownloadState.RUNNING:
            download.keep = download.keep or keep
            return download
        download = download or Download(uuid.uuid4().hex[:12], ref)
        download.keep, download.insecure = keep, insecure
        self._all[download.id] = download
        self._run(download)
        return download

    def pause(self, id: str) -> Download:
        """Stop a download, so that it can go on. One that has ended stays as it is. Raises ModelNotFoundError."""
        download = self.get(id)
        if download.state is DownloadState.RUNNING:
            self._stop(download, DownloadState.PAUSED)
        return download

    def resume(self, id: str) -> Download:
        """Carry on with one that was paused or has failed. Raises ModelNotFoundError."""
        download = self.get(id)
        download.keep = True
        if download.state in (DownloadState.PAUSED, DownloadState.FAILED):
            self._run(download)
        return download

    async def cancel(self, id: str) -> Download:
        """Give a download up, and what is here of its files. A finished model stays. Raises ModelNotFoundError."""
        download = self.get(id)
        job = download.job
        if download.state is DownloadState.RUNNING:
            self._stop(download, DownloadState.PAUSED)
        if job:
            await asyncio.gather(job, return_exceptions=True)
        if download.state is not DownloadState.DONE:
            await anyio.to_thread.run_sync(self._discard, download)
        self._forget(download)
        return download

    async def follow(self, download: Download) -> AsyncGenerator[ProgressResponse, None]:
        """Each step until the model is here, in Ollama's words. Raises what ended the download."""
        download.waiting += 1
        told: dict[str, Progress] = {}
        verifying = False
        try:
            yield ProgressResponse(status="pulling manifest")
            while True:
                changed = download.changed
                for line in download.news(told):
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
            raise download.error or DownloadError("the download was paused", "Ask again to carry on.")
        for status in (*([] if verifying else [VERIFYING]), "writing manifest", "success"):
            yield ProgressResponse(status=status)

    def _left(self, download: Download) -> None:
        """A client waits no more. As with Ollama, a download that nobody waits for stops."""
        if download.state is DownloadState.RUNNING and not (download.waiting or download.keep or self._draining()):
            self._stop(download, DownloadState.PAUSED)
            if not download.destinations:
                self._forget(download)  # there is nothing to carry on with

    def _stop(self, download: Download, state: DownloadState) -> None:
        download.state = state
        if download.job:
            download.job.cancel()
        self._noted(download)

    def _run(self, download: Download) -> None:
        before = download.job
        download.state, download.error = DownloadState.RUNNING, None
        download.job = asyncio.create_task(self._work(download, before))
        download.job.add_done_callback(partial(self._ended, download))
        self._noted(download)

    def _ended(self, download: Download, job: "asyncio.Task[None]") -> None:
        if download.job is not job:
            return
        download.job = None
        if job.cancelled():  # whoever did has said why
            return
        error = job.exception()
        if isinstance(error, Exception):
            download.error = error if isinstance(error, OprelError) else unexpected(error)
            logger.warning("%s was not downloaded: %s", download.ref.text, download.error.message)
        download.state = DownloadState.FAILED if download.error else DownloadState.DONE
        self._noted(download)
        if not (download.keep or download.destinations):
            self._forget(download)  # nothing was to be fetched, or nobody had it: there is nothing to carry on with

    def _forget(self, download: Download) -> None:
        self._records.delete(download.id)
        self._all.pop(download.id, None)

    def _noted(self, download: Download) -> None:
        try:
            self._records.put(download.record)
        except sqlite3.Error:  # the disk is full, perhaps by this very download
            logger.exception("the download of %s was not written down", download.ref.text)
        download.tell()

    async def _work(self, download: Download, before: "asyncio.Task[None] | None") -> None:
        if before:
            await asyncio.wait([before])
        model = await self._installed(download.ref)
        if model and not model.manifest.source:
            return  # it never came from elsewhere: there is nobody to ask for a newer one
        async with self._turns:
            try:
                offer = await self.sources.find(download.chosen or download.ref, insecure=download.insecure)
            except OprelError as error:
                if model is None:
                    raise
                logger.info("%s stays as it is: %s", download.ref.text, error.message)
                return
            await self._fetch(download, offer)

    async def _fetch(self, download: Download, offer: Offer) -> None:
        download.offered(offer)
        self._noted(download)
        await anyio.to_thread.run_sync(_check_space, offer)
        for target in offer.targets:
            await fetch(target.file, target.destination, client=self._client, progress=download.heard, pace=self._pace)
        await anyio.to_thread.run_sync(self._adopt, download.ref, offer)

    def _adopt(self, ref: ModelRef, offer: Offer) -> None:
        """Make the fetched files a model. Raises OprelError."""
        try:
            manifest = offer.manifest(offer.name or ref.text)
        except OSError as error:
            raise DownloadError(f"{ref.text} cannot be put in its place: {error.strerror}") from error
        try:
            self._library.check(manifest)
        except InvalidModelError as error:
            for target in offer.targets:
                if not target.file.sha256:  # nobody could tell that it came over wrong: the next try fetches it again
                    HubCache(self._config.hub_dir).discard(target.destination)
            message = error.message.replace(str(manifest.weights), offer.title)  # that file says nothing to the user
            raise InvalidModelError(message, *error.resolution_steps) from error
        asked = hub_origin(ref)
        chosen = time.time() if asked and not asked.names_one else 0.0
        self._library.manifests.put(replace(manifest, chosen=chosen), instead_of=ref)

    async def _installed(self, ref: ModelRef) -> InstalledModel | None:
        try:
            return await self._library.find(ref.text, may_use_paths=False)
        except (ModelNotFoundError, InvalidModelError):
            return None

    def _discard(self, download: Download) -> None:
        others = frozenset(path for one in self._all.values() if one is not download for path in one.destinations)
        for destination in download.destinations - others:
            disk.discard(disk.part_of(destination))


def _check_space(offer: Offer) -> None:
    """Raises DiskFullError when all files together would not fit; OSError is for who writes the first of them."""
    folder = offer.targets[0].destination.parent
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        needed = sum(disk.missing_bytes(target.file, target.destination) for target in offer.targets)
        disk.check_space(offer.title, needed, folder)
