"""One loaded model: its engine, how the engine runs and which requests use it; and the lease, the right to use it."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final

from oprel.core.completion import LoadOptions
from oprel.core.request_options import SIZES
from oprel.core.settings import ModelSettings
from oprel.runtime.backends.backend import Backend
from oprel.runtime.backends.engines.llama_log import GPUUse
from oprel.runtime.engine import Engine
from oprel.runtime.exits import OF_DEVICES, Exit
from oprel.runtime.restarts import HEALTHY
from oprel.runtime.spec import EngineSpec
from oprel.runtime.supervisor.child import Ended
from oprel.server.history.crash_reports import InFlightRequests
from oprel.server.models.installed_model import InstalledModel
from oprel.server.pool.load_decision import Key, LoadDecision, RequestedLoad
from oprel.server.pool.scheduling import Amount, Resident, Use
from oprel.server.pool.slots import SlotGrant, Slots
from oprel.telemetry.calibration.learning import Buffers
from oprel.telemetry.recommender.budgets import Reservation
from oprel.telemetry.recommender.step_down import given_up, on_cpu
from oprel.utils.process.clock import Clock, Timer

NO_GPU = "the engine found no GPU"
PACE_MEMORY = 0.7  # weight of earlier answers in an engine's pace


class Lifetime:
    """When an idle engine is unloaded: `keep_alive` seconds after its last lease. Times are of the manager's clock."""

    def __init__(self, keep_alive: float) -> None:
        self.keep_alive = keep_alive
        self.expires_at = math.inf
        self._timer: Timer | None = None

    @property
    def is_running(self) -> bool:
        return self._timer is not None

    @property
    def is_endless(self) -> bool:
        return math.isinf(self.keep_alive)

    def start(self, clock: Clock, on_expiry: Callable[[], None]) -> None:
        """Count from now on; an endless keep-alive never expires."""
        self.cancel()
        self.expires_at = clock() + self.keep_alive
        if not self.is_endless:
            self._timer = clock.call_later(self.keep_alive, partial(self._expire, on_expiry))

    def cancel(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None
        self.expires_at = math.inf

    def _expire(self, on_expiry: Callable[[], None]) -> None:
        self._timer = None
        on_expiry()


class AnswerPace:
    """How fast an engine has answered lately, and the tokens of its longest prompt."""

    def __init__(self) -> None:
        self.tokens_per_second: float | None = None
        self.service_seconds = 0.0  # of a whole request
        self.longest_prompt = 0

    def note(self, tokens: int, generating: float, whole: float, prompt: int = 0) -> None:
        """An answer of `tokens` took `generating` seconds for the tokens alone, and `whole` for all of it.

        `prompt`: how many tokens it answers.
        """
        if tokens > 1 and generating > 0:
            self.tokens_per_second = _smoothed(self.tokens_per_second, tokens / generating)
        self.longest_prompt = max(self.longest_prompt, prompt)
        self.service_seconds = _smoothed(self.service_seconds or None, whole)


@dataclass
class MemoryShortage:
    """What is known of an engine that ran out of memory."""

    steps: int = 0  # how often it was given less
    of_gpus: bool = False  # the last time, of the memory of GPUs
    alone: bool = True  # no other engine was loaded when it stepped down
    handled_start: int = 0  # which of the engine's starts the last step followed
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


@dataclass(kw_only=True)
class LoadedModel:
    """Times are of the manager's clock, in seconds. `first` is the first decision, `decision` the one that holds now.

    `planned`: the options that a request without any would be served with. `names`: those it was requested by and that
    exist, the latest last; several models may share weights.

    `closed`: it takes no further request, because others wait for its memory; `leaving`: it is being stopped for them.
    `others` are the backends that may serve it if the engine of this one does not start, and `fallbacks` tell, in
    words, which did not. `gpu_failures` counts ends that a GPU may have caused, and `on_gpus_before` is the decision
    that held until they were too many. `buffers` and `gpu_use` are the engine's own figures, once it has logged
    them; `splits_thoughts` says whether it knows thoughts from text.
    """

    id: Final[int]
    model: Final[InstalledModel]
    request: Final[RequestedLoad]
    planned: Final[LoadOptions]
    first: Final[LoadDecision]
    slots: Final[Slots]
    lifetime: Final[Lifetime]
    names: Final[dict[str, InstalledModel]] = field(default_factory=dict)
    pace: Final[AnswerPace] = field(default_factory=AnswerPace)
    in_flight: Final[InFlightRequests] = field(default_factory=InFlightRequests)
    shortage: Final[MemoryShortage] = field(default_factory=MemoryShortage)

    settings: ModelSettings
    decision: LoadDecision
    engine: Engine
    others: tuple[Backend, ...] = ()
    fallbacks: tuple[str, ...] = ()
    gpu_failures: int = 0
    on_gpus_before: LoadDecision | None = None
    buffers: Buffers | None = None
    gpu_use: GPUUse | None = None
    load_number: int | None = None
    splits_thoughts: bool = True
    leases: int = 0
    closed: bool = False
    leaving: bool = False
    used_at: float = 0.0
    ready_at: float = 0.0
    starts_seen: int = 0

    @property
    def key(self) -> Key:
        return self.decision.key

    @property
    def spec(self) -> EngineSpec:
        return self.decision.spec

    @property
    def needs(self) -> Amount:
        return self.decision.needs

    @property
    def num_ctx(self) -> int:
        return self.decision.num_ctx

    @property
    def shares_cells(self) -> bool:
        """Whether one request may use more than its equal share of the cells."""
        return self.decision.slot_context > self.slots.share

    def context_for(self, requested: LoadOptions | None) -> int:
        """How many tokens a request may use with its answer: no more than others have, if it requested a context."""
        has_context = requested is not None and requested.num_ctx is not None
        return self.num_ctx if has_context else self.decision.slot_context

    @property
    def pinned(self) -> bool:
        return self.settings.pin

    @property
    def reservation(self) -> Reservation:
        return self.decision.reservation(pinned=self.pinned)

    @property
    def latest(self) -> InstalledModel:
        """The model under the name that it was last requested by."""
        return next(reversed(self.names.values()), self.model)

    def join(self, model: InstalledModel, settings: ModelSettings) -> bool:
        """Serve the model under that name too; True when that changes whether the engine may be evicted.

        What is configured for one of its names holds for all.
        """
        self.names.pop(model.name, None)
        self.names[model.name] = model
        pin, locked = settings.pin or self.settings.pin, settings.keep_alive_locked or self.settings.keep_alive_locked
        if (pin, locked) == (self.settings.pin, self.settings.keep_alive_locked):
            return False
        self.settings = self.settings.replace(pin=pin, keep_alive_locked=locked)
        self.lifetime.keep_alive = max(self.lifetime.keep_alive, settings.keep_alive_seconds)
        return True

    def has(self, model: InstalledModel) -> bool:
        """Whether it was requested by that name, or runs the same weights."""
        return model.name in self.names or self.spec.files.weights == model.engine_file

    def leave(self, model: InstalledModel) -> bool:
        """Serve it no longer under the name of `model`; True when it has no other name."""
        self.names.pop(model.name, None)
        return not self.names

    def keep_for(self, keep_alive: float | None) -> None:
        """Change the keep-alive (seconds), unless it is locked; None changes nothing."""
        if keep_alive is not None and not (self.settings.keep_alive_locked or self.pinned):
            self.lifetime.keep_alive = keep_alive

    def serves(self, model: InstalledModel, request: RequestedLoad) -> bool:
        """Whether a request can join the engine."""
        if self.closed or self.leaving or self.model.modified != model.modified:  # the file has changed since
            return False
        if self.engine.is_down and self.leases == 0:
            # It failed to start. Only a request for the same options gets a second try with them.
            return self.request == request
        requested, resolved = request.requested, request.resolved
        is_shorter = requested.num_ctx is not None and self.num_ctx < (resolved.num_ctx or 0)  # for lack of memory
        return request.any_engine or (not is_shorter and self._completed(request).served_by(self._completed()))

    def grown_for(self, request: RequestedLoad) -> RequestedLoad:
        """The options of an engine that replaces this one for a request, and serves all that this one serves.

        Without it, two clients, each with another option that is larger, would keep replacing each other's engine.
        """
        if self.closed or self.leaving or self.engine.is_down:
            return request
        wanted, running = self._completed(request), replace(self._completed(), num_ctx=self.num_ctx)
        kept = [name for name, value in vars(wanted).items() if value is None]
        kept += [name for name in SIZES if (getattr(running, name) or 0) > (getattr(wanted, name) or 0)]
        return request.keeping(kept, self.request)

    def _completed(self, request: RequestedLoad | None = None) -> LoadOptions:
        return (request or self.request).resolved.completed(self.planned)

    @property
    def adjustments(self) -> tuple[str, ...]:
        """What was given up for lack of memory, and which engine serves in place of another, in words."""
        return (*self.fallbacks, *given_up(self.first.plan.solution, self.decision.plan.solution))

    def step_down(self, decision: LoadDecision) -> None:
        """Start with less from the next start on."""
        self.decision = decision
        self.slots.resize(decision.most_requests, decision.spec.cells)
        self.engine.start_as(decision.spec)

    def note_end(self, ended: Ended) -> None:
        """The engine has ended unasked."""
        self.slots.lose()
        before = 0 if ended.served >= HEALTHY else self.gpu_failures
        self.gpu_failures = before + self.may_fail_by_gpu(ended.exit)

    def may_fail_by_gpu(self, exit: Exit) -> bool:
        """Whether the GPU, its driver or the engine's code for it may be at fault, and the CPU can do without."""
        uses_gpus = bool(self.decision.plan.solution.needs) or exit.reason in OF_DEVICES
        return exit.may_be_of_device and uses_gpus and not self.decision.avoids_gpus

    def note_gpu_use(self, use: GPUUse | None) -> None:
        """What the engine that has just started has on GPUs: it is what the books keep, whatever was planned."""
        self.gpu_use = use
        if use and not use.bytes and self.decision.plan.solution.needs:
            self.decision = self.decision.with_plan(on_cpu(self.decision.plan))
            self.fallbacks = (*self.fallbacks, NO_GPU)

    def leave_gpus(self, decision: LoadDecision, note: str) -> None:
        """Start without GPUs from the next start on."""
        self.on_gpus_before = self.decision
        self.fallbacks = (*self.fallbacks, note)
        self.gpu_failures = 0
        self.step_down(decision)

    def return_to_gpus(self) -> None:
        """Start as before `leave_gpus`: the GPU was not at fault."""
        if self.on_gpus_before:
            self.fallbacks = self.fallbacks[:-1]
            self.step_down(self.on_gpus_before)
            self.on_gpus_before = None

    def fall_back(self, decision: LoadDecision, engine: Engine, note: str) -> None:
        """Be served by the next backend, as the engine of this one does not start."""
        self.decision, self.engine = decision, engine
        self.slots.resize(decision.most_requests, decision.spec.cells)
        self.others, self.fallbacks = self.others[1:], (*self.fallbacks, note)
        self.on_gpus_before = None
        self.starts_seen = self.shortage.handled_start = 0

    @property
    def may_go(self) -> bool:
        return self._use() is Use.IDLE and not self.pinned

    def as_resident(self) -> Resident:
        return Resident(
            id=self.id,
            name=self.model.name,
            needs=self.needs,
            use=self._use(),
            pinned=self.pinned,
            closed=self.closed,
            ready_at=self.ready_at,
            used_at=self.used_at,
            load_seconds=self.engine.snapshot().load_seconds,
        )

    def _use(self) -> Use:
        if self.leaving or (self.engine.was_stopped and self.engine.starts):
            return Use.LEAVING
        if not (self.engine.is_ready or self.engine.is_down):
            return Use.LOADING
        return Use.BUSY if self.leases else Use.IDLE


def served_by(engines: Iterable[LoadedModel]) -> list[InstalledModel]:
    """Their models, under each name that they were requested by."""
    return [model for loaded in engines for model in loaded.names.values()]


def _smoothed(before: float | None, now: float) -> float:
    return now if before is None else PACE_MEMORY * before + (1 - PACE_MEMORY) * now


@dataclass(frozen=True, kw_only=True)
class Lease:
    """The right to use a ready engine, with the slots of `grant`.

    `requested` are the request's own load options. `load_ns` is how long it waited for the engine, `queued_ns` for a
    slot. `revive` has the engine ready again after its end; it raises what taking the lease raises.
    """

    model: InstalledModel
    loaded: LoadedModel
    requested: LoadOptions | None
    grant: SlotGrant
    load_ns: int
    queued_ns: int
    revive: Callable[[], Awaitable[None]]

    @property
    def engine(self) -> Engine:
        return self.loaded.engine

    @property
    def num_ctx(self) -> int:
        """Tokens of the request and its answer."""
        return self.loaded.context_for(self.requested)
