"""Removes models together with the files that only they use."""

import os
import re
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import anyio.to_thread

from oprel.core.exceptions import InvalidModelError, ModelAwayError, ModelNotFoundError, UnsupportedError
from oprel.core.models.manifests import Manifest
from oprel.core.models.owners import OWNERS
from oprel.core.names import ModelRef
from oprel.downloader.cache import content_of
from oprel.server.models.installed_model import InstalledModel
from oprel.server.models.library import Library, named
from oprel.server.pool.loaded_model import served_by
from oprel.server.pool.manager import ModelManager
from oprel.utils.text import human_size

PARTIAL = re.compile(r"\.part(\.json)?$")  # the partial file of a transfer, and its state


@dataclass(frozen=True)
class Removed:
    """`freed_bytes` of disk space are free again; `busy` if an engine still uses files, which are removed later.

    `kept_for` is a manifest that cannot be read: it may use files that nothing else uses, so these were kept. `name`:
    the one model that was removed, which may have been requested as its repository. `note`: what there is to say
    of files that other programs have too.
    """

    freed_bytes: int = 0
    busy: bool = False
    kept_for: Path | None = None
    name: str = ""
    note: str = ""


@dataclass(frozen=True)
class Arriving:
    """Files that downloads still want. `are_all` is False if unfinished downloads may want files not known yet.

    `want_any`: there is a download that this version cannot read, so any file may be wanted.
    """

    files: frozenset[Path] = frozenset()
    are_all: bool = True
    want_any: bool = False

    def want(self, path: Path) -> bool:
        """Whether a download still wants the file, complete or partial."""
        if self.are_all and not (self.want_any or self.files):
            return False
        whole = path.with_name(PARTIAL.sub("", path.name))
        return self.want_any or whole in self.files or (whole != path and not self.are_all)


@dataclass(frozen=True)
class Removal:
    """Removes models and files, but nothing that a model, an engine or a download of this daemon uses."""

    manager: ModelManager
    library: Library
    arriving: Callable[[], Arriving] = field(default=Arriving)

    async def remove(self, name: str) -> Removed:
        """Remove the model called `name`. Its engine, if it has no other name, stops after its last answer.

        oprel's own files that nothing else uses are deleted at once. Raises ModelNotFoundError, UnsupportedError for a
        bundled model and for models of other programs.
        """
        try:
            model = await self.library.find(name, may_use_paths=False)
            _check_own(model.manifest)
        except InvalidModelError as error:  # a damaged model can be removed too
            model = None
            if isinstance(error, ModelAwayError) and error.is_elsewhere:
                raise
        except ModelNotFoundError as error:  # no advice to fetch it
            raise ModelNotFoundError(error.message, "`oprel list` shows the names there are.") from None
        deleted = await anyio.to_thread.run_sync(self.library.manifests.delete, ModelRef.parse(name))
        freed, busy = 0, False
        contents = await anyio.to_thread.run_sync(_contents, model.manifest) if model else []
        if served := model or named(name, served_by(self.manager.loaded)):
            busy = await self._stop(served)
        if model:
            freed = await self._free_blobs(_blobs(model.manifest).__contains__)
            freed += await self._free_fetched(model.manifest.files if model.manifest.source else ())
        await self.prune()
        note = await anyio.to_thread.run_sync(self._left_to_others, model.manifest.source, contents) if model else ""
        return Removed(freed, busy, await self._kept_for(), deleted, note)

    async def prune(self) -> None:
        """Remove blobs and conversions that no model or engine uses, except recent blobs."""
        engines, arriving, blobs = self._of_engines(), self.arriving(), self.library.blobs
        if arriving.are_all:  # else a complete file may belong to a download that continues later
            used = self._used_blobs
            await anyio.to_thread.run_sync(lambda: blobs.prune(used(engines, arriving), time.time()))
        conversions = [loaded.model.converted for loaded in self.manager.loaded if loaded.model.converted]
        await anyio.to_thread.run_sync(self.library.conversions.prune, self._folders, conversions)

    def _folders(self) -> list[Path] | None:
        """The folders of models, those of other programs too; None while some cannot be seen."""
        if not self.library.sees_everything():
            return None
        return [manifest.weights for manifest in self.library.all_manifests()]

    async def sweep(self) -> Removed:
        """Remove everything unused of oprel's own, whatever its age: blobs, downloads, and the remains of transfers."""
        freed = await self._free_blobs(lambda name: True)
        await self.prune()
        freed += await self._free_fetched(await anyio.to_thread.run_sync(self.library.fetched.files))
        return Removed(freed, kept_for=await self._kept_for())

    async def free_replaced(self, before: Manifest) -> str:
        """Remove the files that only the earlier version of a model had. Returns what there is to say of it."""
        contents = await anyio.to_thread.run_sync(_contents, before)
        freed = await self._free_blobs(_blobs(before).__contains__)
        freed += await self._free_fetched(before.files)
        if note := await anyio.to_thread.run_sync(self._left_to_others, before.source, contents):
            return f"of the earlier version, {note}"
        if left := await anyio.to_thread.run_sync(self._unused_bytes, contents):
            step = "while an engine has them: then `oprel cache prune` frees them"
            return f"{human_size(left)} of the earlier version stay {step}"
        return f"removed {human_size(freed)} of the earlier version" if freed else ""

    def _left_to_others(self, source: str, contents: Iterable[Path]) -> str:
        """What there is to say of contents of a removed model, from `source`, that other programs have too."""
        engines = self._engine_files()
        left = self._unused_bytes(path for path in contents if os.path.realpath(path) not in engines)
        step = (
            f": `hf cache rm model/{source.removeprefix('hf.co/')}` frees them" if source.startswith("hf.co/") else ""
        )
        folder = self.manager.config.hub_dir
        return f"{human_size(left)} stay in {folder}, where other programs put or use them{step}" if left else ""

    def _engine_files(self) -> set[str]:
        return {os.path.realpath(path) for loaded in self.manager.loaded for path in loaded.model.manifest.files}

    def _unused_bytes(self, contents: Iterable[Path]) -> int:
        """The size of those that are downloaded and in use by no manifest, nor wanted by a download."""
        uses, fetched, blobs, arriving = (
            self.library.manifests.uses(),
            self.library.fetched,
            self.library.blobs,
            self.arriving(),
        )
        idle = [path for path in contents if path.is_file() and not (uses.may_include(path) or arriving.want(path))]
        return sum(path.stat().st_size for path in idle if fetched.holds(path) or blobs.holds(path))

    async def clear(self) -> Removed:
        """Remove all models with files in oprel's own folders; models with files elsewhere stay."""
        freed, busy = 0, False
        for manifest in await anyio.to_thread.run_sync(list, self.library.manifests):
            own = manifest.source or any(self.library.blobs.holds(path) for path in manifest.files)
            if manifest.provider == "oprel" and own:
                removed = await self.remove(manifest.name)
                freed, busy = freed + removed.freed_bytes, busy or removed.busy
        swept = await self.sweep()
        return Removed(freed + swept.freed_bytes, busy, swept.kept_for)

    async def _kept_for(self) -> Path | None:
        return next(iter((await anyio.to_thread.run_sync(self.library.manifests.uses)).unreadable), None)

    async def _stop(self, model: InstalledModel) -> bool:
        """Stop the engines that have no other name; returns whether one is still busy."""
        return any(loaded.leases for loaded in await self.manager.unload(model, removed=True))

    async def _free_blobs(self, may_go: Callable[[str], bool]) -> int:
        engines, arriving, blobs = self._of_engines(), self.arriving(), self.library.blobs
        return await anyio.to_thread.run_sync(lambda: blobs.discard(self._used_blobs(engines, arriving), may_go))

    def _of_engines(self) -> set[str]:
        """Names of blobs in use by engines; equally named files of other programs do not count."""
        manifests = (loaded.model.manifest for loaded in self.manager.loaded)
        return {
            name for model in manifests if any(map(self.library.blobs.holds, model.files)) for name in _blobs(model)
        }

    def _used_blobs(self, engines: set[str], arriving: Arriving) -> set[str]:
        uses, blobs = self.library.manifests.uses(), self.library.blobs
        wanted = {path.name for path in blobs.files() if arriving.want(path)}
        return engines | wanted | {name for name in blobs.names() if uses.may_include_blob(name)}

    async def _free_fetched(self, files: Iterable[Path]) -> int:
        """Remove the unused ones of these files from the cache."""
        fetched = self.library.fetched
        engines, arriving = self._engine_files(), self.arriving()

        def discard() -> int:
            held = [path for path in files if fetched.holds(path)]
            if not held:
                return 0
            uses = self.library.manifests.uses()
            idle = [path for path in held if os.path.realpath(path) not in engines and not arriving.want(path)]
            return sum(fetched.discard(path) for path in idle if not uses.may_include(path))

        return await anyio.to_thread.run_sync(discard)


def _check_own(manifest: Manifest) -> None:
    if owner := OWNERS.get(manifest.provider):
        raise UnsupportedError(
            f"{manifest.name} belongs to {manifest.provider}: oprel only uses it and does not remove it",
            owner.remove,
        )


def _contents(manifest: Manifest) -> list[Path]:
    return [content_of(path) for path in manifest.files]


def _blobs(manifest: Manifest) -> Collection[str]:
    """Names of the files and of the folder of links to them."""
    return {path.name for path in manifest.places}
