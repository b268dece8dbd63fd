"""Models taken away, and the files that were theirs alone."""

import os
import re
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

import anyio.to_thread

from oprel.core.blobs import BLOB_NAME, SPLIT_NAME
from oprel.core.exceptions import InvalidModelError, UnsupportedError
from oprel.core.manifests import Manifest
from oprel.core.names import ModelRef
from oprel.downloader.cache import HubCache
from oprel.server.library import InstalledModel, Library
from oprel.server.manager import ModelManager

# How the models of other programs are removed.
ELSEWHERE = {
    "ollama": "`ollama rm` removes it.",
    "huggingface": "`hf cache rm` removes it.",
    "lmstudio": "LM Studio removes it.",
    "llama.cpp": "It lies in llama.cpp's cache.",
}


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


async def remove(manager: ModelManager, library: Library, name: str) -> Removed:
    """Forget the model called `name`; its engine goes with its last answer, unless the weights have another name too.

    Files of oprel's own that nothing else uses go at once. Raises ModelNotFoundError, UnsupportedError for a bundled
    model and for those that other programs keep.
    """
    ref = ModelRef.parse(name)
    try:
        model = await library.find(name, may_use_paths=False)
        _check_own(model.manifest)
    except InvalidModelError:  # all the more reason to let it go
        model = None
    library.manifests.delete(ref)
    busy = bool(model and await _stop(manager, library, model))
    freed = 0
    if model:
        freed += await _free(manager, library, _blobs(model.manifest))
        freed += await _free_fetched(manager, library, model.manifest.files if model.manifest.source else ())
    await prune(manager, library)
    return Removed(freed, busy)


async def prune(manager: ModelManager, library: Library) -> None:
    """Remove the blobs that neither a manifest nor an engine uses any more, but for young ones."""
    used = _of_engines(manager, library)
    await anyio.to_thread.run_sync(lambda: library.blobs.prune(used | _of_manifests(library), time.time()))


async def sweep(manager: ModelManager, library: Library, arriving: Arriving) -> Removed:
    """Remove what nothing uses, young or not: blobs, fetched files, what is left of transfers that nobody goes on with.

    A cache that others share is left alone.
    """
    names = {path.name for path in arriving.files}
    freed = await _free(manager, library, None, keep=names)
    cache = HubCache(manager.config.hub_dir)
    if cache.root.is_relative_to(manager.config.home_dir):
        files = await anyio.to_thread.run_sync(cache.files)
        kept = [path for path in files if _belongs(path, arriving)]
        freed += await _free_fetched(manager, library, files, kept)
    return Removed(freed)


async def clear(manager: ModelManager, library: Library, arriving: Arriving) -> Removed:
    """Forget every model whose files are among oprel's own, with those; models whose files are elsewhere stay."""
    freed, busy = 0, False
    for manifest in list(library.manifests):
        own = manifest.source or any(library.blobs.holds(path) for path in manifest.files)
        if manifest.provider == "oprel" and own:
            removed = await remove(manager, library, manifest.name)
            freed, busy = freed + removed.freed_bytes, busy or removed.busy
    swept = await sweep(manager, library, arriving)
    return Removed(freed + swept.freed_bytes, busy)


def _belongs(path: Path, arriving: Arriving) -> bool:
    """Whether it is a file that a download still wants, or what there is of it."""
    whole = path.with_name(re.sub(r"\.part(\.json)?$", "", path.name))
    return whole in arriving.files or (whole != path and not arriving.are_all)


def _check_own(manifest: Manifest) -> None:
    if manifest.provider in ELSEWHERE:
        raise UnsupportedError(
            f"{manifest.name} is not oprel's to remove: it is used where {manifest.provider} keeps it",
            ELSEWHERE[manifest.provider],
        )


async def _stop(manager: ModelManager, library: Library, model: InstalledModel) -> bool:
    """Let the engines of a model go that has no other name; whether one is still at work."""
    if model.weights in {other.weights for other in library.manifests}:
        return False
    return any(loaded.leases for loaded in await manager.unload(model))


async def _free(manager: ModelManager, library: Library, names: set[str] | None, keep: Collection[str] = ()) -> int:
    """Remove blobs that are called so, or any, and that nothing uses."""
    used = _of_engines(manager, library).union(keep)
    return await anyio.to_thread.run_sync(lambda: library.blobs.discard(used | _of_manifests(library), names))


async def _free_fetched(
    manager: ModelManager, library: Library, files: Iterable[Path], keep: Collection[Path] = ()
) -> int:
    """Remove those of the files in the cache that nothing uses."""
    cache = HubCache(manager.config.hub_dir)
    engines = [path for loaded in manager.loaded for path in loaded.model.manifest.files]

    def discard() -> int:
        named = (path for manifest in library.manifests for path in manifest.files)
        used = {os.path.realpath(path) for path in (*keep, *engines, *named)}
        return sum(cache.discard(path) for path in files if os.path.realpath(path) not in used)

    return await anyio.to_thread.run_sync(discard)


def _blobs(manifest: Manifest) -> set[str]:
    return {path.name for path in manifest.files} | {manifest.weights.parent.name}


def _of_engines(manager: ModelManager, library: Library) -> set[str]:
    """Those that engines have open, and not files of other programs that are called the same."""
    manifests = (loaded.model.manifest for loaded in manager.loaded)
    return {name for one in manifests if any(map(library.blobs.holds, one.files)) for name in _blobs(one)}


def _of_manifests(library: Library) -> set[str]:
    return library.manifests.mentions(f"{BLOB_NAME}|{SPLIT_NAME}")
