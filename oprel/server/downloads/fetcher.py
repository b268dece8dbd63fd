"""Fetches and installs one model: looks it up, transfers its files, and writes its manifest."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import anyio
import anyio.to_thread
import httpx

from oprel.core.config import Config
from oprel.core.configuration.rates import parse_rates
from oprel.core.exceptions import DownloadError, InvalidModelError, ModelNotFoundError, OprelError
from oprel.core.models.disks import is_bare
from oprel.core.models.known_names import with_known_names
from oprel.core.models.manifests import Manifest
from oprel.core.models.owners import origin_of, owned_by
from oprel.core.names import ModelRef, hub_origin, is_hub_name
from oprel.downloader.backoff import Throttle, Unreachable
from oprel.downloader.network.clients import open_client
from oprel.downloader.network.public_only import PublicOnly, exempt_hosts
from oprel.downloader.offers import Choose, Offer, is_version_of
from oprel.downloader.sources import Sources
from oprel.downloader.transfer import disk, file_system
from oprel.downloader.transfer.fetch import Limits, fetch
from oprel.downloader.transfer.file_system import FileSystem
from oprel.downloader.transfer.ranges import LoginRefused
from oprel.server.downloads.task import Download, FreeReplaced, keep_replaced
from oprel.server.models.installed_model import InstalledModel
from oprel.server.models.library import Library

logger = logging.getLogger(__name__)

TRIES = 3  # requests in a row without data, before the download waits and looks the model up again


class StoreAway(Unreachable):
    """The disk for downloaded files is not there: nothing is written to the folder that it would be mounted on."""

    what = "disk"
    is_worth_waiting = False


@dataclass(frozen=True)
class Network:
    """Where downloads come from."""

    client: httpx.AsyncClient
    sources: Sources


class ModelFetcher:
    """`choose` picks the variant if the name does not; `serves_folders` tells whether an engine for safetensors
    repositories is installed.
    """

    def __init__(
        self,
        config: Config,
        library: Library,
        choose: Choose,
        serves_folders: Callable[[], bool],
        free_replaced: FreeReplaced = keep_replaced,
    ) -> None:
        self._free_replaced = free_replaced
        self._config, self._library = config, library
        self._choose, self._serves_folders = choose, serves_folders
        self._slots = anyio.Semaphore(config.max_concurrent_downloads)
        self._pace = Throttle(parse_rates(config.download_rate))

        self._networks: dict[bool, Network] = {}  # by whether it reaches public addresses only
        self._opening = asyncio.Lock()

    async def sources(self) -> Sources:
        return (await self._network(public_only=False)).sources

    async def _network(self, *, public_only: bool) -> Network:
        """Opened at the first use: the system's certificates take a while."""
        async with self._opening:
            if public_only not in self._networks:
                self._networks[public_only] = await anyio.to_thread.run_sync(self._open_network, public_only)
        return self._networks[public_only]

    def _open_network(self, public_only: bool) -> Network:
        client = open_client(PublicOnly(exempt_hosts(self._config)) if public_only else None)
        return Network(client, Sources(self._config, client, self._choose, self._serves_folders))

    async def close(self) -> None:
        for network in self._networks.values():
            await network.client.aclose()

    async def fetch(self, download: Download, save: Callable[[], None]) -> None:
        """Return once the model is installed. `save` records the download when its files are known.

        Raises Unreachable if a later attempt may succeed, and other OprelErrors.
        """
        model = await self._installed(download.ref)
        async with self._slots:
            if model and not model.manifest.source:
                offer = await self._newer(download, model.manifest)
            else:
                offer = await self._offer_or_keep(download, model)
            if offer:
                await self._transfer_renewed(download, offer, save)
                if model and (whose := owned_by(model.manifest)):
                    download.of_update = f"fetched another version; the one that was used so far {whose}"

    async def _offer_or_keep(self, download: Download, model: InstalledModel | None) -> Offer | None:
        """What there is to fetch; None, and the reason, if the installed model is kept. Raises OprelError."""
        try:
            return await self._offer(download)
        except OprelError as error:
            if model is None or (isinstance(error, Unreachable) and download.destinations):
                raise
            download.of_update = f"kept as it is: {error.message}"
            logger.info("keeping %s unchanged: %s", download.ref.text, error.message)
            return None

    async def _newer(self, download: Download, model: Manifest) -> Offer | None:
        """What the origin of a model that oprel did not download has instead; None if that is the same or unknown."""
        origin = origin_of(model)
        if origin is None:
            is_bundled = model.provider == "bundled"
            whose = "comes with oprel" if is_bundled else owned_by(model) or "was made here, so it has no origin"
            download.of_update = f"nothing was looked up: {model.name} {whose}"
            return None
        try:
            sources = (await self._network(public_only=download.public_only)).sources
            offer = await sources.find(origin, insecure=download.insecure)
        except OprelError as error:
            download.of_update = f"kept as it is: {error.message}; {model.name} {owned_by(model)}"
            return None
        if await anyio.to_thread.run_sync(is_version_of, offer, model):
            download.of_update = f"{model.name} is up to date; it {owned_by(model)}"
            return None
        return offer

    async def _transfer_renewed(self, download: Download, offer: Offer, save: Callable[[], None]) -> None:
        """`_transfer`, with a new login each time that one has expired, as tokens of registries do within minutes."""
        before = 0
        while True:
            try:
                return await self._transfer(download, offer, save)
            except LoginRefused as error:
                if download.completed <= before:
                    raise
                logger.info("looking %s up again for a new login: %s", download.ref.text, error.message)
                before = download.completed
            offer = await self._offer(download)

    async def _offer(self, download: Download) -> Offer:
        """What was chosen before, unless it is there no more. Raises ModelNotFoundError, DownloadError."""
        sources = (await self._network(public_only=download.public_only)).sources
        if download.chosen:
            with contextlib.suppress(ModelNotFoundError):
                return await sources.find(download.chosen, insecure=download.insecure)
        return await sources.find(download.ref, insecure=download.insecure)

    async def _transfer(self, download: Download, offer: Offer, save: Callable[[], None]) -> None:
        await anyio.to_thread.run_sync(self._check_store, download, offer)
        system = await anyio.to_thread.run_sync(self._prepared, offer)
        download.offered(offer)  # after its folder was made: one without it is then on a disk that is away
        save()
        client = (await self._network(public_only=download.public_only)).client
        try:
            for target in offer.targets:
                await fetch(
                    target.file,
                    target.destination,
                    client=client,
                    progress=download.update,
                    limits=Limits(tries=TRIES, sparse=system.sparse),
                    pace=self._pace,
                )
            before = await anyio.to_thread.run_sync(self._adopt, download.ref, offer)
        except OprelError:
            await anyio.to_thread.run_sync(self._check_store, download, offer)  # the disk may have gone meanwhile
            raise
        download.of_update = await self._free_replaced(before) if before else ""

    def _prepared(self, offer: Offer) -> FileSystem:
        """What the disk of the files can do. Raises DownloadError if it cannot keep them, before the first byte."""
        folder = offer.targets[0].destination.parent
        files = [(target.destination, target.file.size_bytes) for target in offer.targets]
        try:
            for place in (folder, *(link.parent for link in offer.links)):
                place.mkdir(parents=True, exist_ok=True)
            system = file_system.tried(folder)
            if system.lacks:
                logger.info("%s has no %s: files are kept without", folder, ", ".join(system.lacks))
            file_system.check(system, folder, files)
            needed = sum(disk.missing_bytes(target.file, target.destination) for target in offer.targets)
            disk.check_space(offer.title, needed, folder)
            self._library.fetched.begin(offer)
        except OSError as error:
            raise disk.storage_error(error, offer.title, offer.size_bytes, folder) from error
        return system

    def _check_store(self, download: Download, offer: Offer) -> None:
        """Raises StoreAway while the folder of downloaded files is bare, though it is known to have some."""
        folder = self._library.disks.cache
        if folder is None or not any(target.destination.is_relative_to(folder) for target in offer.targets):
            return
        if not is_bare(folder):
            return
        files = (*download.destinations, *(file for manifest in self._library.manifests for file in manifest.files))
        if any(file.is_relative_to(folder) for file in files):
            raise StoreAway(
                f"{folder} is missing, empty or not readable, though models have files there",
                "Mount its disk.",
                "If the files were deleted, remove the models that had them with `oprel rm`: `oprel list` shows them.",
            )

    def _adopt(self, ref: ModelRef, offer: Offer) -> Manifest | None:
        """Make the downloaded files a model; returns its earlier version, if that was downloaded. Raises OprelError."""
        try:
            manifest = offer.manifest(offer.name or ref.text)
            self._library.fetched.finish(offer)
        except OSError as error:
            raise DownloadError(f"{ref.text} cannot be installed: {error.strerror}") from error
        try:
            self._library.check(manifest)
        except InvalidModelError as error:
            others = self._library.manifests.uses().unreadable  # of a later version, which may be able to read it
            for target in offer.targets:
                if not (target.file.sha256 or others):  # it could not be verified: let the next attempt repeat it
                    self._library.fetched.discard(target.destination)
            message = error.message.replace(str(manifest.weights), offer.title)  # the path means nothing to the user
            raise InvalidModelError(message, *error.resolution_steps) from error
        requested = hub_origin(ref)
        chosen = time.time() if requested and not requested.names_one else 0.0
        before = self._earlier(ModelRef.parse(manifest.name), [ModelRef.parse(name) for name in offer.also])
        manifest = with_known_names(replace(manifest, chosen=chosen), ref, offer.also, before)
        self._library.manifests.put(manifest, instead_of=[ref, *([ModelRef.parse(before.name)] if before else [])])
        return before

    def _earlier(self, ref: ModelRef, others: Sequence[ModelRef]) -> Manifest | None:
        """The model as it was downloaded before, perhaps under another name of its repository."""
        for name in (ref, *(others if is_hub_name(ref.text) else ())):
            with contextlib.suppress(ModelNotFoundError, InvalidModelError):
                before = self._library.manifests.get(name)
                is_same = name.key in before.keys and is_hub_name(before.name) == is_hub_name(ref.text)
                if before.source and is_same:
                    return before
        return None

    async def _installed(self, ref: ModelRef) -> InstalledModel | None:
        try:
            return await self._library.find(ref.text, may_use_paths=False)
        except (ModelNotFoundError, InvalidModelError):
            return None
