"""The only owner of engines: which models are loaded, which requests use them, and when they are unloaded.

An engine is identified by its files and its mode. It stays while requests hold leases on it, and `keep_alive` seconds
after the last. Its lock orders joining, replacing and unloading. A new one waits for memory in the admission queue.
"""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from functools import partial
from pathlib import Path

from oprel.core.completion import LoadOptions, Mode
from oprel.core.config import Config
from oprel.core.exceptions import BackendError, BusyError, OprelError, ShuttingDownError
from oprel.core.settings import ModelSettings
from oprel.runtime.backends.local_engine import EngineOrder, local_engine
from oprel.runtime.binaries.engine_binaries import EngineBinaries
from oprel.runtime.engine import Engine
from oprel.runtime.supervisor.child import Ended
from oprel.server.history.crash_reports import Crashes
from oprel.server.history.metrics import Eviction, Metrics
from oprel.server.history.quarantine import Quarantine
from oprel.server.models.installed_model import InstalledModel
from oprel.server.pool.admission import AdmissionQueue
from oprel.server.pool.engine_status import EngineStatus, status_of
from oprel.server.pool.launcher import Launcher
from oprel.server.pool.load_decision import Key, RequestedLoad, files_of, requested_load
from oprel.server.pool.loaded_model import Lease, LoadedModel
from oprel.server.pool.locks import EngineLocks
from oprel.server.pool.planning import Planning
from oprel.server.pool.scheduling import SchedulingDecision
from oprel.server.pool.slots import too_many
from oprel.server.pool.starter import EngineStarter
from oprel.telemetry.hardware.probing import Hardware
from oprel.telemetry.recommender.settings import SLOTS
from oprel.utils.process.clock import Clock

logger = logging.getLogger(__name__)

GONE_KEPT = 16  # engines whose log can be read after their end


class ModelManager:
    """`run_dir` takes the engines' sockets; it is this manager's alone. All methods belong to the event loop.

    `on_use` is called with the model of each lease. `hardware` describes a machine other than this one.
    """

    def __init__(
        self,
        config: Config,
        binaries: EngineBinaries,
        run_dir: Path,
        clock: Clock | None = None,
        *,
        on_use: Callable[[InstalledModel], None] = lambda model: None,
        hardware: Hardware | None = None,
        make_engine: Callable[[EngineOrder], Engine] = local_engine,
    ) -> None:
        self.config, self.binaries = config, binaries
        self.clock = clock = clock or Clock()
        self.draining = False
        self.quarantine, self.metrics = Quarantine(), Metrics()
        self.crashes = Crashes(config.crashes_dir, prompts=config.crash_prompts == "on")
        self.planning = planning = Planning(config, binaries, hardware)
        self.launcher = Launcher(
            config, binaries, planning, run_dir, clock, on_end=self._note_end, make_engine=make_engine
        )
        self.admission = AdmissionQueue(
            budget=lambda: self.planning.budget,
            clock=clock,
            engines=lambda: [loaded.as_resident() for loaded in self.loaded],
            apply=self._apply,
        )
        self._starter = EngineStarter(self.launcher, self._evict_idle, lambda: len(self._loaded) == 1)
        self._on_use = on_use
        self._observers: list[Callable[[], None]] = []
        self._loaded: dict[Key, LoadedModel] = {}
        self._gone: deque[LoadedModel] = deque(maxlen=GONE_KEPT)
        self._locks = EngineLocks()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def loaded(self) -> list[LoadedModel]:
        return list(self._loaded.values())

    def statuses(self) -> list[EngineStatus]:
        return [status_of(loaded, self.clock()) for loaded in self.loaded]

    @contextlib.contextmanager
    def observed(self, on_change: Callable[[], None]) -> Iterator[None]:
        """Inside the block `on_change` is called when an engine is added, removed, or gets another keep-alive."""
        self._observers.append(on_change)
        try:
            yield
        finally:
            self._observers.remove(on_change)

    def last_engine(self, name: str) -> Engine | None:
        """The engine of a model, or the last one that it had."""
        return next((each.engine for each in (*self.loaded[::-1], *reversed(self._gone)) if name in each.names), None)

    @contextlib.asynccontextmanager
    async def lease(
        self,
        model: InstalledModel,
        requested: LoadOptions | None,
        keep_alive: float | None = None,
        mode: Mode = Mode.COMPLETION,
        *,
        slots: int = 1,
        makes_room: bool = True,
    ) -> AsyncIterator[Lease]:
        """A ready engine for `model`, started if need be, with `slots` of its slots (0 for what needs none).

        Any engine of the model will do where `requested` is None. `keep_alive` (seconds) replaces the engine's own,
        unless locked. Without `makes_room` no engine is stopped or waited for: BusyError when there is no room now.
        Raises BackendError (an engine does not start or stop), InsufficientMemoryError, BusyError, ShuttingDownError.
        """
        began = self.clock()
        loaded = await self._join(model, requested, mode, slots=slots, makes_room=makes_room)
        try:
            loaded.keep_for(keep_alive)
            joined = self.clock()
            async with loaded.slots.hold(slots) as grant:
                granted = self.clock()
                await self.make_ready(loaded, makes_room=makes_room)
                await grant.settle()
                load_ns = round((joined - began + self.clock() - granted) * 1e9)
                times = {"load_ns": load_ns, "queued_ns": round((granted - joined) * 1e9)}
                self._on_use(model)
                revive = partial(self.make_ready, loaded)
                yield Lease(model=model, loaded=loaded, requested=requested, grant=grant, **times, revive=revive)
        finally:
            self._release(loaded)

    async def make_ready(self, loaded: LoadedModel, *, makes_room: bool = True) -> None:
        """Return once the engine answers. Without `makes_room` no other engine is stopped for it."""
        await self._starter.make_ready(loaded, makes_room=makes_room)
        if loaded.engine.starts > loaded.starts_seen:
            self._note_start(loaded)

    async def unload(self, model: InstalledModel, *, removed: bool = False) -> list[LoadedModel]:
        """Unload the model, and return its engines: idle ones are gone by then, others go with their last lease.

        `removed`: the model was removed, so engines that serve its weights under another name stay.
        """
        engines = [loaded for loaded in self.loaded if loaded.has(model)]
        engines = [loaded for loaded in engines if not removed or loaded.leave(model)]
        for loaded in engines:
            loaded.lifetime.keep_alive = 0.0
            if loaded.leases == 0:
                loaded.lifetime.cancel()
                await self._expire(loaded)
        return engines

    async def drain(self) -> None:
        """Refuse new leases, and return when the last one is back."""
        self.draining = True
        self.admission.end()
        await self.admission.until(lambda: not any(loaded.leases for loaded in self.loaded))

    async def close(self) -> None:
        """Stop every engine, side by side, and refuse new leases."""
        self.draining = True
        self.admission.end()
        for loaded in self.loaded:
            loaded.lifetime.cancel()
            self.launcher.note_end(loaded)
        ends = (*(loaded.engine.close() for loaded in self.loaded), *self._tasks)
        for result in await asyncio.gather(*ends, return_exceptions=True):
            if isinstance(result, OprelError):
                logger.error("%s", result)
        self._loaded.clear()
        self.planning.close()
        self.crashes.close()  # a file of some kilobytes, and at the end of a program no thread can be started

    def kill(self) -> None:
        """End every engine at once: for a daemon that is about to end itself."""
        for loaded in self.loaded:
            loaded.engine.kill()

    async def _join(
        self, model: InstalledModel, requested: LoadOptions | None, mode: Mode, *, slots: int, makes_room: bool
    ) -> LoadedModel:
        settings = self.config.for_model(model.name)
        request = requested_load(model, settings, requested)
        key = (files_of(model), mode)
        most = (settings.parallel or SLOTS[0]) + settings.max_queue
        async with self._locks.held(key, most, partial(self._too_many, model.name)):
            self._check_open()
            loaded = self._loaded.get(key)
            if loaded and not (makes_room or loaded.serves(model, request)):
                raise BusyError(f"{loaded.model.name} is loaded with other options")
            if loaded and not await self._can_join(loaded, model, request):
                request = await self._make_way(loaded, model, request)
                loaded = None
            if loaded is None:
                backends = await self.launcher.backends(model, settings, mode)
                await self.planning.look_around(self.loaded)
                loaded = self.launcher.prepare(model, settings, request, mode, residents=self.loaded, backends=backends)
                await self._admit(loaded, makes_room=makes_room)
            if slots:
                self._check_queue(loaded, settings)
            loaded.lifetime.cancel()
            loaded.leases += 1
            if loaded.join(model, settings):
                self.admission.reconsider()
            return loaded

    async def _can_join(self, loaded: LoadedModel, model: InstalledModel, request: RequestedLoad) -> bool:
        """Whether the engine serves the request; False once it is idle and does not, or is worth a restart."""
        await self.admission.until(lambda: self.draining or loaded.leases == 0 or loaded.serves(model, request))
        self._check_open()
        return loaded.serves(model, request) and not self.launcher.is_outdated(loaded, self.clock())

    async def _make_way(self, loaded: LoadedModel, model: InstalledModel, request: RequestedLoad) -> RequestedLoad:
        """Stop an idle engine, and return the options of the next one."""
        await self.planning.look_around(self.loaded)
        leaves = loaded.closed or loaded.leaving
        options = request if leaves else self.launcher.replacing(loaded, model, request, self.loaded)
        await self._retire(loaded, "memory" if leaves else "replaced")
        return options

    async def _admit(self, loaded: LoadedModel, *, makes_room: bool) -> None:
        """Add the engine once there is memory for it."""
        self.admission.check_possible(loaded.model.name, loaded.needs)
        if not (makes_room or self.admission.fits_now(loaded.needs)):
            raise BusyError(f"there is no room for {loaded.model.name} beside the models that are loaded")
        async with self.admission.admitted(loaded.model.name, loaded.needs, makes_room=makes_room):
            self._check_open()
            self._loaded[loaded.key] = loaded
        self._changed()

    def _apply(self, decision: SchedulingDecision) -> None:
        """Close and evict engines, as the admission queue decided."""
        for loaded in self.loaded:
            loaded.closed = loaded.id in decision.close
            if loaded.id in decision.evict:
                self._evict(loaded, decision.evict[loaded.id])

    def _changed(self) -> None:
        for on_change in self._observers:
            on_change()
        self.admission.reconsider()

    def _check_open(self) -> None:
        if self.draining:
            raise ShuttingDownError("oprel is shutting down", "Try again in a moment.")

    def _check_queue(self, loaded: LoadedModel, settings: ModelSettings) -> None:
        waiting = loaded.leases - (parallel := loaded.spec.parallel)
        if waiting >= settings.max_queue:
            raise self._too_many(loaded.model.name, waiting, loaded.pace.service_seconds / parallel)

    def _too_many(self, name: str, waiting: int, seconds_each: float = 0.0) -> BusyError:
        self.metrics.refused(name)
        return too_many(name, waiting, seconds_each)

    async def _evict_idle(self, beside: LoadedModel) -> bool:
        """Stop every idle engine but `beside`; True once they are gone, False when there was none."""
        victims = [loaded for loaded in self.loaded if loaded is not beside and loaded.may_go]
        for victim in victims:
            self._evict(victim, f"{beside.model.name} ran out of memory")
        await self.admission.until(lambda: not any(victim in self.loaded for victim in victims))
        return bool(victims)

    def _release(self, loaded: LoadedModel) -> None:
        loaded.leases, loaded.used_at = loaded.leases - 1, self.clock()
        if loaded.leases == 0:
            if not self.draining:
                expire = partial(self._expire, loaded)
                loaded.lifetime.start(self.clock, lambda: self._start(expire(), f"expire {loaded.model.name}"))
            self._changed()
            if loaded.engine.is_loading:
                self._start(self._finish_load(loaded), f"finish the load of {loaded.model.name}")

    async def _finish_load(self, loaded: LoadedModel) -> None:
        """No request waits for the engine any more, but others may wait for its memory."""
        with contextlib.suppress(OprelError):
            await self.make_ready(loaded, makes_room=False)
        self.admission.reconsider()

    async def _expire(self, loaded: LoadedModel) -> None:
        async with self._locks.of(loaded.key):
            # Not by the clock: uvloop's timers may fire too early. A lease in between has started the lifetime again.
            still_due = loaded.leases == 0 and not loaded.lifetime.is_running and not loaded.lifetime.is_endless
            if still_due and self._loaded.get(loaded.key) is loaded:
                await self._retire(loaded, "asked" if loaded.lifetime.keep_alive == 0 else "idle")

    def _evict(self, loaded: LoadedModel, why: str) -> None:
        """Stop an idle engine, as others need its memory. It takes no request from now on."""
        if not loaded.leaving:
            loaded.leaving = True
            logger.info("evicting %s: %s", loaded.model.name, why)
            self._start(self._leave(loaded), f"evict {loaded.model.name}")

    async def _leave(self, loaded: LoadedModel) -> None:
        async with self._locks.of(loaded.key):
            if self._loaded.get(loaded.key) is loaded:
                try:
                    await self._retire(loaded, "memory")
                except BackendError as error:
                    logger.error("cannot evict %s: %s", loaded.model.name, error)
                    loaded.leaving = False  # the next change tries again

    async def _retire(self, loaded: LoadedModel, why: Eviction) -> None:
        """Stop an idle engine. The caller holds its lock."""
        loaded.lifetime.cancel()
        self.launcher.note_end(loaded)
        try:
            await loaded.engine.close()
        except asyncio.CancelledError:  # the caller has left, but the engine continues to stop
            loaded.leaving = True
            self._start(self._leave(loaded), f"retire {loaded.model.name}")
            raise
        self._loaded.pop(loaded.key, None)
        self._gone.append(loaded)
        self.metrics.eviction(loaded.model.name, why)
        self._changed()

    def _start(self, work: Coroutine[None, None, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _note_start(self, loaded: LoadedModel) -> None:
        name, snapshot = loaded.model.name, loaded.engine.snapshot()
        if snapshot.starts > 1 and snapshot.last_exit:
            self.metrics.restart(name, snapshot.last_exit.reason.value)
        loaded.starts_seen, loaded.ready_at = snapshot.starts, self.clock()
        self.metrics.loaded(name, snapshot.load_seconds)
        loaded.buffers = self.launcher.note_start(loaded)
        self._changed()

    def _note_end(self, number: int, ended: Ended) -> None:
        """An engine has ended unasked."""
        if (loaded := next((loaded for loaded in self.loaded if loaded.id == number), None)) is None:  # it is gone
            return
        loaded.note_end(ended)
        if not ended.served:
            self.metrics.loaded(loaded.model.name, ended.uptime, ended.exit.reason.value)
        self.crashes.record(ended, loaded.in_flight.report(self.clock()), loaded.model.name, loaded.engine.starts)
