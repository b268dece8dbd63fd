"""Engines before they are started: what they are started with, and what is known from those before them.

An engine that ran out of memory gets more room or is started with less the next time (`telemetry.ladder`).
"""

import itertools
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from oprel.core.config import Config
from oprel.core.settings import ModelSettings
from oprel.daemon_models import PlanResponse
from oprel.runtime.backends import llama_cpp
from oprel.runtime.backends.base import LoadOptions, Mode, Parts
from oprel.runtime.backends.specs import Fixed, spec_of
from oprel.runtime.binaries.shelf import Shelf
from oprel.runtime.life import Ended
from oprel.runtime.process import EngineProcess, Launch
from oprel.runtime.pulse import Pace
from oprel.runtime.restarts import History
from oprel.server.descents import Descents
from oprel.server.library import InstalledModel
from oprel.server.loaded import Key, LoadedModel
from oprel.server.planning import Planning, asked_of, needs_of, refusal
from oprel.server.slots import Slots
from oprel.telemetry import ladder
from oprel.telemetry.plan_wire import plan_response
from oprel.telemetry.recommender import Plan

logger = logging.getLogger(__name__)

MAX_RECORDS = 256


@dataclass(frozen=True)
class Record:
    """How such an engine fared so far: it is to be remembered longer than the engine stays loaded."""

    history: History = field(default_factory=History)
    pace: Pace = field(default_factory=Pace)


class Launches:
    """Owner of that experience. `run_dir` takes the engines' sockets."""

    def __init__(self, config: Config, shelf: Shelf, planning: Planning, run_dir: Path) -> None:
        self._config = config
        self._planning = planning
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
        residents: Sequence[LoadedModel],
        on_end: Callable[[LoadedModel, Ended], None],
    ) -> LoadedModel:
        """An engine for the model, with `residents` beside it or in its way; it is not started, and nothing is on disk.

        Raises InsufficientMemoryError when it can never fit.
        """
        number, wanted = next(self._numbers), wanted_of(model, settings, asked)
        found = self._planning.plan(model, asked_of(wanted, settings, mode), residents)
        if not found.fits:
            raise refusal(model.name, found, residents)
        fixed = self._fixed(model, settings, wanted, mode, number)
        spec = spec_of(found, fixed)
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
            number,
            model,
            settings,
            asked,
            wanted,
            fixed,
            found,
            found,
            spec,
            needs_of(found.solution, found.budgets),
            process,
            Slots(spec.parallel),
            settings.keep_alive_seconds,
        )
        self._descend_as_before(loaded)
        return loaded

    async def told(self, model: InstalledModel, residents: Sequence[LoadedModel]) -> PlanResponse:
        """How the model would be loaded now, for who only asks. Raises NoEngineError."""
        settings, mode = self._config.for_model(model.name), model.usual_mode
        wanted = wanted_of(model, settings, LoadOptions())
        others = [one for one in residents if one.spec.parts != parts_of(model)]
        found = self._planning.plan(model, asked_of(wanted, settings, mode), others)
        binary, flags = await self._shelf.choose()
        spec = spec_of(found, self._fixed(model, settings, wanted, mode, 0))
        return plan_response(model.name, found, [*binary.command, *llama_cpp.arguments(spec, flags)])

    def descend(self, loaded: LoadedModel, *, alone: bool) -> bool:
        """Have the engine started with less, as it ran out of memory; False when there is nothing left to give up.

        What it gives up beside others, which may be gone the next time, is not remembered.
        """
        loaded.lacked_alone &= alone
        found = ladder.less(loaded.plan)
        if found:
            before = loaded.plan.solution
            self._replan(loaded, found)
            words = ", ".join(ladder.given_up(before, found.solution))
            logger.warning("%s ran out of memory: from now on %s", loaded.model.name, words)
            # What it died of is mended: it may start at once. More room alone is no such reason: that comes and goes.
            self._record(loaded.key, loaded.wanted, loaded.model.modified).history.ends.clear()
        return found is not None

    def _descend_as_before(self, loaded: LoadedModel) -> None:
        """As far as such an engine had to, the last time."""
        sufficed = self._descents.of(loaded, next(iter(self._shelf.usable), None))
        while sufficed is not None and ladder.moves(loaded.plan.solution, loaded.plan) > sufficed:
            found = ladder.less(loaded.plan)
            if found is None:
                return
            self._replan(loaded, found)

    def _replan(self, loaded: LoadedModel, found: Plan) -> None:
        loaded.descend(found, spec_of(found, loaded.fixed), needs_of(found.solution, found.budgets))

    def _fixed(
        self, model: InstalledModel, settings: ModelSettings, wanted: LoadOptions, mode: Mode, number: int
    ) -> Fixed:
        return Fixed(
            parts_of(model),
            self._run_dir / f"engine-{number}.sock",
            wanted,
            self._planning.hardware.cpu.threads,
            mode,
            _pooling(model, mode),
            settings.flash_attention,
        )

    def note_start(self, loaded: LoadedModel) -> None:
        """The engine is up: so much memory suffices, and so much it took."""
        self._planning.note_load(loaded)
        if loaded.adjustments and loaded.lacked_alone:
            self._descents.remember(loaded, loaded.process.binary, ladder.moves(loaded.plan.solution, loaded.plan))

    def note_end(self, loaded: LoadedModel) -> None:
        """It is about to be stopped."""
        self._planning.note_end(loaded)

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


def _pooling(model: InstalledModel, mode: Mode) -> str | None:
    """How an engine makes one vector of many, where the model itself does not say."""
    if mode is Mode.RERANK:
        return "rank"
    return "mean" if mode is Mode.EMBEDDING and model.header.pooling_type is None else None
