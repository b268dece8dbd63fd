"""One loaded model: its engine and the books about it, which the manager alone keeps; and the right to use it."""

import asyncio
import contextlib
import math
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field, replace

from oprel.core.completion import CompletionRequest, LoadOptions, Mode, Prompt, Tokens
from oprel.core.settings import ModelSettings
from oprel.runtime.backends.backend import Backend
from oprel.runtime.backends.base import EngineSpec, ModelFiles
from oprel.runtime.backends.engines import llama_cpp
from oprel.runtime.backends.engines.llama_log import Buffers
from oprel.runtime.backends.specs import LoadConstraints
from oprel.runtime.supervisor.process import DOWN, EngineProcess, EngineState
from oprel.server.models.library import InstalledModel
from oprel.server.pool.crash_reports import InFlight
from oprel.server.pool.quarantine import request_hash
from oprel.server.pool.scheduling import Amount, Resident, Use
from oprel.server.pool.slots import SlotGrant, Slots
from oprel.telemetry.recommender.budgets import Reservation
from oprel.telemetry.recommender.planning import Plan
from oprel.telemetry.recommender.step_down import given_up

Key = tuple[ModelFiles, Mode]
PACE_MEMORY = 0.7  # share that what was measured before has in an engine's pace


@dataclass
class LoadedModel:
    """Times are of the manager's clock, in seconds. `wanted`, and all of `fixed`, is what requests and settings fix;
    `first_plan` is what was to be started, `plan` and `spec` what is.

    `closed`: it takes no further request, as others wait for its memory; `leaving`: it is being stopped for them.
    """

    id: int
    model: InstalledModel
    settings: ModelSettings
    asked: LoadOptions
    wanted: LoadOptions
    fixed: LoadConstraints
    first_plan: Plan
    plan: Plan
    spec: EngineSpec
    needs: Amount
    process: EngineProcess
    slots: Slots
    keep_alive: float
    buffers: Buffers | None = None  # as the engine told when it was up
    names: set[str] = field(default_factory=set)
    leases: int = 0
    closed: bool = False
    leaving: bool = False
    used_at: float = 0.0
    ready_at: float = 0.0
    expires_at: float = math.inf
    timer: asyncio.TimerHandle | None = None
    starts_seen: int = 0
    backend: Backend = llama_cpp.BACKEND
    others: tuple[Backend, ...] = ()  # that may serve it if an engine of this one does not start
    fallbacks: tuple[str, ...] = ()
    lacked_alone: bool = True  # its steps were taken with no other engine beside it
    stepped_at: int = 0  # which of the engine's starts the last step followed
    stepping: asyncio.Lock = field(default_factory=asyncio.Lock)
    tokens_per_second: float | None = None
    service_seconds: float = 0.0  # that a request takes, lately
    requests: dict[int, tuple[str, CompletionRequest, float]] = field(default_factory=dict)  # of whom, since when

    @property
    def key(self) -> Key:
        return self.spec.parts, self.spec.mode

    @property
    def num_ctx(self) -> int:
        return self.spec.load.num_ctx or 0

    @property
    def pinned(self) -> bool:
        return self.settings.pin

    def join(self, name: str, settings: ModelSettings) -> bool:
        """Be used under that name too; True when that changes what may become of it.

        What is configured for one of its names holds for all.
        """
        self.names.add(name)
        pin, locked = settings.pin or self.settings.pin, settings.keep_alive_locked or self.settings.keep_alive_locked
        if (pin, locked) == (self.settings.pin, self.settings.keep_alive_locked):
            return False
        self.settings = replace(self.settings, pin=pin, keep_alive_locked=locked)
        self.keep_alive = max(self.keep_alive, settings.keep_alive_seconds)
        return True

    def serves(self, model: InstalledModel, asked: LoadOptions, wanted: LoadOptions) -> bool:
        """Whether a request can join; `wanted` is what it asks for and what is configured."""
        if self.closed or self.leaving or self.model.modified != model.modified:  # the file is another one by now
            return False
        if self.process.state in DOWN and self.leases == 0:
            # It failed to start, and gets no second try with the options it failed with, unless they are asked for.
            return (self.asked, self.wanted) == (asked, wanted)
        is_shorter = asked.num_ctx is not None and self.num_ctx < (wanted.num_ctx or 0)  # for lack of memory
        return not is_shorter and wanted.served_by(self.wanted)

    def cancel_timer(self) -> None:
        """It does not go by itself for now."""
        if self.timer:
            self.timer.cancel()
            self.timer = None
        self.expires_at = math.inf

    @property
    def adjustments(self) -> tuple[str, ...]:
        """What was given up for lack of memory, and which engine serves in place of another, in words."""
        return (*self.fallbacks, *given_up(self.first_plan.solution, self.plan.solution))

    def change_engine(self, backend: Backend, others: tuple[Backend, ...], process: EngineProcess, why: str) -> None:
        """Be served by another backend; its engine was never started."""
        self.backend, self.others, self.process = backend, others, process
        self.fallbacks += (why,)
        self.starts_seen = self.stepped_at = 0

    def descend(self, plan: Plan, spec: EngineSpec, needs: Amount) -> None:
        """Be started with less from now on."""
        self.plan, self.spec, self.needs = plan, spec, needs
        self.slots.total = spec.parallel

    def note_answer(self, tokens: int, generating: float, whole: float) -> None:
        """A request was answered with so many tokens; seconds for them alone, and for all of it."""
        if tokens > 1 and generating > 0:
            self.tokens_per_second = _smoothed(self.tokens_per_second, tokens / generating)
        self.service_seconds = _smoothed(self.service_seconds or None, whole)

    def in_flight(self, now: float) -> list[InFlight]:
        """The requests in the engine, for who looks into its end."""
        return [
            InFlight(
                hash=request_hash(name, request),
                characters=len(text := _readable(request.prompt)),
                max_tokens=request.sampling.num_predict,
                seconds=now - since,
                prompt=text,
            )
            for name, request, since in self.requests.values()
        ]

    def write_template(self) -> None:
        """Put the template where the engine looks for it."""
        if self.spec.parts.chat_template:
            self.spec.template_file.write_text(self.spec.parts.chat_template, encoding="utf-8")

    @property
    def may_go(self) -> bool:
        return self._use() is Use.IDLE and not self.pinned

    @property
    def taken(self) -> Reservation:
        solution = self.plan.solution
        devices = dict(zip(solution.placement.devices, solution.needs, strict=True))
        return Reservation(self.needs.host, devices, stays=self.pinned)

    def as_resident(self) -> Resident:
        return Resident(
            self.id,
            self.model.name,
            self.needs,
            self._use(),
            self.pinned,
            self.closed,
            self.ready_at,
            self.used_at,
            self.process.load_seconds,
        )

    def _use(self) -> Use:
        state = self.process.state
        if self.leaving or state is EngineState.DRAINING:
            return Use.LEAVING
        if state in (EngineState.STOPPED, EngineState.STARTING, EngineState.BACKING_OFF):
            return Use.LOADING
        return Use.BUSY if self.leases else Use.IDLE


def _readable(prompt: Prompt) -> str:
    """What was asked, for a person."""
    if isinstance(prompt, Tokens):
        return "".join(part if isinstance(part, str) else f"<{part}>" for part in prompt.parts)
    if isinstance(prompt, tuple):
        return "\n\n".join(f"{message.role}: {message.content}" for message in prompt)
    return prompt


def _smoothed(before: float | None, now: float) -> float:
    return now if before is None else PACE_MEMORY * before + (1 - PACE_MEMORY) * now


@dataclass(frozen=True)
class Lease:
    """The right to use a ready engine, and the slots that are `held`.

    `load_ns` is how long the request waited for the engine, `queued_ns` for a slot. `revive` has the engine ready again
    after its end; it raises what taking the lease raises.
    """

    model: InstalledModel
    loaded: LoadedModel
    held: SlotGrant
    load_ns: int
    queued_ns: int
    revive: Callable[[], Awaitable[None]]

    @property
    def process(self) -> EngineProcess:
        return self.loaded.process

    @property
    def num_ctx(self) -> int:
        return self.loaded.num_ctx

    @contextlib.contextmanager
    def asking(self, request: CompletionRequest, now: float) -> Iterator[None]:
        """Inside the block the request is in the engine."""
        key = id(request)
        self.loaded.requests[key] = self.model.name, request, now
        try:
            yield
        finally:
            self.loaded.requests.pop(key, None)
