"""The owner of all downloads of models.

A download is recorded in state.db from its start, so it continues after a restart. Clients that request the same model
share a download. It runs while a client follows it, or on its own if requested (`keep`).
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
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from oprel.api_models import ProgressResponse
from oprel.core.config import Config
from oprel.core.configuration.rates import parse_rates
from oprel.core.exceptions import DownloadError, InvalidModelError, ModelNotFoundError, OprelError
from oprel.core.names import ModelRef, hub_origin
from oprel.downloader.backoff import Throttle
from oprel.downloader.cache import HubCache
from oprel.downloader.offers import Choose, Offer, usual
from oprel.downloader.source import Progress
from oprel.downloader.transfer import disk
from oprel.server.downloads.records import DownloadState, Records
from oprel.server.downloads.task import Download
from oprel.server.errors import unexpected
from oprel.server.models.installed_model import InstalledModel
from oprel.server.models.library import Library

if TYPE_CHECKING:
    import httpx

    from oprel.downloader.sources import Sources

logger = logging.getLogger(__name__)

TELL_INTERVAL = 0.06  # s between two lines about one file, as with Ollama
VERIFYING = "verifying sha256 digest"


class Downloads:
    """`choose` picks the variant if the name does not; `serves_folders` tells whether an engine for safetensors
    repositories is installed; `draining` is true once the daemon is stopping.

    `unreadable` counts records of a later version; it is not known which files those downloads want.
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
        self._slots = anyio.Semaphore(config.max_concurrent_downloads)
        self._pace = Throttle(parse_rates(config.download_rate))
        self._all: dict[str, Download] = {}
        self.unreadable = 0

    @cached_property
    def _client(self) -> "httpx.AsyncClient":
        from oprel.downloader.network.clients import open_client  # imported late: a daemon may download nothing

        return open_client()

    @cached_property
    def _public_client(self) -> "httpx.AsyncClient":
        from oprel.downloader.network.clients import open_client
        from oprel.downloader.network.public_only import PublicOnly, exempt_hosts

        return open_client(PublicOnly(exempt_hosts(self._config)))

    @cached_property
    def sources(self) -> "Sources":
        return self._sources(self._client)

    @cached_property
    def _public_sources(self) -> "Sources":
        return self._sources(self._public_client)

    def _sources(self, client: "httpx.AsyncClient") -> "Sources":
        from oprel.downloader.sources import Sources

        return Sources(self._config, client, self._choose, self._serves_folders)

    def open(self) -> None:
        """Resume the downloads of the last daemon."""
        records, self.unreadable = self._records.all()
        for record in records:
            try:
                ref = ModelRef.parse(record.name)
            except OprelError:  # written by a later version
                self.unreadable += 1
                continue
            error = DownloadError(record.error, "Try again to continue.") if record.error else None
            download = Download(
                id=record.id,
                ref=ref,
                state=record.state,
                keep=True,
                error=error,
                public_only=record.public_only,
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
        for name in {"_client", "_public_client"} & vars(self).keys():
            await getattr(self, name).aclose()

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
            await anyio.to_thread.run_sync(self._discard, download)
        self._forget(download)
        return download

    async def follow(self, download: Download) -> AsyncGenerator[ProgressResponse, None]:
        """Yield each step until the model is installed, in Ollama's words. Raises the error that ended the download."""
        download.waiting += 1
        sent: dict[str, Progress] = {}
        verifying = False
        try:
            yield ProgressResponse(status="pulling manifest")
            while True:
                changed = download.changed
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
        for status in (*([] if verifying else [VERIFYING]), "writing manifest", "success"):
            yield ProgressResponse(status=status)

    def _left(self, download: Download) -> None:
        """A client has left. As with Ollama, a download without clients stops."""
        if download.state is DownloadState.RUNNING and not (download.waiting or download.keep or self._draining()):
            self._stop(download, DownloadState.PAUSED)
            if not download.destinations:
                self._forget(download)  # nothing to resume

    def _stop(self, download: Download, state: DownloadState) -> None:
        download.state = state
        if download.job:
            download.job.cancel()
        self._save(download)

    def _run(self, download: Download) -> None:
        before = download.job
        download.state, download.error = DownloadState.RUNNING, None
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
        except sqlite3.Error:  # the disk is full, perhaps because of this download
            logger.exception("cannot record the download of %s", download.ref.text)
        download.tell()

    async def _work(self, download: Download, before: "asyncio.Task[None] | None") -> None:
        if before:
            await asyncio.wait([before])
        model = await self._installed(download.ref)
        if model and not model.manifest.source:
            return  # it was not downloaded, so there is no source to check for a newer one
        async with self._slots:
            try:
                offer = await self._offer(download)
            except OprelError as error:
                if model is None:
                    raise
                logger.info("keeping %s unchanged: %s", download.ref.text, error.message)
                return
            await self._fetch(download, offer)

    async def _offer(self, download: Download) -> Offer:
        """What was chosen before, unless it is there no more. Raises ModelNotFoundError, DownloadError."""
        sources = self._public_sources if download.public_only else self.sources
        if download.chosen:
            with contextlib.suppress(ModelNotFoundError):
                return await sources.find(download.chosen, insecure=download.insecure)
        return await sources.find(download.ref, insecure=download.insecure)

    async def _fetch(self, download: Download, offer: Offer) -> None:
        from oprel.downloader.transfer.fetch import fetch

        download.offered(offer)
        self._save(download)
        await anyio.to_thread.run_sync(_check_space, offer)
        client = self._public_client if download.public_only else self._client
        for target in offer.targets:
            await fetch(target.file, target.destination, client=client, progress=download.update, pace=self._pace)
        await anyio.to_thread.run_sync(self._adopt, download.ref, offer)

    def _adopt(self, ref: ModelRef, offer: Offer) -> None:
        """Make the downloaded files a model. Raises OprelError."""
        try:
            manifest = offer.manifest(offer.name or ref.text)
        except OSError as error:
            raise DownloadError(f"{ref.text} cannot be installed: {error.strerror}") from error
        try:
            self._library.check(manifest)
        except InvalidModelError as error:
            others = self._library.manifests.uses().unreadable  # of a later version, which may be able to read it
            for target in offer.targets:
                if not (target.file.sha256 or others):  # it could not be verified: let the next attempt repeat it
                    HubCache(self._config.hub_dir).discard(target.destination)
            message = error.message.replace(str(manifest.weights), offer.title)  # the path means nothing to the user
            raise InvalidModelError(message, *error.resolution_steps) from error
        requested = hub_origin(ref)
        chosen = time.time() if requested and not requested.names_one else 0.0
        self._library.manifests.put(replace(manifest, chosen=chosen), instead_of=ref)

    async def _installed(self, ref: ModelRef) -> InstalledModel | None:
        try:
            return await self._library.find(ref.text, may_use_paths=False)
        except (ModelNotFoundError, InvalidModelError):
            return None

    def _discard(self, download: Download) -> None:
        others = (other for other in self._all.values() if other is not download)
        for destination in download.destinations - {path for other in others for path in other.destinations}:
            disk.discard(disk.part_of(destination))


def _check_space(offer: Offer) -> None:
    """Raises DiskFullError if all files together do not fit; an OSError is left to the first write."""
    folder = offer.targets[0].destination.parent
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        needed = sum(disk.missing_bytes(target.file, target.destination) for target in offer.targets)
        disk.check_space(offer.title, needed, folder)
