"""Loads models before the first request: the configured ones, and those that the previous daemon had loaded.

They load one after the other and never evict another model; one whose disk is away loads when that is back. A file
records the loaded models at each change, so that they are loaded again after the daemon is killed or the machine
restarts.
"""

import asyncio
import contextlib
import logging
import math
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta

import anyio
import anyio.to_thread
from pydantic import BaseModel, TypeAdapter, ValidationError

from oprel.core.completion import LoadOptions, Mode
from oprel.core.exceptions import ModelAwayError, OprelError, ShuttingDownError
from oprel.core.models.disks import is_bare
from oprel.core.names import ModelRef, is_path
from oprel.server.api.common.encode import FOREVER
from oprel.server.models.library import Library
from oprel.server.pool.loaded_model import LoadedModel
from oprel.server.pool.manager import ModelManager
from oprel.utils.files import read_own, write_atomically

logger = logging.getLogger(__name__)

WRITE_DELAY = 1.0  # s in which changes are collected
LOOK_INTERVAL = 5.0  # s between two looks for the disks of models that are away
GRAIN = 10  # s to which `until` is rounded: it moves with each request

FOR_EVER = -1.0


class Preload(BaseModel):
    """A model to load, with the options of its request. `keep_alive` is in seconds, None for the configured value.

    It is not loaded after `until`; None for a model that was in use, or does not expire.
    """

    name: str
    options: LoadOptions = LoadOptions()
    mode: Mode | None = None
    keep_alive: float | None = None
    until: datetime | None = None

    def is_due(self, now: datetime) -> bool:
        return self.until is None or self.until > now


ENTRIES = TypeAdapter(list[Preload])


class Preloading:
    """Owner of the file `loaded.json`."""

    def __init__(self, manager: ModelManager, library: Library) -> None:
        self._manager = manager
        self._library = library
        self._path = manager.config.home_dir / "loaded.json"
        self._written = b""
        self._trying: list[Preload] = []
        self._pending: list[Preload] = []
        self._away: list[Preload] = []
        self._timer: asyncio.TimerHandle | None = None

    @contextlib.asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        """Load the models and keep the file inside the block. After it, the file lists what was loaded at its end."""
        self._pending = [*(Preload(name=name) for name in self._manager.config.preloaded), *self._restored()]
        async with anyio.create_task_group() as group:
            with self._manager.observed(self._note), self._manager.clock.observed(lambda gap: self._note()):
                group.start_soon(self._load_all)
                yield
            self._pending[:0] = [*self._trying, *self._away]
            self._away = []
            self._write()
            group.cancel_scope.cancel()

    async def _load_all(self) -> None:
        while self._pending:
            if await self._is_away(self._pending[0]):
                logger.warning("%s is loaded when its disk is there again", self._pending[0].name)
                self._away.append(self._pending.pop(0))
            else:
                self._trying = [self._pending.pop(0)]
                self._write()  # before the attempt: a model that crashes the daemon is not tried forever
                await self._load(*self._trying)
                self._trying = []
            while self._away and not self._pending:
                await anyio.sleep(LOOK_INTERVAL)
                await self._look_for_disks()

    async def _look_for_disks(self) -> None:
        """Move the models whose files can be seen again to those that are to be loaded."""
        due = [entry for entry in self._away if entry.is_due(datetime.now(UTC))]
        self._away = [entry for entry in due if await self._is_away(entry)]
        self._pending += [entry for entry in due if entry not in self._away]

    async def _is_away(self, entry: Preload) -> bool:
        """Whether its files are on a disk that is not there."""
        try:
            if is_path(entry.name):
                return await anyio.to_thread.run_sync(is_bare, ModelRef.parse(entry.name).path.parent)
            await self._library.find(entry.name, may_use_paths=False)
        except OprelError as error:
            return isinstance(error, ModelAwayError)
        return False

    async def _load(self, entry: Preload) -> None:
        keep_alive = math.inf if entry.keep_alive == FOR_EVER else entry.keep_alive
        try:
            model = await self._library.find(entry.name, may_use_paths=True)
            mode = entry.mode or model.usual_mode
            async with self._manager.lease(model, entry.options, keep_alive, mode, slots=0, makes_room=False):
                logger.info("loaded %s again" if entry.mode else "loaded %s, as configured", model.name)
        except ShuttingDownError:
            return
        except (OprelError, OSError) as error:
            logger.warning("%s is not loaded: %s", entry.name, error)

    def _restored(self) -> Iterator[Preload]:
        """The models of the previous daemon that have not expired."""
        if self._manager.config.restore == "off":
            return
        try:
            entries = ENTRIES.validate_json(read_own(self._path))
        except FileNotFoundError:
            return
        except (OSError, ValidationError) as error:
            logger.warning("cannot load the previous models again: %s cannot be read: %s", self._path, error)
            return
        now = datetime.now(UTC)
        yield from (entry for entry in entries if entry.is_due(now))

    def _note(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(WRITE_DELAY, self._write)

    def _write(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None
        loaded = [self._entry(model) for model in self._manager.loaded if _stays(model)]
        content = ENTRIES.dump_json([*loaded, *self._pending, *self._away], exclude_defaults=True)
        if content == self._written:
            return
        try:
            write_atomically(self._path, content)
            self._written = content
        except OSError as error:
            logger.warning("cannot record the loaded models: %s", error)

    def _entry(self, loaded: LoadedModel) -> Preload:
        lifetime = loaded.lifetime
        is_default = lifetime.keep_alive == loaded.settings.keep_alive_seconds
        keep_alive = FOR_EVER if lifetime.is_endless else lifetime.keep_alive
        return Preload(
            name=loaded.latest.name,
            options=loaded.request.requested,
            mode=loaded.spec.mode,
            keep_alive=None if is_default else keep_alive,
            until=self._until(lifetime.expires_at),
        )

    def _until(self, expires_at: float) -> datetime | None:
        left, present = expires_at - self._manager.clock(), datetime.now(UTC)
        if left >= (FOREVER - present).total_seconds():  # a client may ask for more than calendars have
            return None
        until = present + timedelta(seconds=left)
        return datetime.fromtimestamp(math.ceil(until.timestamp() / GRAIN) * GRAIN, UTC)


def _stays(loaded: LoadedModel) -> bool:
    """True for a model that has loaded before and is not about to be unloaded."""
    return loaded.ready_at > 0 and loaded.lifetime.keep_alive > 0 and not loaded.leaving
