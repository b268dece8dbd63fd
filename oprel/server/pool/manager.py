"""The only owner of engines: which models are loaded, who uses them, and when they go.

An engine is identified by the files it runs and what it is started for. A request takes a lease on one: the engine
stays while leases are out, and `keep_alive` seconds after the last. Joining, replacing and unloading one engine go
through that engine's door (a lock), one at a time and in order; its slots are given in order too, and answers run side
by side. Memory for a new engine is waited for in `room`, which has idle ones stopped.
"""

import asyncio
import contextlib
import logging
import math
import signal
import time
from collections import Counter, defaultdict, deque
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path

from oprel.core.completion import LoadOptions, Mode
from oprel.core.config import Config
from oprel.core.exceptions import BackendError, BackendStartError, BusyError, OprelError, ShuttingDownError
from oprel.core.settings import ModelSettings
from oprel.runtime.binaries.engine_binaries import EngineBinaries
from oprel.runtime.exits import Restart
from oprel.runtime.supervisor import _posix
from oprel.runtime.supervisor.child import Ended
from oprel.runtime.supervisor.process import DOWN, EngineProcess, EngineState
from oprel.server.models.library import InstalledModel
from oprel.server.pool.admission import AdmissionQueue
from oprel.server.pool.crash_reports import Crashes
from oprel.server.pool.launcher import Launcher, parts_of, wanted_of
from oprel.server.pool.loaded_model import Key, Lease, LoadedModel
from oprel.server.pool.metrics import Eviction, Metrics
from oprel.server.pool.planning import Planning
from oprel.server.pool.quarantine import Quarantine
from oprel.server.pool.slots import too_many
from oprel.telemetry.hardware.probing import probe
from oprel.telemetry.recommender.settings import SLOTS

logger = logging.getLogger(__name__)

GONE_KEPT = 16  # engines whose log can be read after their end


class ModelManager:
    """`run_dir` takes the engines' sockets; it must be this manager's alone. All methods belong to the event loop."""

    def __init__(
        self, config: Config, shelf: EngineBinaries, run_dir: Path, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.config = config
        self.shelf = shelf
        self.clock = clock
        self.draining = False
        self.on_change: Callable[[], None] = lambda: None  # told when an engine comes, goes or gets another keep-alive
        self.on_use: Callable[[InstalledModel], None] = lambda model: None  # told of each lease
        self.quarantine = Quarantine()
        self.metrics = Metrics()
        self.crashes = Crashes(config.crashes_dir, prompts=config.crash_prompts == "on")
        self.planning = Planning(config, shelf, probe())
        self.launches = Launcher(config, shelf, self.planning, run_dir)
        self.room = AdmissionQueue(self.planning.budget, clock, lambda: self.loaded, self._evict)
        self._loaded: dict[Key, LoadedModel] = {}
        self._gone: deque[LoadedModel] = deque(maxlen=GONE_KEPT)
        self._doors: defaultdict[Key, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._at_door: Counter[Key] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def loaded(self) -> list[LoadedModel]:
        return list(self._loaded.values())

    def log_of(self, name: str) -> EngineProcess | None:
        """The engine of a model, or its last one."""
        known = (loaded.process for loaded in (*self.loaded[::-1], *reversed(self._gone)) if name in loaded.names)
        return next(known, None)

    @contextlib.asynccontextmanager
    async def lease(
        self,
        model: InstalledModel,
        asked: LoadOptions,
        keep_alive: float | None = None,
        mode: Mode = Mode.COMPLETION,
        *,
        slots: int = 1,
        makes_room: bool = True,
    ) -> AsyncIterator[Lease]:
        """A ready engine for `model`, started if need be, with `slots` of its slots (0 for what needs none).

        `keep_alive` in seconds replaces the engine's own, unless that is locked. Without `makes_room` nobody is stopped
        or waited for: BusyError when there is no room now. Raises BackendError (the engine does not start, or the one
        in its place does not stop), InsufficientMemoryError, BusyError (too many wait), ShuttingDownError.
        """
        began = self.clock()
        loaded = await self._join(model, asked, mode, slots=slots, makes_room=makes_room)
        try:
            self._keep(loaded, keep_alive)
            joined = self.clock()
            async with loaded.slots.taking(slots) as held:
                placed = self.clock()
                await self.make_ready(loaded, makes_room=makes_room)
                load_ns = round((joined - began + self.clock() - placed) * 1e9)
                queued_ns = round((placed - joined) * 1e9)
                self.on_use(model)
                yield Lease(model, loaded, held, load_ns, queued_ns, revive=lambda: self.make_ready(loaded))
        finally:
            self._release(loaded)

    async def make_ready(self, loaded: LoadedModel, *, makes_room: bool = True) -> None:
        """Start the engine if it does not run: with `makes_room` with less if need be; else the model's next engine."""
        was_killed = False
        while True:
            process = loaded.process
            if process.state in DOWN:
                await self._descend(loaded, makes_room=makes_room)
            try:
                await process.ensure_ready()
                break
            except BackendStartError:
                by_others = process.last_exit is not None and process.last_exit.restart is Restart.EXTERNAL
                if await self._descend(loaded, makes_room=makes_room):
                    continue
                if (was_killed or not by_others) and not self.launches.fall_back(loaded, process, self._note_end):
                    raise
                was_killed |= by_others
        if process.starts > loaded.starts_seen:
            self._note_start(loaded)

    async def unload(self, model: InstalledModel) -> list[LoadedModel]:
        """Let the model's engines go, and return them: idle ones are gone by then, others go with their last lease."""
        found = [loaded for loaded in self.loaded if loaded.spec.parts.weights == model.weights]
        for loaded in found:
            loaded.keep_alive = 0.0
            if loaded.leases == 0:
                loaded.cancel_timer()
                await self._expire(loaded)
        return found

    async def drain(self) -> None:
        """Refuse new leases, and return when the last one is back."""
        self.draining = True
        self.room.end()
        await self.room.until(lambda: not any(loaded.leases for loaded in self.loaded))

    async def close(self) -> None:
        """Stop every engine, side by side, and refuse new leases."""
        self.draining = True
        self.room.end()
        for loaded in self.loaded:
            loaded.cancel_timer()
            self.launches.note_end(loaded)
        ends = (*(loaded.process.close() for loaded in self.loaded), *self._tasks)
        for result in await asyncio.gather(*ends, return_exceptions=True):
            if isinstance(result, OprelError):
                logger.error("%s", result)
        for loaded in self.loaded:
            loaded.spec.template_file.unlink(missing_ok=True)
        self._loaded.clear()
        self.planning.close()

    def kill(self) -> None:
        """End every engine this instant: for a daemon that ends at once itself."""
        for pid in filter(None, [loaded.process.pid for loaded in self.loaded]):
            _posix.signal_group(pid, signal.SIGKILL)

    async def _join(
        self, model: InstalledModel, asked: LoadOptions, mode: Mode, *, slots: int, makes_room: bool
    ) -> LoadedModel:
        settings = self.config.for_model(model.name)
        wanted = wanted_of(model, settings, asked)
        key = (parts_of(model), mode)
        async with self._turn(key, model, settings):
            self._check_open()
            loaded = await self._joinable(key, lambda one: one.serves(model, asked, wanted), makes_room=makes_room)
            if loaded is None:
                backends = await self.launches.backends(model, settings, mode)
                if not self._loaded:
                    self.room.budget = await self.planning.look_around()
                loaded = self.launches.plan(model, settings, asked, mode, self.loaded, self._note_end, backends)
                await self._admit(loaded, makes_room=makes_room)
            if slots:
                self._check_queue(loaded, settings)
            loaded.cancel_timer()
            loaded.leases += 1
            if loaded.join(model.name, settings):
                self.room.reconsider()
            return loaded

    async def _joinable(self, key: Key, fits: Callable[[LoadedModel], bool], *, makes_room: bool) -> LoadedModel | None:
        """The engine that fits; None where one is to be loaded, once the one in its place is gone."""
        loaded = self._loaded.get(key)
        if loaded is None:
            return None
        if not (makes_room or fits(loaded)):
            raise BusyError(f"{loaded.model.name} is loaded with other options")
        await self.room.until(lambda: self.draining or loaded.leases == 0 or fits(loaded))
        self._check_open()
        if fits(loaded):
            return loaded
        await self._retire(loaded, "memory" if loaded.closed or loaded.leaving else "replaced")
        return None

    async def _admit(self, loaded: LoadedModel, *, makes_room: bool) -> None:
        """Put the engine among the loaded ones once there is memory for it."""
        name = loaded.model.name
        self.room.check_possible(name, loaded.needs)
        if not (makes_room or self.room.would_fit(loaded.needs)):
            raise BusyError(f"there is no room for {name} beside the models that are loaded")
        async with self.room.entered(name, loaded.needs, makes_room=makes_room):
            self._check_open()
            loaded.write_template()
            self._loaded[loaded.key] = loaded
        self.on_change()

    @contextlib.asynccontextmanager
    async def _turn(self, key: Key, model: InstalledModel, settings: ModelSettings) -> AsyncIterator[None]:
        """The engine's door, when it is this caller's turn. Raises BusyError where too many wait for its end."""
        if self._at_door[key] >= (settings.parallel or SLOTS[0]) + settings.max_queue:
            raise self._too_many(model.name, self._at_door[key])
        self._at_door[key] += 1
        try:
            async with self._doors[key]:
                yield
        finally:
            self._at_door[key] -= 1

    def _check_open(self) -> None:
        if self.draining:
            raise ShuttingDownError("oprel is shutting down", "Try again in a moment.")

    def _check_queue(self, loaded: LoadedModel, settings: ModelSettings) -> None:
        waiting = loaded.leases - loaded.slots.total
        if waiting >= settings.max_queue:
            raise self._too_many(loaded.model.name, waiting, loaded.service_seconds / loaded.slots.total)

    def _too_many(self, name: str, waiting: int, seconds_each: float = 0.0) -> BusyError:
        self.metrics.refused(name)
        return too_many(name, waiting, seconds_each)

    async def _descend(self, loaded: LoadedModel, *, makes_room: bool) -> bool:
        """After an engine ran out of memory: True when it has more room than before, or needs less."""
        ended = loaded.process.last_exit
        if not makes_room or ended is None or ended.restart is not Restart.STEP_DOWN:
            return False
        async with loaded.stepping:
            if loaded.stepped_at == loaded.process.starts:  # another request has seen to it
                return True
            made_room = await self.room.empty(beside=loaded)
            if not made_room and not self.launches.descend(loaded, alone=len(self._loaded) == 1):
                return False
            loaded.stepped_at = loaded.process.starts
            return True

    def _keep(self, loaded: LoadedModel, keep_alive: float | None) -> None:
        if keep_alive is not None and not (loaded.settings.keep_alive_locked or loaded.pinned):
            loaded.keep_alive = keep_alive

    def _release(self, loaded: LoadedModel) -> None:
        loaded.leases -= 1
        loaded.used_at = self.clock()
        if loaded.leases == 0:
            self._schedule_expiry(loaded)
            self.on_change()
            self.room.reconsider()
            if loaded.process.state in (EngineState.STARTING, EngineState.BACKING_OFF):
                self._start(self._see_loaded(loaded), f"see {loaded.model.name} loaded")

    async def _see_loaded(self, loaded: LoadedModel) -> None:
        """Nobody waits for the engine any more, but others may wait for its memory."""
        with contextlib.suppress(OprelError):
            await self.make_ready(loaded, makes_room=False)
        self.room.reconsider()

    def _schedule_expiry(self, loaded: LoadedModel) -> None:
        loaded.cancel_timer()
        loaded.expires_at = self.clock() + loaded.keep_alive
        if self.draining or math.isinf(loaded.keep_alive):
            return
        loaded.timer = asyncio.get_running_loop().call_later(loaded.keep_alive, self._start_expiry, loaded)

    def _start_expiry(self, loaded: LoadedModel) -> None:
        loaded.timer = None
        self._start(self._expire(loaded), f"expire {loaded.model.name}")

    async def _expire(self, loaded: LoadedModel) -> None:
        async with self._doors[loaded.key]:
            # No look at the clock: uvloop's timers may fire a millisecond before it says so. A lease that came and went
            # in between has set a new timer.
            still_due = loaded.leases == 0 and loaded.timer is None and not math.isinf(loaded.keep_alive)
            if still_due and self._loaded.get(loaded.key) is loaded:
                await self._retire(loaded, "asked" if loaded.keep_alive == 0 else "idle")

    def _evict(self, loaded: LoadedModel, why: str) -> None:
        """Let an idle engine go, as others need its memory. It takes no request from now on."""
        if not loaded.leaving:
            loaded.leaving = True
            logger.info("%s goes: %s", loaded.model.name, why)
            self._start(self._leave(loaded), f"evict {loaded.model.name}")

    async def _leave(self, loaded: LoadedModel) -> None:
        async with self._doors[loaded.key]:
            if self._loaded.get(loaded.key) is loaded:
                try:
                    await self._retire(loaded, "memory")
                except BackendError as error:
                    logger.error("%s stays: %s", loaded.model.name, error)
                    loaded.leaving = False  # the next change tries again

    async def _retire(self, loaded: LoadedModel, why: Eviction) -> None:
        """Stop an idle engine. The caller holds its door."""
        loaded.cancel_timer()
        self.launches.note_end(loaded)
        try:
            await loaded.process.close()
        except asyncio.CancelledError:  # who asked has left, but the engine goes on stopping
            loaded.leaving = True
            self._start(self._leave(loaded), f"retire {loaded.model.name}")
            raise
        loaded.spec.template_file.unlink(missing_ok=True)
        self._loaded.pop(loaded.key, None)
        self._gone.append(loaded)
        self.metrics.eviction(loaded.model.name, why)
        self.on_change()
        self.room.reconsider()

    def _start(self, work: Coroutine[None, None, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _note_start(self, loaded: LoadedModel) -> None:
        name, process = loaded.model.name, loaded.process
        if process.starts > 1 and process.last_exit:
            self.metrics.restart(name, process.last_exit.reason.value)
        loaded.starts_seen, loaded.ready_at = process.starts, self.clock()
        self.metrics.loaded(name, process.load_seconds)
        self.launches.note_start(loaded)
        self.on_change()
        self.room.reconsider()

    def _note_end(self, loaded: LoadedModel, ended: Ended) -> None:
        """Of an engine that nobody asked to end."""
        name = loaded.model.name
        loaded.slots.lose()
        if not ended.served:
            self.metrics.loaded(name, ended.uptime, ended.exit.reason.value)
        self.crashes.record(ended, loaded.in_flight(self.clock()), name, loaded.process.starts)
