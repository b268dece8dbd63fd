"""One engine at one moment: the snapshot from which every view of it is encoded (`ps`, metrics, the API)."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from oprel.runtime.backends.engines.llama_log import GPUUse
from oprel.runtime.engine import EngineSnapshot, EngineState
from oprel.runtime.spec import EngineSpec
from oprel.server.models.installed_model import InstalledModel
from oprel.server.pool.loaded_model import LoadedModel
from oprel.telemetry.calibration.learning import Buffers
from oprel.telemetry.memory.estimator import Estimate
from oprel.telemetry.recommender.placement import PlacementKind
from oprel.telemetry.recommender.reasons import reasons_of
from oprel.telemetry.recommender.speed.threads import Threads

RUNNING = (EngineState.STARTING, EngineState.READY)


@dataclass(frozen=True, kw_only=True)
class EngineStatus:
    """Sizes in bytes, times in seconds. `requested`: `model` under each name that requests had for it, the latest last.

    `num_ctx` is how many tokens one request may use. `reasons` say why there are so many `threads` and `slots`.
    `reserved_bytes` is the memory that the engine was admitted with, `reserved_host_bytes` the part of it in the
    machine's memory. `expected_bytes` and `expected_host_bytes` are what it takes with every slot busy, and `gpu_bytes`
    what its placement takes of each GPU, by number. On a machine whose GPU `shares_memory` the figures of the host
    include the latter. `is_on_gpus`: every layer is on GPUs. `buffers` are the figures that the engine logged, and
    `gpu_use` what of them is on GPUs; `estimate` is the same before its start. `keep_alive_left` is what is left until
    it is unloaded, if no request uses it from now on.
    """

    model: InstalledModel
    requested: tuple[InstalledModel, ...]
    spec: EngineSpec
    num_ctx: int
    snapshot: EngineSnapshot
    in_flight: int
    slots: int
    threads: Threads
    reasons: tuple[str, ...]
    slots_taken: int
    queued: int
    tokens_per_second: float | None
    reserved_host_bytes: int
    reserved_bytes: int
    expected_host_bytes: int
    expected_bytes: int
    gpu_bytes: Mapping[int, int]
    shares_memory: bool
    is_on_gpus: bool
    estimate: Estimate
    buffers: Buffers | None
    gpu_use: GPUUse | None
    pinned: bool
    adjustments: tuple[str, ...]
    keep_alive_left: float
    expires_at: float

    @property
    def latest(self) -> InstalledModel:
        return self.requested[-1] if self.requested else self.model

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(sorted(model.name for model in self.requested))

    def only(self, is_shown: Callable[[str], bool]) -> "EngineStatus":
        """The same without the other names."""
        return replace(self, requested=tuple(model for model in self.requested if is_shown(model.name)))

    @property
    def is_running(self) -> bool:
        return self.snapshot.state in RUNNING

    @property
    def size_bytes(self) -> int:
        """All memory that the engine takes: measured for its processes, else expected; expected on GPUs."""
        measured, on_gpus = self.snapshot.memory_bytes, self._on_gpus
        if not self.shares_memory:
            return (measured or self.expected_host_bytes) + on_gpus
        if not measured:
            return self.expected_host_bytes
        # Some drivers count what a GPU has of the machine's memory as the process's, others do not.
        return measured if measured >= on_gpus else measured + on_gpus

    @property
    def vram_bytes(self) -> int:
        """The part of `size_bytes` that lies on GPUs."""
        return min(self.size_bytes, self._on_gpus)

    @property
    def _on_gpus(self) -> int:
        """Bytes on GPUs: what the engine reported, else what was planned."""
        return self.gpu_use.total if self.gpu_use else sum(self.gpu_bytes.values())

    @property
    def gpu_share(self) -> float:
        """How much of the model GPUs compute, from 0 to 1: 1 with every layer on GPUs, else the share of memory."""
        return 1.0 if self.is_on_gpus else self.vram_bytes / self.size_bytes if self.size_bytes else 0.0


def status_of(loaded: LoadedModel, now: float) -> EngineStatus:
    """`now` is of the manager's clock."""
    decision, slots, use = loaded.decision, loaded.slots, loaded.gpu_use
    plan, parallel = decision.plan, decision.spec.parallel
    left = loaded.lifetime.expires_at - now if loaded.leases == 0 else loaded.lifetime.keep_alive
    return EngineStatus(
        model=loaded.model,
        requested=tuple(loaded.names.values()),
        spec=decision.spec,
        num_ctx=decision.slot_context,
        snapshot=loaded.engine.snapshot(),
        in_flight=loaded.leases,
        slots=parallel,
        threads=plan.chosen.threads,
        reasons=reasons_of(plan.chosen, plan.constraints),
        slots_taken=min(slots.in_use, parallel),
        queued=slots.waiting + max(0, slots.in_use - parallel),
        tokens_per_second=loaded.pace.tokens_per_second,
        reserved_host_bytes=decision.needs.host,
        reserved_bytes=decision.needs.total,
        expected_host_bytes=decision.expected.host,
        expected_bytes=decision.expected.total,
        gpu_bytes=decision.on_gpus,
        shares_memory=plan.budgets.shared,
        is_on_gpus=plan.solution.placement.kind is PlacementKind.GPU and (use is None or use.is_whole),
        estimate=plan.solution.estimate,
        buffers=loaded.buffers,
        gpu_use=use,
        pinned=loaded.pinned,
        adjustments=loaded.adjustments,
        keep_alive_left=max(0.0, left) if not math.isinf(left) else left,
        expires_at=loaded.lifetime.expires_at,
    )
