"""Models taken away, and the files that were theirs alone."""

import os
import re
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import anyio.to_thread

from oprel.core.blobs import BLOB_NAME, SPLIT_NAME
from oprel.core.exceptions import InvalidModelError, UnsupportedError
from oprel.core.manifests import Manifest
from oprel.core.names import ModelRef
from oprel.downloader.cache import HubCache
from oprel.server.models.library import InstalledModel, Library
from oprel.server.pool.manager import ModelManager

# How the models of other programs are removed.
ELSEWHERE = {
    "ollama": "`ollama rm` removes it.",
    "huggingface": "`hf cache rm` removes it.",
    "lmstudio": "LM Studio removes it.",
    "llama.cpp": "It lies in llama.cpp's cache.",
}
PARTIAL = re.compile(r"\.part(\.json)?$")  # of a transfer: what is here of a file, and the note of it


@dataclass(frozen=True)
class Removed:
    """`freed_bytes` the disk has more now; `busy` when an engine is still at work with the files, which go later."""

    freed_bytes: int = 0
    busy: bool = False


@dataclass(frozen=True)
class Arriving:
    """Files that downloads still want; `are_all`: there are no others, of downloads that this daemon has not begun."""

    files: frozenset[Path] = frozenset()
    are_all: bool = True

    def want(self, path: Path) -> bool:
        """Whether a download still wants the file, or what there is of it."""
        whole = path.with_name(PARTIAL.sub("", path.name))
        return whole in self.files or (whole != path and not self.are_all)


@dataclass(frozen=True)
class Removal:
    """What may be removed: nothing that a model, an engine or a download of this daemon uses."""

    manager: ModelManager
    library: Library
    arriving: Callable[[], Arriving] = field(default=Arriving)

    async def remove(self, name: str) -> Removed:
        """Forget the model called `name`; its engine goes with its last answer, if the weights have no other name.

        Files of oprel's own that nothing else uses go at once. Raises ModelNotFoundError, UnsupportedError for a
        bundled model and for those that other programs keep.
        """
        try:
            model = await self.library.find(name, may_use_paths=False)
            _check_own(model.manifest)
        except InvalidModelError:  # all the more reason to let it go
            model = None
        self.library.manifests.delete(ModelRef.parse(name))
        freed, busy = 0, False
        if model:
            busy = await self._stop(model)
            freed = await self._free_blobs(_blobs(model.manifest).__contains__)
            freed += await self._free_fetched(model.manifest.files if model.manifest.source else ())
        await self.prune()
        return Removed(freed, busy)

    async def prune(self) -> None:
        """Remove the blobs that neither a model nor an engine uses any more, but for young ones."""
        engines, arriving, blobs = self._of_engines(), self.arriving(), self.library.blobs
        if arriving.are_all:  # else a file that is whole may belong to a download that goes on later
            used = self._used_blobs
            await anyio.to_thread.run_sync(lambda: blobs.prune(used(engines, arriving), time.time()))

    async def sweep(self) -> Removed:
        """Remove what nothing uses, young or not: blobs, fetched files, and what is left of transfers.

        A cache that others share is left alone.
        """
        freed = await self._free_blobs(lambda name: True)
        cache = HubCache(self.manager.config.hub_dir)
        if cache.root.is_relative_to(self.manager.config.home_dir):
            freed += await self._free_fetched(await anyio.to_thread.run_sync(cache.files))
        return Removed(freed)

    async def clear(self) -> Removed:
        """Forget every model whose files are among oprel's own, with those; models whose files are elsewhere stay."""
        freed, busy = 0, False
        for manifest in list(self.library.manifests):
            own = manifest.source or any(self.library.blobs.holds(path) for path in manifest.files)
            if manifest.provider == "oprel" and own:
                removed = await self.remove(manifest.name)
                freed, busy = freed + removed.freed_bytes, busy or removed.busy
        return Removed(freed + (await self.sweep()).freed_bytes, busy)

    async def _stop(self, model: InstalledModel) -> bool:
        """Let the engines of a model go that has no other name; whether one is still at work."""
        if model.weights in {other.weights for other in self.library.manifests}:
            return False
        return any(loaded.leases for loaded in await self.manager.unload(model))

    async def _free_blobs(self, may_go: Callable[[str], bool]) -> int:
        engines, arriving, blobs = self._of_engines(), self.arriving(), self.library.blobs
        return await anyio.to_thread.run_sync(lambda: blobs.discard(self._used_blobs(engines, arriving), may_go))

    def _of_engines(self) -> set[str]:
        """Names of blobs that engines have open; files of other programs may be called the same, and do not count."""
        manifests = (loaded.model.manifest for loaded in self.manager.loaded)
        return {name for one in manifests if any(map(self.library.blobs.holds, one.files)) for name in _blobs(one)}

    def _used_blobs(self, engines: set[str], arriving: Arriving) -> set[str]:
        wanted = {path.name for path in self.library.blobs.files() if arriving.want(path)}
        return engines | wanted | self.library.manifests.mentions(f"{BLOB_NAME}|{SPLIT_NAME}")

    async def _free_fetched(self, files: Iterable[Path]) -> int:
        """Remove those of the files in the cache that nothing uses."""
        cache = HubCache(self.manager.config.hub_dir)
        engines = [path for loaded in self.manager.loaded for path in loaded.model.manifest.files]
        arriving = self.arriving()

        def discard() -> int:
            named = (path for manifest in self.library.manifests for path in manifest.files)
            used = {os.path.realpath(path) for path in (*engines, *named)}
            unused = [path for path in files if os.path.realpath(path) not in used and not arriving.want(path)]
            return sum(map(cache.discard, unused))

        return await anyio.to_thread.run_sync(discard)


def _check_own(manifest: Manifest) -> None:
    if manifest.provider in ELSEWHERE:
        raise UnsupportedError(
            f"{manifest.name} is not oprel's to remove: it is used where {manifest.provider} keeps it",
            ELSEWHERE[manifest.provider],
        )


def _blobs(manifest: Manifest) -> Collection[str]:
    """Names of the files, and of the folder of links to them."""
    return {path.name for path in manifest.places}
