"""Engines before they are started: what they are started with, and what is known from those before them.

An engine that ran out of memory gets more room or is started with less the next time, one step after the other
(`runtime.ladder`).
"""

import itertools
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from oprel.core.config import Config, ModelSettings
from oprel.runtime.backends import llama_cpp
from oprel.runtime.backends.base import EngineSpec, LoadOptions, Mode, Parts
from oprel.runtime.binaries.shelf import Shelf
from oprel.runtime.ladder import next_step
from oprel.runtime.life import Ended
from oprel.runtime.process import EngineProcess, Launch
from oprel.runtime.pulse import Pace
from oprel.runtime.restarts import History
from oprel.server.descents import Descents
from oprel.server.library import InstalledModel
from oprel.server.loaded import Key, LoadedModel
from oprel.server.slots import Slots
from oprel.telemetry import memory

logger = logging.getLogger(__name__)

MAX_RECORDS = 256
MOST_CACHE_RAM_MIB = 512


@dataclass(frozen=True)
class Record:
    """How such an engine fared so far: it is to be remembered longer than the engine stays loaded."""

    history: History = field(default_factory=History)
    pace: Pace = field(default_factory=Pace)


class Launches:
    """Owner of that experience. `run_dir` takes the engines' sockets."""

    def __init__(self, config: Config, shelf: Shelf, run_dir: Path) -> None:
        self._config = config
        self._shelf = shelf
        self._run_dir = run_dir
        self._descents = Descents(config.home_dir / "memory.json")
        self._records: dict[tuple[Key, LoadOptions, datetime], Record] = {}
        self._numbers = itertools.count(1)

    def plan(
        self,
        model: InstalledModel,
        settings: ModelSettings,
        asked: LoadOptions,
        mode: Mode,
        on_end: Callable[[LoadedModel, Ended], None],
    ) -> LoadedModel:
        """An engine for the model; it is not started, and nothing is on disk."""
        number, wanted = next(self._numbers), wanted_of(model, settings, asked)
        spec = _spec(model, settings, wanted, mode, self._run_dir / f"engine-{number}.sock")
        record = self._record((spec.parts, mode), wanted, model.modified)
        launch = Launch(
            label=model.name if mode is Mode.COMPLETION else f"{model.name} ({mode.value})",
            socket=spec.socket,
            arguments=lambda flags: llama_cpp.arguments(loaded.spec, flags),
            load_timeout=self._config.load_timeout_seconds,
            stall_timeout=self._config.stall_timeout_seconds,
        )
        process = EngineProcess(
            launch,
            self._shelf,
            history=record.history,
            pace=record.pace,
            on_end=lambda ended: on_end(loaded, ended),
        )
        loaded: LoadedModel = LoadedModel(
            number, model, settings, asked, wanted, spec, process, Slots(spec.parallel), settings.keep_alive_seconds
        )
        for step in self._descents.of(loaded, next(iter(self._shelf.usable), None)):
            loaded.descend(step)
        loaded.predicted_bytes = _predicted(model, loaded.spec)
        return loaded

    def descend(self, loaded: LoadedModel, *, alone: bool) -> bool:
        """Have the engine started with less, as it ran out of memory; False when there is nothing left to give up.

        What it gives up beside others, which may be gone the next time, is not remembered.
        """
        loaded.lacked_alone &= alone
        step = next_step(loaded.spec, loaded.steps, context_is_fixed=loaded.asked.num_ctx is not None)
        if step:
            logger.warning("%s ran out of memory: from now on %s", loaded.model.name, step.value)
            loaded.descend(step)
            # What it died of is mended: it may start at once. More room alone is no such reason: that comes and goes.
            self._record(loaded.key, loaded.wanted, loaded.model.modified).history.ends.clear()
        return step is not None

    def note_start(self, loaded: LoadedModel) -> None:
        """The engine is up: so much memory suffices."""
        if loaded.steps and loaded.lacked_alone:
            self._descents.remember(loaded, loaded.process.binary)

    def _record(self, key: Key, load: LoadOptions, modified: datetime) -> Record:
        while len(self._records) > MAX_RECORDS:
            self._records.pop(next(iter(self._records)))
        return self._records.setdefault((key, load, modified), Record())


def wanted_of(model: InstalledModel, settings: ModelSettings, asked: LoadOptions) -> LoadOptions:
    """What is asked for, with everything filled in that is configured."""
    return llama_cpp.resolve(asked, settings, model.header.context_length)


def parts_of(model: InstalledModel) -> Parts:
    manifest = model.manifest
    template = model.chat_template or "" if manifest.template else ""
    return Parts(manifest.weights, manifest.projector, manifest.adapters, template)


def _spec(model: InstalledModel, settings: ModelSettings, load: LoadOptions, mode: Mode, socket: Path) -> EngineSpec:
    cells = (load.num_ctx or 0) * settings.parallel
    cache_mib = memory.kv_bytes(model.header, cells, settings.kv_cache_type) // 1024**2
    return EngineSpec(
        parts=parts_of(model),
        socket=socket,
        load=load,
        mode=mode,
        pooling=_pooling(model, mode),
        parallel=settings.parallel,
        kv_cache_type=settings.kv_cache_type,
        flash_attention=settings.flash_attention,
        # For states of prompts that left their slot: as much as all slots have, within bounds.
        cache_ram_mib=max(1, min(MOST_CACHE_RAM_MIB, cache_mib)),
    )


def _pooling(model: InstalledModel, mode: Mode) -> str | None:
    """How an engine makes one vector of many, where the model itself does not say."""
    if mode is Mode.RERANK:
        return "rank"
    return "mean" if mode is Mode.EMBEDDING and model.header.pooling_type is None else None


def _predicted(model: InstalledModel, spec: EngineSpec) -> int:
    """Bytes the engine will take: its files, the cells of all its slots, the cache of prompts, and the process."""
    cells = (spec.load.num_ctx or 0) * spec.parallel
    cache = memory.kv_bytes(model.header, cells, spec.kv_cache_type)
    return model.size_bytes + cache + spec.cache_ram_mib * 1024**2 + memory.EVERY_ENGINE
