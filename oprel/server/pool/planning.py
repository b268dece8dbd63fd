"""How a model would be run on this machine, beside the others: the recommender, asked with this daemon's budgets."""

import asyncio
import logging
from collections.abc import Sequence

from oprel.core.config import Config
from oprel.core.exceptions import InsufficientMemoryError, OprelError, ValidationError
from oprel.core.variants import Variant
from oprel.downloader.offers import Repository, usual
from oprel.runtime.backends.engines.llama_log import buffers_of
from oprel.runtime.binaries.engine_binaries import EngineBinaries
from oprel.server.models.library import InstalledModel
from oprel.server.pool.calibration import Calibration
from oprel.server.pool.loaded_model import LoadedModel
from oprel.server.pool.scheduling import Amount, amount
from oprel.telemetry.hardware import bandwidth
from oprel.telemetry.hardware.probing import Hardware, probe
from oprel.telemetry.memory.estimator import MIB, estimate, footprint_of
from oprel.telemetry.recommender.budgets import Budgets, budgets_of
from oprel.telemetry.recommender.placement import Solution
from oprel.telemetry.recommender.planning import Candidate, Plan, plan, plan_among, sized
from oprel.telemetry.recommender.settings import PlanConstraints

logger = logging.getLogger(__name__)


class Planning:
    """Owner of what is known of the machine. It is looked at while no engine of this daemon runs."""

    def __init__(self, config: Config, shelf: EngineBinaries, hardware: Hardware) -> None:
        self._config = config
        self._calibration = Calibration(config.home_dir / "state.db")
        self._shelf = shelf
        self._note(hardware)

    async def look_around(self) -> Amount:
        """Other programs come and go: the budget that they leave now. Only while no engine of this daemon runs."""
        self._note(await asyncio.to_thread(probe))
        return self.budget

    def _note(self, hardware: Hardware) -> None:
        self.hardware = bandwidth.known(self._config.home_dir, hardware)
        # With the GPUs, whether llama.cpp's program here uses them or not.
        self.machine = budgets_of(self.hardware, self._config.default_max_memory_mb * MIB or None)

    @property
    def budgets(self) -> Budgets:
        """What all engines may take together."""
        engine = next(iter(self._shelf.usable), None)
        return self.machine if engine is None or engine.knows_gpus else self.machine.without_gpus()

    @property
    def budget(self) -> Amount:
        return Amount(self.machine.host, 0 if self.machine.shared else sum(self.machine.devices))

    def plan(self, model: InstalledModel, asked: PlanConstraints, residents: Sequence[LoadedModel] = ()) -> Plan:
        """How it would run here among `residents`. The plan may not fit."""
        # Other engines than llama.cpp bring what they need for GPUs: what its program is says nothing of them.
        budgets = self.budgets if model.is_gguf else self.machine
        return plan_among([one.taken for one in residents], [self._candidate(model)], budgets, asked)

    def _candidate(self, model: InstalledModel) -> Candidate:
        header, engine = model.header, str(next(iter(self._shelf.usable), None))
        return Candidate(
            header.quantization,
            footprint_of(header),
            header.parameter_count,
            model.projector_bytes,
            model.adapter_bytes,
            self._calibration.compute_ratio(model.digest, header.architecture, engine),
            model.size_bytes,
            is_whole=not model.is_gguf,
        )

    def choose(self, repository: Repository) -> Variant:
        """The variant that suits this machine, all of it; the usual one where no header can be read. Blocks."""
        found = repository.variants
        try:
            header = repository.read_smallest()
        except OprelError as error:
            logger.warning("%s is not planned for: %s", repository.title, error.message)
            return usual(repository)
        candidates = sized(header, found)
        chosen = plan(candidates, self.budgets).chosen.candidate
        return next(one for one, candidate in zip(found, candidates, strict=True) if candidate is chosen)

    def note_load(self, loaded: LoadedModel) -> None:
        """An engine is up: what it took is kept beside what was predicted."""
        model, solution = loaded.model, loaded.plan.solution
        loaded.buffers = buffers_of(loaded.process.log)
        if loaded.buffers:
            predicted = estimate(loaded.plan.chosen.candidate.anatomy, solution.wishes)
            engine, header = str(loaded.process.binary), model.header
            setting = repr(solution.wishes)
            self._calibration.note(model.digest, header.architecture, engine, setting, predicted, loaded.buffers)

    def note_end(self, loaded: LoadedModel) -> None:
        """It is let go: what its processes had in the end."""
        if loaded.process.memory_bytes:
            setting, engine = repr(loaded.plan.solution.wishes), str(loaded.process.binary)
            self._calibration.note_resident(loaded.model.digest, engine, setting, loaded.process.memory_bytes)

    def close(self) -> None:
        self._calibration.close()


def needs_of(solution: Solution, budgets: Budgets) -> Amount:
    if budgets.shared:
        return Amount(solution.total)
    return Amount(solution.host_needs, sum(solution.needs))


def refusal(name: str, found: Plan, residents: Sequence[LoadedModel]) -> OprelError:
    """Why a model is not loaded, and what would be."""
    if found.is_contradictory:
        step = "The setting is kv_cache_type: auto."
        return ValidationError(f"{name} cannot run like that: {found.refusal}", *found.advice, step)
    pinned = amount(one.needs for one in residents if one.pinned)
    least = -(-(found.solution.host_needs + pinned.host) // MIB)
    return InsufficientMemoryError(
        f"{name} does not fit: {found.refusal}" + (f"; pinned models take {pinned}" if pinned.total else ""),
        *found.advice,
        *(["Unpin a model, or let it go with `oprel stop`."] if pinned.total else []),
        f"`oprel plan {name}` shows what it takes. To try all the same, set default_max_memory_mb to {least} or more.",
    )
