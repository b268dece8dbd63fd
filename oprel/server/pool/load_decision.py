"""How one engine is run: the single decision from which everything about a load derives."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property

from oprel.core.completion import LoadOptions, Mode
from oprel.core.settings import ModelSettings
from oprel.runtime.backends.backend import Backend
from oprel.runtime.backends.engines import llama_cpp
from oprel.runtime.backends.specs import LoadConstraints, spec_of
from oprel.runtime.confinement.limits import EngineLimits, most_memory
from oprel.runtime.spec import EngineSpec, ModelFiles
from oprel.server.models.installed_model import InstalledModel
from oprel.server.pool.scheduling import Amount
from oprel.telemetry.recommender.budgets import Reservation
from oprel.telemetry.recommender.planning import Plan

Key = tuple[ModelFiles, Mode]
"""Identifies an engine: the files it runs, and what it is started for."""


@dataclass(frozen=True)
class RequestedLoad:
    """Load options: those that the request itself sets, and the same with everything filled in that is configured.

    `any_engine`: the request does not depend on them, as one for tokens.
    """

    requested: LoadOptions
    resolved: LoadOptions
    any_engine: bool = False

    def keeping(self, names: Iterable[str], other: "RequestedLoad") -> "RequestedLoad":
        """With the named options of another request."""
        return RequestedLoad(_with(self.requested, names, other.requested), _with(self.resolved, names, other.resolved))


def _with(options: LoadOptions, names: Iterable[str], other: LoadOptions) -> LoadOptions:
    return replace(options, **{name: getattr(other, name) for name in names})


JOINED = 64  # requests whose inputs batches may join


@dataclass(frozen=True)
class LoadDecision:
    """`plan` says how the model runs, `constraints` what no plan decides, and `backend` which engine runs it."""

    plan: Plan
    constraints: LoadConstraints
    backend: Backend

    @cached_property
    def spec(self) -> EngineSpec:
        """What the engine is started with."""
        return replace(spec_of(self.plan, self.constraints), limits=self.limits)

    @cached_property
    def limits(self) -> EngineLimits:
        """What the engine may take: as much as all models where the user's arguments, or its kind, prevent a plan."""
        amount = self.needs
        reserved, is_planned = (
            amount.host + amount.vram,
            self.backend.is_planned and not self.constraints.extra_arguments,
        )
        most = most_memory(reserved, uses_gpus=bool(self.plan.budgets.gpus))
        return EngineLimits(reserved=reserved, memory=most if is_planned else max(most, self.plan.budgets.host))

    @cached_property
    def needs(self) -> Amount:
        """The memory that is reserved for the engine: it is admitted with it."""
        return self._amount(self.plan.solution.host_needs)

    @cached_property
    def expected(self) -> Amount:
        """The memory that the engine takes with every slot busy."""
        return self._amount(self.plan.solution.host_expected)

    def _amount(self, host: int) -> Amount:
        host, vram = host + self.backend.overhead_bytes, sum(self.plan.solution.needs)
        return Amount(host + vram, 0) if self.plan.budgets.shared else Amount(host, vram)

    @property
    def key(self) -> Key:
        return self.constraints.files, self.constraints.mode

    @property
    def most_requests(self) -> int:
        """How many requests are in the engine at the same time: as many as its slots, or as batches of inputs join."""
        joins = self.constraints.mode is Mode.EMBEDDING
        return max(JOINED, self.spec.parallel) if joins else self.spec.parallel

    @property
    def num_ctx(self) -> int:
        """The context of a request, in tokens, while others need no more than an equal share of the cells."""
        return self.spec.load.num_ctx or 0

    @property
    def slot_context(self) -> int:
        """Tokens that one request may use, if others leave as many."""
        return self.spec.slot_context if self.backend.shares_cells else self.num_ctx

    @property
    def on_gpus(self) -> dict[int, int]:
        """Bytes on each GPU, by its number."""
        solution = self.plan.solution
        return dict(zip(solution.placement.devices, solution.needs, strict=True))

    def reservation(self, *, pinned: bool) -> Reservation:
        """What the planner must leave alone for this engine."""
        return Reservation(self.needs.host, self.on_gpus, stays=pinned)

    @property
    def sizes(self) -> LoadOptions:
        """The options as planned."""
        setting = self.plan.solution.setting
        return LoadOptions(
            num_ctx=setting.context,
            num_batch=setting.batch,
            num_gpu=self.plan.solution.placement.gpu_layers,
            num_thread=self.plan.chosen.threads.single,
        )

    @property
    def avoids_gpus(self) -> bool:
        """Whether the engine is told to leave GPUs alone, known ones and others."""
        return self.spec.load.num_gpu == 0

    def with_plan(self, plan: Plan) -> "LoadDecision":
        return replace(self, plan=plan)

    def on_cpu(self, plan: Plan) -> "LoadDecision":
        """With a plan for the CPU, and for an engine that uses no GPU, whatever was requested."""
        load = replace(self.constraints.load, num_gpu=0)
        return replace(self, plan=plan, constraints=replace(self.constraints, load=load))


def resolved(model: InstalledModel, settings: ModelSettings, requested: LoadOptions) -> LoadOptions:
    """The requested options, with everything filled in that is configured."""
    return llama_cpp.resolve(requested, settings, model.header.context_length)


def requested_load(model: InstalledModel, settings: ModelSettings, requested: LoadOptions | None) -> RequestedLoad:
    """The load options of a request; None for one that any engine of the model serves."""
    options = requested or LoadOptions()
    return RequestedLoad(options, resolved(model, settings, options), any_engine=requested is None)


def files_of(model: InstalledModel) -> ModelFiles:
    manifest = model.manifest
    template = model.chat_template or "" if manifest.template or model.is_base else ""
    return ModelFiles(model.engine_file, manifest.projector, manifest.adapters, template)


def pooling_of(model: InstalledModel, mode: Mode) -> str | None:
    """How an engine makes one vector of many, where the model itself does not say."""
    if mode is Mode.RERANK:
        return "rank"
    return "mean" if mode is Mode.EMBEDDING and not model.header.pooling_type else None
