"""Engines before they are started: what they are started with, and what is known from those before them.

An engine that ran out of memory gets more room or is started with less the next time (`telemetry.ladder`).
"""

import asyncio
import itertools
import logging
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from oprel.core.completion import LoadOptions, Mode
from oprel.core.config import Config
from oprel.core.exceptions import ConfigError
from oprel.core.settings import ModelSettings
from oprel.formats.checks.validation import require_sound
from oprel.runtime.backends import launching
from oprel.runtime.backends.backend import Backend
from oprel.runtime.backends.base import EngineSpec, ModelFiles
from oprel.runtime.backends.engines import llama_cpp
from oprel.runtime.backends.specs import LoadConstraints, asked_of, spec_of
from oprel.runtime.binaries.engine_binaries import EngineBinaries
from oprel.runtime.restarts import History
from oprel.runtime.selection.binaries import BinaryCatalog
from oprel.runtime.supervisor.child import Ended
from oprel.runtime.supervisor.hang_detector import Pace
from oprel.runtime.supervisor.process import EngineProcess
from oprel.server.models.library import InstalledModel
from oprel.server.pool.loaded_model import Key, LoadedModel
from oprel.server.pool.oom_history import OomHistory
from oprel.server.pool.planning import Planning, needs_of, refusal
from oprel.server.pool.scheduling import Amount
from oprel.server.pool.slots import Slots
from oprel.telemetry.recommender import step_down
from oprel.telemetry.recommender.plan_wire import plan_response
from oprel.telemetry.recommender.planning import Plan
from oprel.wire.daemon import PlanResponse

logger = logging.getLogger(__name__)

MAX_RECORDS = 256


@dataclass(frozen=True)
class EngineRecord:
    """How such an engine fared so far: it is to be remembered longer than the engine stays loaded."""

    history: History = field(default_factory=History)
    pace: Pace = field(default_factory=Pace)


class Launcher:
    """Owner of that experience. `run_dir` takes the engines' sockets."""

    def __init__(self, config: Config, shelf: EngineBinaries, planning: Planning, run_dir: Path) -> None:
        self._config = config
        self._planning = planning
        self._shelves = BinaryCatalog(config, shelf)
        self._run_dir = run_dir
        self._descents = OomHistory(config.home_dir / "memory.json")
        self._records: dict[tuple[Key, LoadOptions, datetime, str], EngineRecord] = {}
        self._numbers = itertools.count(1)

    def plan(
        self,
        model: InstalledModel,
        settings: ModelSettings,
        asked: LoadOptions,
        mode: Mode,
        residents: Sequence[LoadedModel],
        on_end: Callable[[LoadedModel, Ended], None],
        backends: Sequence[Backend] = (llama_cpp.BACKEND,),
    ) -> LoadedModel:
        """An engine for the model, with `residents` beside it or in its way; it is not started, and nothing is on disk.

        It is of the first of `backends`; the others are for when that does not start. Raises InsufficientMemoryError
        when it can never fit.
        """
        number, wanted = next(self._numbers), wanted_of(model, settings, asked)
        backend, *others = backends
        found = self._planning.plan(model, asked_of(wanted, settings, mode), residents)
        if not found.fits:
            raise refusal(model.name, found, residents)
        fixed = launching.placed(backend, self._fixed(model, settings, wanted, mode, number))
        spec = spec_of(found, fixed)
        process = self._process(backend, model, wanted, spec, lambda: loaded, on_end)
        loaded: LoadedModel = LoadedModel(
            number,
            model,
            settings,
            asked,
            wanted,
            fixed,
            found,
            found,
            spec,
            _needs(found, backend),
            process,
            Slots(spec.parallel),
            settings.keep_alive_seconds,
            backend=backend,
            others=tuple(others),
        )
        self._descend_as_before(loaded)
        return loaded

    async def told(self, model: InstalledModel, residents: Sequence[LoadedModel]) -> PlanResponse:
        """How the model would be loaded now, for who only asks. Raises NoEngineError."""
        settings, mode = self._config.for_model(model.name), model.usual_mode
        wanted = wanted_of(model, settings, LoadOptions())
        others = [one for one in residents if one.spec.parts != parts_of(model)]
        found = self._planning.plan(model, asked_of(wanted, settings, mode), others)
        backend = (await self._shelves.backends(model.info, mode, settings.backend))[0]
        binary, flags = await self._shelves.of(backend).choose()
        spec = spec_of(found, self._fixed(model, settings, wanted, mode, 0))
        return plan_response(model.name, found, [*binary.command, *backend.arguments(spec, flags)])

    async def backends(self, model: InstalledModel, settings: ModelSettings, mode: Mode) -> list[Backend]:
        """The engines that may serve it, best first. Raises NoEngineError, InvalidModelError."""
        if not model.is_gguf:
            await asyncio.to_thread(require_sound, model.weights)
        return await self._shelves.backends(model.info, mode, settings.backend)

    def fall_back(
        self, loaded: LoadedModel, failed: EngineProcess, on_end: Callable[[LoadedModel, Ended], None]
    ) -> bool:
        """Have the next backend serve the model, as the engine of this one did not start; False where there is none."""
        if loaded.process is not failed:  # another request has seen to it
            return True
        if not loaded.others:
            return False
        backend, *others = loaded.others
        why = failed.last_exit.detail if failed.last_exit else "it cannot be started"
        note = f"{backend.name}, as {loaded.backend.name} did not start ({why})"
        logger.warning("%s: from now on %s", loaded.model.name, note)
        loaded.fixed = launching.placed(backend, loaded.fixed)
        loaded.descend(loaded.plan, spec_of(loaded.plan, loaded.fixed), _needs(loaded.plan, backend))
        process = self._process(backend, loaded.model, loaded.wanted, loaded.spec, lambda: loaded, on_end)
        loaded.change_engine(backend, tuple(others), process, note)
        return True

    def _process(
        self,
        backend: Backend,
        model: InstalledModel,
        wanted: LoadOptions,
        spec: EngineSpec,
        loaded: Callable[[], LoadedModel],
        on_end: Callable[[LoadedModel, Ended], None],
    ) -> EngineProcess:
        """`loaded` is what the process is for, once there is any."""
        label = model.name if spec.mode is Mode.COMPLETION else f"{model.name} ({spec.mode.value})"
        timeouts = self._config.load_timeout_seconds, self._config.stall_timeout_seconds
        record = self._record((spec.parts, spec.mode), wanted, model.modified, backend.name)
        return EngineProcess(
            launching.launch(backend, spec, lambda: loaded().spec, label, *timeouts),
            self._shelves.of(backend),
            history=record.history,
            pace=record.pace,
            on_end=lambda ended: on_end(loaded(), ended),
        )

    def descend(self, loaded: LoadedModel, *, alone: bool) -> bool:
        """Have the engine started with less, as it ran out of memory; False when there is nothing left to give up.

        What it gives up beside others, which may be gone the next time, is not remembered.
        """
        loaded.lacked_alone &= alone
        found = step_down.less(loaded.plan)
        if found:
            before = loaded.plan.solution
            self._replan(loaded, found)
            words = ", ".join(step_down.given_up(before, found.solution))
            logger.warning("%s ran out of memory: from now on %s", loaded.model.name, words)
            # What it died of is mended: it may start at once. More room alone is no such reason: that comes and goes.
            record = self._record(loaded.key, loaded.wanted, loaded.model.modified, loaded.backend.name)
            record.history.ends.clear()
        return found is not None

    def _descend_as_before(self, loaded: LoadedModel) -> None:
        """As far as such an engine had to, the last time."""
        sufficed = self._descents.of(loaded, next(iter(self._shelves.of(loaded.backend).usable), None))
        while sufficed is not None and step_down.moves(loaded.plan.solution, loaded.plan) > sufficed:
            found = step_down.less(loaded.plan)
            if found is None:
                return
            self._replan(loaded, found)

    def _replan(self, loaded: LoadedModel, found: Plan) -> None:
        loaded.descend(found, spec_of(found, loaded.fixed), _needs(found, loaded.backend))

    def _fixed(
        self, model: InstalledModel, settings: ModelSettings, wanted: LoadOptions, mode: Mode, number: int
    ) -> LoadConstraints:
        return LoadConstraints(
            parts_of(model),
            self._run_dir / f"engine-{number}.sock",
            wanted,
            self._planning.hardware.cpu.threads,
            mode,
            _pooling(model, mode),
            settings.flash_attention,
            _words(settings.engine_args),
        )

    def note_start(self, loaded: LoadedModel) -> None:
        """The engine is up: so much memory suffices, and so much it took."""
        self._planning.note_load(loaded)
        if loaded.adjustments and loaded.lacked_alone:
            self._descents.remember(loaded, loaded.process.binary, step_down.moves(loaded.plan.solution, loaded.plan))

    def note_end(self, loaded: LoadedModel) -> None:
        """It is about to be stopped."""
        self._planning.note_end(loaded)

    def _record(self, key: Key, load: LoadOptions, modified: datetime, backend: str) -> EngineRecord:
        while len(self._records) > MAX_RECORDS:
            self._records.pop(next(iter(self._records)))
        return self._records.setdefault((key, load, modified, backend), EngineRecord())


def _needs(found: Plan, backend: Backend) -> Amount:
    needs = needs_of(found.solution, found.budgets)
    return needs._replace(host=needs.host + backend.overhead_bytes)


def _words(arguments: str) -> tuple[str, ...]:
    """Raises ConfigError."""
    try:
        return tuple(shlex.split(arguments))
    except ValueError as error:
        raise ConfigError(f"engine_args: {error}", "Close what is quoted.") from None


def wanted_of(model: InstalledModel, settings: ModelSettings, asked: LoadOptions) -> LoadOptions:
    """What is asked for, with everything filled in that is configured."""
    return llama_cpp.resolve(asked, settings, model.header.context_length)


def parts_of(model: InstalledModel) -> ModelFiles:
    manifest = model.manifest
    template = model.chat_template or "" if manifest.template else ""
    return ModelFiles(manifest.weights, manifest.projector, manifest.adapters, template)


def _pooling(model: InstalledModel, mode: Mode) -> str | None:
    """How an engine makes one vector of many, where the model itself does not say."""
    if mode is Mode.RERANK:
        return "rank"
    return "mean" if mode is Mode.EMBEDDING and model.header.pooling_type is None else None
