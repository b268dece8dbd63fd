"""The only owner of engines: which models are loaded, who uses them, and when they go.

An engine is identified by the files it runs and what it is started for. A request takes a lease on one: the engine
stays while leases are out, and `keep_alive` seconds after the last. Joining, replacing and unloading one engine go
through that engine's door (a lock), one at a time and in order; answers themselves run side by side.
"""

import asyncio
import contextlib
import itertools
import logging
import math
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from oprel.core.config import Config
from oprel.core.exceptions import BusyError, OprelError, ShuttingDownError
from oprel.runtime.backends import llama_cpp
from oprel.runtime.backends.base import EngineSpec, LoadOptions, Mode, Parts
from oprel.runtime.binaries.shelf import Shelf
from oprel.runtime.process import DOWN, EngineProcess, Launch
from oprel.runtime.restarts import History
from oprel.server.library import InstalledModel

logger = logging.getLogger(__name__)

MAX_HISTORIES = 256
BUSY = "server busy, please try again.  maximum pending requests exceeded"  # Ollama's words, with both spaces

Key = tuple[Parts, Mode]


@dataclass
class LoadedModel:
    """An engine and its book-keeping; only the manager writes here. Times are of the manager's clock, in seconds."""

    model: InstalledModel
    spec: EngineSpec
    process: EngineProcess
    keep_alive: float
    names: set[str] = field(default_factory=set)
    leases: int = 0
    expires_at: float = math.inf
    timer: asyncio.TimerHandle | None = None
    idle: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def key(self) -> Key:
        return self.spec.parts, self.spec.mode

    @property
    def num_ctx(self) -> int:
        return self.spec.load.num_ctx or 0


@dataclass(frozen=True)
class Lease:
    """The right to use a ready engine. `load_ns` is how long the request waited for it."""

    model: InstalledModel
    process: EngineProcess
    num_ctx: int
    load_ns: int


class ModelManager:
    """`run_dir` takes the engines' sockets; it must be this manager's alone."""

    def __init__(
        self, config: Config, shelf: Shelf, run_dir: Path, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.config = config
        self.shelf = shelf
        self.clock = clock
        self._run_dir = run_dir
        self._loaded: dict[Key, LoadedModel] = {}
        self._histories: dict[tuple[Key, LoadOptions, datetime], History] = {}
        self._doors: defaultdict[Key, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._at_door: Counter[Key] = Counter()
        self._numbers = itertools.count(1)
        self._expiries: set[asyncio.Task[None]] = set()
        self._closing = False

    @property
    def loaded(self) -> list[LoadedModel]:
        return list(self._loaded.values())

    @contextlib.asynccontextmanager
    async def lease(
        self,
        model: InstalledModel,
        asked: LoadOptions,
        keep_alive: float | None = None,
        mode: Mode = Mode.COMPLETION,
    ) -> AsyncIterator[Lease]:
        """A ready engine for `model`, started if need be. `keep_alive` in seconds replaces the engine's own.

        Raises BackendError (the engine does not start, or the one in its place does not stop), ShuttingDownError.
        """
        began = self.clock()
        loaded = await self._join(model, asked, mode)
        try:
            loaded.keep_alive = loaded.keep_alive if keep_alive is None else keep_alive
            await loaded.process.ensure_ready()
            waited = round((self.clock() - began) * 1e9)
            yield Lease(model, loaded.process, loaded.num_ctx, waited)
        finally:
            self._release(loaded)

    async def unload(self, model: InstalledModel) -> list[LoadedModel]:
        """Let the model's engines go, and return them: idle ones are gone by then, others go with their last lease."""
        found = [loaded for loaded in self.loaded if loaded.spec.parts.weights == model.weights]
        for loaded in found:
            loaded.keep_alive = 0.0
            if loaded.leases == 0:
                _cancel_timer(loaded)
                await self._expire(loaded)
        return found

    async def close(self) -> None:
        """Stop every engine, side by side, and refuse new leases."""
        self._closing = True
        for loaded in self.loaded:
            _cancel_timer(loaded)
        ends = (*(loaded.process.close() for loaded in self.loaded), *self._expiries)
        for result in await asyncio.gather(*ends, return_exceptions=True):
            if isinstance(result, OprelError):
                logger.error("%s", result)
        for loaded in self.loaded:
            loaded.spec.template_file.unlink(missing_ok=True)
        self._loaded.clear()

    async def _join(self, model: InstalledModel, asked: LoadOptions, mode: Mode) -> LoadedModel:
        wanted = llama_cpp.resolve(asked, self.config, model.header.context_length)
        key = (_parts(model), mode)
        async with self._turn(key, model):
            loaded = self._loaded.get(key)
            if loaded and not self._serves(loaded, model, wanted):
                await loaded.idle.wait()
                await self._retire(loaded)
                loaded = None
            if self._closing:
                raise ShuttingDownError("oprel is shutting down", "Try again in a moment.")
            if loaded is None:
                loaded = self._loaded[key] = self._create(model, wanted, mode)
            waiting = loaded.leases - self.config.parallel
            if waiting >= self.config.max_queue:
                raise BusyError(BUSY, f"{waiting} requests wait for {model.name}: see `parallel` and `max_queue`.")
            _cancel_timer(loaded)
            loaded.leases += 1
            loaded.idle.clear()
            loaded.names.add(model.name)
            return loaded

    @contextlib.asynccontextmanager
    async def _turn(self, key: Key, model: InstalledModel) -> AsyncIterator[None]:
        """The engine's door, when it is this caller's turn. Raises BusyError where too many wait for its end."""
        if self._at_door[key] >= self.config.parallel + self.config.max_queue:
            raise BusyError(BUSY, f"{self._at_door[key]} requests wait for {model.name} with other options.")
        self._at_door[key] += 1
        try:
            async with self._doors[key]:
                yield
        finally:
            self._at_door[key] -= 1

    def _serves(self, loaded: LoadedModel, model: InstalledModel, wanted: LoadOptions) -> bool:
        if loaded.model.modified != model.modified:  # the file is another one by now
            return False
        # An engine that failed to start gets no second try with the options it failed with, unless they are asked for.
        failed = loaded.process.state in DOWN and loaded.leases == 0
        return loaded.spec.load == wanted if failed else wanted.served_by(loaded.spec.load)

    def _create(self, model: InstalledModel, load: LoadOptions, mode: Mode) -> LoadedModel:
        spec = EngineSpec(
            parts=_parts(model),
            socket=self._run_dir / f"engine-{next(self._numbers)}.sock",
            load=load,
            mode=mode,
            pooling=_pooling(model, mode),
            parallel=self.config.parallel,
            kv_cache_type=self.config.kv_cache_type,
            flash_attention=self.config.flash_attention,
        )
        if spec.parts.chat_template:
            spec.template_file.write_text(spec.parts.chat_template, encoding="utf-8")
        launch = Launch(
            label=model.name if mode is Mode.COMPLETION else f"{model.name} ({mode.value})",
            socket=spec.socket,
            arguments=lambda flags: llama_cpp.arguments(spec, flags),
            load_timeout=self.config.load_timeout_seconds,
        )
        process = EngineProcess(launch, self.shelf, history=self._history(model, spec))
        return LoadedModel(model, spec, process, self.config.keep_alive_seconds)

    def _history(self, model: InstalledModel, spec: EngineSpec) -> History:
        """How such an engine fared so far: it is to be remembered longer than the engine stays loaded."""
        while len(self._histories) > MAX_HISTORIES:
            self._histories.pop(next(iter(self._histories)))
        return self._histories.setdefault(((spec.parts, spec.mode), spec.load, model.modified), History())

    def _release(self, loaded: LoadedModel) -> None:
        loaded.leases -= 1
        if loaded.leases == 0:
            loaded.idle.set()
            self._schedule_expiry(loaded)

    def _schedule_expiry(self, loaded: LoadedModel) -> None:
        _cancel_timer(loaded)
        loaded.expires_at = self.clock() + loaded.keep_alive
        if self._closing or math.isinf(loaded.keep_alive):
            return
        loaded.timer = asyncio.get_running_loop().call_later(loaded.keep_alive, self._start_expiry, loaded)

    def _start_expiry(self, loaded: LoadedModel) -> None:
        loaded.timer = None
        task = asyncio.create_task(self._expire(loaded), name=f"expire {loaded.model.name}")
        self._expiries.add(task)
        task.add_done_callback(self._expiries.discard)

    async def _expire(self, loaded: LoadedModel) -> None:
        async with self._doors[loaded.key]:
            # No look at the clock: uvloop's timers may fire a millisecond before it says so. A lease that came and went
            # in between has set a new timer.
            still_due = loaded.leases == 0 and loaded.timer is None and not math.isinf(loaded.keep_alive)
            if still_due and self._loaded.get(loaded.key) is loaded:
                await self._retire(loaded)

    async def _retire(self, loaded: LoadedModel) -> None:
        """Stop an idle engine. The caller holds its door."""
        _cancel_timer(loaded)
        try:
            await loaded.process.stop()
        except asyncio.CancelledError:  # who asked has left, but the engine goes on stopping
            loaded.keep_alive = 0.0
            self._start_expiry(loaded)
            raise
        loaded.spec.template_file.unlink(missing_ok=True)
        self._loaded.pop(loaded.key, None)


def _parts(model: InstalledModel) -> Parts:
    manifest = model.manifest
    template = model.chat_template or "" if manifest.template else ""
    return Parts(manifest.weights, manifest.projector, manifest.adapters, template)


def _pooling(model: InstalledModel, mode: Mode) -> str | None:
    """How an engine makes one vector of many, where the model itself does not say."""
    if mode is Mode.RERANK:
        return "rank"
    return "mean" if mode is Mode.EMBEDDING and model.header.pooling_type is None else None


def _cancel_timer(loaded: LoadedModel) -> None:
    if loaded.timer:
        loaded.timer.cancel()
        loaded.timer = None
    loaded.expires_at = math.inf
