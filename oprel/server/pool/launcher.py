"""Decides how engines are run, makes them, and remembers how earlier ones fared.

An engine that ran out of memory is started with less the next time (`telemetry.recommender.step_down`).
"""

import asyncio
import itertools
import logging
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path

from oprel.core.completion import LoadOptions, Mode
from oprel.core.config import Config
from oprel.core.exceptions import ConfigError, NoEngineError
from oprel.core.settings import ModelSettings
from oprel.formats.checks.validation import require_sound
from oprel.formats.headers.other_header import OtherHeader
from oprel.runtime.backends import launching
from oprel.runtime.backends.backend import Backend
from oprel.runtime.backends.engines import llama_cpp
from oprel.runtime.backends.engines.llama_log import gpu_use_of, splits_thoughts
from oprel.runtime.backends.local_engine import EngineOrder, EngineRecord, local_engine
from oprel.runtime.backends.specs import LoadConstraints, plan_constraints, spec_of
from oprel.runtime.binaries.engine_binaries import EngineBinaries
from oprel.runtime.conversation.rules import TemplateRecord
from oprel.runtime.engine import Engine
from oprel.runtime.exits import MemoryPlace
from oprel.runtime.selection.binaries import BinaryCatalog
from oprel.runtime.spec import EngineSpec
from oprel.runtime.supervisor.child import Ended
from oprel.runtime.supervisor.launch import Launch
from oprel.server.history.oom_history import OomHistory
from oprel.server.models.conversions import convert
from oprel.server.models.installed_model import InstalledModel
from oprel.server.pool.load_decision import Key, LoadDecision, RequestedLoad, files_of, pooling_of, resolved
from oprel.server.pool.loaded_model import Lifetime, LoadedModel
from oprel.server.pool.planning import Planning, refusal
from oprel.server.pool.slots import Slots
from oprel.telemetry.calibration.learning import Buffers
from oprel.telemetry.recommender import step_down
from oprel.telemetry.recommender.plan_wire import plan_response
from oprel.telemetry.recommender.speed.threads import LONG_IDLE, is_worth_restart
from oprel.utils.process.clock import Clock
from oprel.wire.daemon import PlanResponse

logger = logging.getLogger(__name__)

MAX_RECORDS = 256


@dataclass(frozen=True)
class Fallback:
    """Another backend's engine for the same model, and in words why it takes over."""

    decision: LoadDecision
    engine: Engine
    note: str


class Launcher:
    """Owner of those records. `run_dir` takes the engines' sockets.

    `on_end` is called with an engine's number (`LoadedModel.id`) for each exit that oprel did not request.
    """

    def __init__(
        self,
        config: Config,
        binaries: EngineBinaries,
        planning: Planning,
        run_dir: Path,
        clock: Clock,
        *,
        on_end: Callable[[int, Ended], None],
        make_engine: Callable[[EngineOrder], Engine] = local_engine,
    ) -> None:
        self._config = config
        self._planning = planning
        self._catalog = BinaryCatalog(config, binaries)
        self._run_dir, self._clock = run_dir, clock
        self._on_end = on_end
        self._make_engine = make_engine
        self._oom_history = OomHistory(config.home_dir / "memory.json")
        self._records: dict[tuple[Key, LoadOptions, datetime, str], EngineRecord] = {}
        self._numbers = itertools.count(1)

    def prepare(
        self,
        model: InstalledModel,
        settings: ModelSettings,
        request: RequestedLoad,
        mode: Mode,
        *,
        residents: Sequence[LoadedModel],
        backends: Sequence[Backend] = (llama_cpp.BACKEND,),
    ) -> LoadedModel:
        """An engine for the model, with `residents` beside it or in its way. It is not started; no file is written.

        The first of `backends` runs it; the others are fallbacks. Raises InsufficientMemoryError when it can never fit.
        """
        number, (backend, *others) = next(self._numbers), backends
        plan = self._planning.plan(model, plan_constraints(request.resolved, settings, mode), residents)
        if not plan.fits:
            raise refusal(model.name, plan, residents)
        constraints = self._constraints(model, settings, request.resolved, mode, number=number)
        constraints = launching.reserve_port(backend, constraints)
        first = LoadDecision(plan, constraints, backend)
        decision = self._as_before(first, model, request)
        return LoadedModel(
            id=number,
            model=model,
            request=request,
            planned=self._planned(first, model, settings, request, residents),
            first=first,
            slots=Slots(decision.most_requests, decision.spec.cells),
            lifetime=Lifetime(settings.keep_alive_seconds),
            settings=settings,
            decision=decision,
            engine=self._engine(decision, model, request, number),
            others=tuple(others),
        )

    def replacing(
        self, running: LoadedModel, model: InstalledModel, request: RequestedLoad, residents: Sequence[LoadedModel]
    ) -> RequestedLoad:
        """The options to replace `running` with: no size becomes smaller, if the memory allows that.

        Raises what `prepare` would raise, but before `running` is stopped in vain.
        """
        settings, others = self._config.for_model(model.name), [other for other in residents if other is not running]
        for options in (running.grown_for(request), request):
            plan = self._planning.plan(model, plan_constraints(options.resolved, settings, running.spec.mode), others)
            if plan.fits:
                return options
        raise refusal(model.name, plan, others)

    def is_outdated(self, loaded: LoadedModel, now: float) -> bool:
        """Whether an idle engine is worth a restart, as the load has changed. `now` is of the manager's clock."""
        idle = now - loaded.used_at
        if loaded.leases or idle < LONG_IDLE or not loaded.engine.is_ready:
            return False
        return is_worth_restart(
            loaded.decision.plan.chosen.threads,
            self._planning.threads_now(loaded),
            load_seconds=loaded.engine.snapshot().load_seconds,
            longest_prompt=loaded.pace.longest_prompt,
        )

    def _planned(
        self,
        decision: LoadDecision,
        model: InstalledModel,
        settings: ModelSettings,
        request: RequestedLoad,
        residents: Sequence[LoadedModel],
    ) -> LoadOptions:
        """The options that a request without any would get; those of the decision, where no others fit."""
        if request.requested == LoadOptions():
            return decision.sizes
        constraints = plan_constraints(resolved(model, settings, LoadOptions()), settings, decision.constraints.mode)
        plan = self._planning.plan(model, constraints, residents)
        return decision.with_plan(plan).sizes if plan.fits else decision.sizes

    async def preview(self, model: InstalledModel, residents: Sequence[LoadedModel]) -> PlanResponse:
        """How the model would be loaded now. Raises NoEngineError."""
        settings, mode = self._config.for_model(model.name), model.usual_mode
        options = resolved(model, settings, LoadOptions())
        others = [loaded for loaded in residents if loaded.spec.files != files_of(model)]
        plan = self._planning.plan(model, plan_constraints(options, settings, mode), others)
        backend = (await self._catalog.backends(model.info, mode, settings.backend))[0]
        binary, flags = await self._catalog.of(backend).choose()
        spec = spec_of(plan, self._constraints(model, settings, options, mode, number=0))
        return plan_response(model.name, plan, [*binary.command, *backend.arguments(spec, flags)])

    async def backends(self, model: InstalledModel, settings: ModelSettings, mode: Mode) -> list[Backend]:
        """The engines that may serve the model, best first. Raises NoEngineError, InvalidModelError."""
        if model.converted:
            await asyncio.to_thread(convert, model.weights, model.converted)
        elif not model.is_gguf:
            await asyncio.to_thread(require_sound, model.weights)
        try:
            return await self._catalog.backends(model.info, mode, settings.backend)
        except NoEngineError as error:
            raise NoEngineError(error.message, *_why_not_converted(model), *error.resolution_steps) from None

    def fallback(self, loaded: LoadedModel) -> Fallback | None:
        """The next backend for the model, as the engine of this one did not start; None when there is none."""
        if not loaded.others:
            return None
        backend, exit = loaded.others[0], loaded.engine.last_exit
        why = exit.detail if exit else "it cannot be started"
        note = f"{backend.name}, as {loaded.decision.backend.name} did not start ({why})"
        logger.warning("%s: from now on %s", loaded.model.name, note)
        constraints = launching.reserve_port(backend, loaded.decision.constraints)
        decision = replace(loaded.decision, backend=backend, constraints=constraints)
        return Fallback(decision, self._engine(decision, loaded.model, loaded.request, loaded.id), note)

    def with_less(self, loaded: LoadedModel, *, at_load: bool) -> LoadDecision | None:
        """The decision for an engine that ran out of memory; None when there is nothing left to give up."""
        exit, before = loaded.engine.last_exit, loaded.decision.plan
        on_device = exit.memory is MemoryPlace.DEVICE if exit and exit.memory else None
        if on_device and not before.solution.needs:  # a GPU that only the engine knew of
            return self.without_gpus(loaded)
        less = step_down.less(before, at_load=at_load, on_device=on_device, steps=loaded.shortage.steps)
        if less is None:
            return None
        words = ", ".join(step_down.given_up(before.solution, less.solution))
        logger.warning("%s ran out of memory: from now on %s", loaded.model.name, words)
        loaded.shortage.steps += 1
        loaded.shortage.of_gpus = step_down.of_gpus(before, on_device)
        self._forgive(loaded)
        return loaded.decision.with_plan(less)

    def without_gpus(self, loaded: LoadedModel) -> LoadDecision | None:
        """The decision for an engine that fails on a GPU; None where it uses none, or does not fit beside it."""
        decision = loaded.decision
        plan = None if decision.avoids_gpus else step_down.without_gpus(decision.plan)
        if plan is None:
            return None
        self._forgive(loaded)
        return decision.on_cpu(plan)

    def _forgive(self, loaded: LoadedModel) -> None:
        """It runs in another way from now on, so it may start at once.

        More free memory alone is not enough for that: it may be gone again.
        """
        self._record(loaded.decision, loaded.model, loaded.request).history.ends.clear()

    def note_start(self, loaded: LoadedModel) -> Buffers | None:
        """The engine is up: note what it took and can do, and how much memory was enough. Returns its own figures."""
        loaded.splits_thoughts = splits_thoughts(loaded.engine.log)
        self._note_shortage(loaded)
        loaded.note_gpu_use(gpu_use_of(loaded.engine.log))
        return self._planning.note_load(loaded)

    def _note_shortage(self, loaded: LoadedModel) -> None:
        identity, shortage = _identity(loaded.decision, loaded.model, loaded.request), loaded.shortage
        binary = loaded.engine.snapshot().binary
        if not shortage.steps:
            self._oom_history.forget_chance(identity, binary)
        elif shortage.alone:
            enough = step_down.moves(loaded.decision.plan.solution, on_gpus=shortage.of_gpus)
            self._oom_history.remember(identity, binary, enough, on_gpus=shortage.of_gpus)

    def note_end(self, loaded: LoadedModel) -> None:
        """The engine is about to be stopped."""
        self._planning.note_end(loaded)

    def _engine(self, decision: LoadDecision, model: InstalledModel, request: RequestedLoad, number: int) -> Engine:
        return self._make_engine(
            EngineOrder(
                spec=decision.spec,
                launch=partial(self._launch, decision.backend, model),
                binaries=self._catalog.of(decision.backend),
                record=self._record(decision, model, request),
                on_end=partial(self._on_end, number),
                clock=self._clock,
            )
        )

    def _launch(self, backend: Backend, model: InstalledModel, spec: EngineSpec) -> Launch:
        label = model.name if spec.mode is Mode.COMPLETION else f"{model.name} ({spec.mode.value})"
        return launching.launch(
            backend,
            spec,
            label,
            load_timeout=self._config.load_timeout_seconds,
            stall_timeout=self._config.stall_timeout_seconds,
            extra_environment=self._config.extra_environment,
        )

    def _as_before(self, decision: LoadDecision, model: InstalledModel, request: RequestedLoad) -> LoadDecision:
        """With as much less as the engine for the same files and options needed the last time."""
        binary = next(iter(self._catalog.of(decision.backend).usable), None)
        enough = self._oom_history.enough(_identity(decision, model, request), binary)
        while enough and step_down.moves(decision.plan.solution, on_gpus=enough.on_gpus) > enough.bytes:
            less = step_down.less(decision.plan, on_device=enough.on_gpus)
            if less is None:
                break
            decision = decision.with_plan(less)
        return decision

    def _constraints(
        self, model: InstalledModel, settings: ModelSettings, options: LoadOptions, mode: Mode, *, number: int
    ) -> LoadConstraints:
        return LoadConstraints(
            files=files_of(model),
            socket=self._run_dir / f"engine-{number}.sock",
            load=options,
            mode=mode,
            pooling=pooling_of(model, mode),
            flash_attention=settings.flash_attention,
            extra_arguments=_words(settings.engine_args),
        )

    def _record(self, decision: LoadDecision, model: InstalledModel, request: RequestedLoad) -> EngineRecord:
        while len(self._records) > MAX_RECORDS:
            self._records.pop(next(iter(self._records)))
        key = (decision.key, request.resolved, model.modified, decision.backend.name)
        if key not in self._records:
            self._records[key] = EngineRecord(template=TemplateRecord(model.chat_template or ""))
        return self._records[key]


def _identity(decision: LoadDecision, model: InstalledModel, request: RequestedLoad) -> tuple[object, ...]:
    """What decides how much memory the engine needs."""
    is_context_chosen = request.requested.num_ctx is None  # else it is not shortened
    return (*decision.key, request.resolved, is_context_chosen, model.modified.isoformat())


def _words(arguments: str) -> tuple[str, ...]:
    """Raises ConfigError."""
    try:
        return tuple(shlex.split(arguments))
    except ValueError as error:
        raise ConfigError(f"engine_args: {error}", "Close what is quoted.") from None


def _why_not_converted(model: InstalledModel) -> list[str]:
    obstacle = model.header.obstacle if isinstance(model.header, OtherHeader) else ""
    return [f"llama.cpp cannot: {obstacle}."] if obstacle else []
