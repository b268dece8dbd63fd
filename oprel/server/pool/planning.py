"""How a model would be run on this machine beside the loaded ones: the recommender, with this daemon's budgets."""

import asyncio
import contextlib
import logging
import threading
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace

from oprel.core.config import Config
from oprel.core.exceptions import InsufficientMemoryError, NoEngineError, OprelError, ValidationError
from oprel.core.variants import Variant
from oprel.downloader.offers import Repository, usual
from oprel.runtime.backends.engines.llama_log import buffers_of
from oprel.runtime.binaries.engine_binaries import Binary, EngineBinaries
from oprel.runtime.selection.engines import unused_gpu
from oprel.runtime.supervisor.procstat import private_bytes
from oprel.server.models.installed_model import InstalledModel
from oprel.server.pool.loaded_model import LoadedModel
from oprel.server.pool.scheduling import Amount, total_of
from oprel.telemetry.calibration.database import Calibration, LoadIdentity, model_key
from oprel.telemetry.calibration.learning import Buffers, EstimatedLoad, PastLoad, ResidentMemory
from oprel.telemetry.hardware import bandwidth
from oprel.telemetry.hardware.bandwidth import Rates
from oprel.telemetry.hardware.listed import ListedDevice, seen_by
from oprel.telemetry.hardware.probing import Hardware, busy_cores, probe, this_machine
from oprel.telemetry.memory.corrections import NONE
from oprel.telemetry.memory.estimator import MIB, estimate, footprint_of
from oprel.telemetry.memory.process import WHEEL, for_features
from oprel.telemetry.recommender.budgets import Budgets, Reservation, budgets_of, steadied, unoccupied, with_rates
from oprel.telemetry.recommender.candidates import Candidate, sized
from oprel.telemetry.recommender.placement import PlacementKind
from oprel.telemetry.recommender.planning import Plan, plan, plan_among
from oprel.telemetry.recommender.settings import PlanConstraints, Preference
from oprel.telemetry.recommender.speed.arithmetic import arithmetic_of
from oprel.telemetry.recommender.speed.prediction import planned_threads
from oprel.telemetry.recommender.speed.threads import Threads

logger = logging.getLogger(__name__)


class Planning:
    """Owner of what is known of the machine, and of the budgets. It is probed again before each load.

    `hardware` describes a machine other than this one, which is never probed.
    """

    def __init__(self, config: Config, binaries: EngineBinaries, hardware: Hardware | None = None) -> None:
        self._config = config
        self._calibration = Calibration(config.home_dir / "state.db")
        self._binaries = binaries
        described = this_machine(config.hardware) if config.hardware else hardware
        self._is_described = described is not None
        self._looking = asyncio.Lock()
        self._warned = False
        self.hardware = bandwidth.recall(config.home_dir, described or probe())
        self.devices: tuple[ListedDevice, ...] | None = None  # that llama.cpp's program here lists
        # With the GPUs, whether llama.cpp's program here uses them or not.
        self.machine = self._budgets()

    async def look_around(self, engines: Sequence[LoadedModel]) -> None:
        """Probe the machine again, where `engines` run: other programs come and go, and limits change.

        What the engines hold now counts as free: the budgets are what all engines may take together.
        """
        async with self._looking:
            self._binaries.look_again()
            self.devices = await self._listed()
            self._warn_once()
            if self._is_described:
                return
            on_gpus, is_settled = _on_gpus(engines)
            leaders = {pid for loaded in engines if (pid := loaded.engine.snapshot().pid)}
            held, hardware = await asyncio.to_thread(_look, leaders)
            hardware = seen_by(hardware, self.devices or None)
            if self.machine.shared:
                held += on_gpus.total()
            hardware = unoccupied(hardware, Reservation(held, on_gpus), self.machine.gpus)
            self.hardware = bandwidth.recall(self._config.home_dir, hardware)
            now = self._budgets()
            self.machine = steadied(self.machine, now, devices=is_settled) if engines else now

    def _warn_once(self) -> None:
        if self.warnings and not self._warned:
            logger.warning("%s", self.warnings[0])
            self._warned = True

    @property
    def is_measured(self) -> bool:
        """Whether the speed of the machine's memory is known, or none of this machine's is needed."""
        return self._is_described or self.hardware.memory.bandwidth_bytes is not None

    def measure(self, seconds: float, stop: threading.Event) -> Rates | None:
        """How fast the machine reads its memory; None if `stop` was set before the end. Blocks."""
        return bandwidth.measure(self.hardware, seconds, stop)

    def keep(self, rates: Rates) -> None:
        """Store the rates of this machine, and plan with them from now on. Raises OSError."""
        bandwidth.remember(self._config.home_dir, self.hardware, rates)
        self.hardware = bandwidth.recall(self._config.home_dir, self.hardware)
        self.machine = with_rates(self.machine, self.hardware)

    async def _listed(self) -> tuple[ListedDevice, ...] | None:
        with contextlib.suppress(NoEngineError):  # the load will tell
            return await self._binaries.devices(wheel_too=bool(self.hardware.gpus))
        return None

    def _budgets(self) -> Budgets:
        return budgets_of(self.hardware, self._config.default_max_memory_mb * MIB or None)

    @property
    def budgets(self) -> Budgets:
        """What all engines may take together."""
        return self.machine if self._uses_gpus else self.machine.without_gpus()

    @property
    def _uses_gpus(self) -> bool:
        return self._binaries.uses_gpus if self.devices is None else bool(self.devices)

    @property
    def warnings(self) -> list[str]:
        """What users should know of this machine: a GPU that llama.cpp's program does not use, unless on purpose."""
        if self._uses_gpus or self._config.n_gpu_layers == 0:
            return []
        return [*filter(None, [unused_gpu(self.hardware.gpus)])]

    @property
    def budget(self) -> Amount:
        return Amount(self.machine.host, 0 if self.machine.shared else sum(self.machine.devices))

    def plan(self, model: InstalledModel, constraints: PlanConstraints, residents: Sequence[LoadedModel] = ()) -> Plan:
        """How the model would run here among `residents`. The plan may not fit."""
        # Other engines than llama.cpp bring what they need for GPUs: its program says nothing about them.
        budgets = self.budgets if model.is_gguf else self.machine
        reservations = [loaded.reservation for loaded in residents]
        return plan_among(reservations, [self._candidate(model)], budgets, constraints)

    def threads_now(self, loaded: LoadedModel) -> Threads:
        """The threads that the engine would get if it were started now."""
        plan = loaded.decision.plan
        busy = self.hardware.cpu.busy_cores if self._is_described else busy_cores()
        budgets = replace(plan.budgets, busy=busy)
        return planned_threads(plan.chosen.candidate, plan.solution, budgets, plan.constraints.threads)

    def _candidate(self, model: InstalledModel) -> Candidate:
        header, binary = model.header, next(iter(self._binaries.usable), None)
        return Candidate(
            label=header.quantization,
            footprint=footprint_of(header),
            parameters=header.parameter_count,
            tensor_arithmetic=arithmetic_of(header) if model.is_gguf else None,
            projector=model.projector_bytes,
            adapters=model.adapter_bytes,
            corrections=self._calibration.corrections(_identity(model, binary)) if binary else NONE,
            program=for_features(binary.program if binary else WHEEL, self.hardware.cpu.features),
            file_bytes=model.size_bytes,
            is_whole=not model.is_gguf,
        )

    def choose(self, repository: Repository) -> Variant:
        """The variant that suits the whole machine; the usual one where no header can be read. Blocks."""
        variants = repository.variants
        try:
            header = repository.read_smallest()
        except OprelError as error:
            logger.warning("%s is not planned for: %s", repository.title, error.message)
            return usual(repository)
        candidates = sized(header, variants, repository.projector_bytes)
        constraints = PlanConstraints(prefer=Preference(self._config.prefer))
        chosen = plan(candidates, self.budgets, constraints).chosen.candidate
        return next(variant for variant, each in zip(variants, candidates, strict=True) if each is chosen)

    def note_load(self, loaded: LoadedModel) -> Buffers | None:
        """An engine is up: what it logged of its memory is kept beside what was expected, and returned."""
        buffers, snapshot = buffers_of(loaded.engine.log), loaded.engine.snapshot()
        loaded.slots.most_in_use = loaded.slots.in_use
        if buffers and snapshot.binary:
            resident, _ = loaded.engine.resident_bytes()
            past = _past_load(loaded.decision.plan, buffers, resident)
            loaded.load_number = self._calibration.note(_identity(loaded.model, snapshot.binary), past)
        return buffers

    def note_end(self, loaded: LoadedModel) -> None:
        """An engine is about to be stopped: keep the most memory that it has had."""
        _, peak = loaded.engine.resident_bytes()
        if peak and loaded.load_number is not None and _is_in_one_place(loaded.decision.plan):
            was_busy = loaded.slots.most_in_use >= loaded.spec.parallel
            self._calibration.note_peak(loaded.load_number, peak, was_busy=was_busy)

    def close(self) -> None:
        self._calibration.close()


def _on_gpus(engines: Sequence[LoadedModel]) -> tuple[Counter[int], bool]:
    """The planned bytes on each GPU of the engines that are ready, and whether the others hold none there."""
    on_gpus = Counter[int]()
    for loaded in engines:
        on_gpus.update(loaded.decision.on_gpus if loaded.engine.is_ready else {})
    return on_gpus, all(loaded.engine.is_ready or not _may_hold_gpus(loaded) for loaded in engines)


def _may_hold_gpus(loaded: LoadedModel) -> bool:
    """Whether it has a process, which may have allocated any part of its memory on GPUs."""
    return bool(loaded.engine.snapshot().pid and loaded.decision.on_gpus)


def _look(leaders: Collection[int]) -> tuple[int, Hardware]:
    """The bytes that the processes of engines hold, and the machine."""
    return private_bytes(leaders), probe()


def _identity(model: InstalledModel, binary: Binary) -> LoadIdentity:
    manifest = model.manifest
    key = model_key([manifest.weights, manifest.projector, *manifest.adapters])
    return LoadIdentity(model=key, architecture=model.header.architecture, build=binary.build)


def _past_load(plan: Plan, logged: Buffers, resident: int) -> PastLoad:
    candidate, solution = plan.chosen.candidate, plan.solution
    estimated = estimate(candidate.footprint, solution.load_shape, candidate.program)
    in_one_place, with_extras = _is_in_one_place(plan), candidate.projector or candidate.adapters
    return PastLoad(
        setting=repr(solution.load_shape),
        estimated=EstimatedLoad(
            buffers=Buffers(
                weights=estimated.weights_bytes + estimated.repacked_bytes,
                kv=estimated.kv_bytes,
                state=estimated.state_bytes,
                compute=estimated.compute_bytes,
                output=estimated.output_bytes,
            ),
            process=estimated.process.total,
            at_work=estimated.process.at_work,
            untouched=estimated.host.compute,
            pool=solution.pool.reserved,
        ),
        logged=logged if in_one_place else replace(logged, weights=0),
        resident=ResidentMemory(ready=0 if with_extras or not in_one_place else resident),
    )


def _is_in_one_place(plan: Plan) -> bool:
    """Whether the log tells what is in the machine's memory: not with layers on both sides, or memory that both share.

    The engine maps nearly the whole file then, and logs that, although it reads only a part of it.
    """
    return plan.solution.placement.kind in (PlacementKind.CPU, PlacementKind.GPU) and not plan.budgets.shared


def refusal(name: str, plan: Plan, residents: Sequence[LoadedModel]) -> OprelError:
    """Why a model is not loaded, and what would help."""
    if plan.is_contradictory:
        step = "The setting is kv_cache_type: auto."
        return ValidationError(f"{name} cannot run like that: {plan.refusal}", *plan.advice, step)
    pinned = total_of(loaded.needs for loaded in residents if loaded.pinned)
    least = -(-(plan.solution.host_needs + pinned.host) // MIB)
    anyway = f" To try all the same, set default_max_memory_mb to {least} or more."
    return InsufficientMemoryError(
        f"{name} does not fit: {plan.refusal}" + (f"; pinned models take {pinned}" if pinned.total else ""),
        *plan.advice,
        *(["Unpin a model, or unload it with `oprel stop`."] if pinned.total else []),
        f"`oprel plan {name}` shows what it takes." + ("" if plan.lacks_gpu_memory else anyway),
    )
