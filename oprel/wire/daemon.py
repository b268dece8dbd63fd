"""Wire types of oprel's own API that tell about the daemon and its engines. Sizes in bytes, times in RFC 3339."""

from typing import Literal

from oprel.api_models import Wire

EngineState = Literal["stopped", "starting", "ready", "draining", "crashed", "backing_off", "broken"]


class BufferSizes(Wire):
    """What an engine keeps, in bytes, on all devices together."""

    weights: int
    kv: int
    state: int
    compute: int
    output: int


class EngineModel(Wire):
    """One engine, in `GET /models`. `address` is what the engine listens on; `adjustments` what was changed to fit.

    `in_flight` requests use it, of which `slots_taken` slots of `slots` are busy and `queued` requests wait for one.
    `memory_bytes` is what its processes take, measured, and 0 before that; `predicted_bytes` what they and GPUs were to
    take, of the machine's memory (`host_bytes`) and of each GPU by its number (`gpu_bytes`). `measured` are the buffers
    that the engine told of, None where it did not, `predicted` the same before its start. `tokens_per_second` is the
    pace of its latest answers.
    """

    name: str
    names: list[str]
    path: str
    state: EngineState
    pid: int | None
    address: str
    engine: str | None
    embedding: bool
    context_length: int
    in_flight: int
    slots: int
    slots_taken: int
    queued: int
    tokens_per_second: float | None
    memory_bytes: int
    predicted_bytes: int
    host_bytes: int = 0
    gpu_bytes: dict[int, int] = {}
    predicted: BufferSizes
    measured: BufferSizes | None
    load_seconds: float
    restarts: int
    pinned: bool
    adjustments: list[str]
    expires_at: str | None
    last_exit: str | None


class WaitingModel(Wire):
    """A model that waits for memory, for so many seconds until now."""

    name: str
    bytes: int
    seconds: float
    why: str


class ModelsResponse(Wire):
    """`budget_bytes` is what the engines may take together: `host_bytes` of the machine's memory, `gpu_bytes` of each
    GPU.
    """

    models: list[EngineModel]
    waiting: list[WaitingModel] = []
    budget_bytes: int = 0
    host_bytes: int = 0
    gpu_bytes: list[int] = []


class AsideEngine(Wire):
    engine: str
    reason: str


class HealthResponse(Wire):
    status: str
    version: str
    pid: int
    uptime_seconds: float
    engines: list[str]
    engines_set_aside: list[AsideEngine]


class EngineBuild(Wire):
    """Which program an engine was: the version of the wheel, or the size and time of the file."""

    name: str
    version: str | None = None
    size: int | None = None
    modified_at: str | None = None


class CrashedRequest(Wire):
    """A request that was being answered. `prompt` is there only where the setting `crash_prompts` allows it."""

    hash: str
    characters: int
    max_tokens: int | None = None
    seconds: float
    prompt: str | None = None


class CrashEntry(Wire):
    """An engine's end in short. `served_seconds` is 0 for one that never was ready."""

    id: str
    time: str
    model: str
    reason: str
    detail: str
    uptime_seconds: float
    served_seconds: float


class Crash(CrashEntry):
    """All that is known of it. `memory`: seconds since the start, and bytes then; `log`: the last lines."""

    advice: str
    pid: int
    starts: int
    engine: EngineBuild
    command: list[str]
    requests: list[CrashedRequest]
    memory: list[tuple[float, int]]
    log: list[str]


class CrashesResponse(Wire):
    """Newest first."""

    crashes: list[CrashEntry]


class QuarantineEntry(Wire):
    """A request that is not asked any more before `until`, because engines ended under it `strikes` times."""

    hash: str
    model: str
    reason: str
    strikes: int
    at: str
    until: str


class QuarantineResponse(Wire):
    requests: list[QuarantineEntry]


class ClearedResponse(Wire):
    """How many requests were let go."""

    cleared: int


class PlacedMemory(Wire):
    """What one place holds, in bytes. `overhead_bytes` is what is no buffer of the model's: the process, states of
    prompts, a projector and adapters. `budget_bytes` may be taken there.
    """

    name: str
    budget_bytes: int
    total_bytes: int
    weights_bytes: int
    kv_bytes: int
    state_bytes: int
    compute_bytes: int
    output_bytes: int
    overhead_bytes: int


class PlannedMemory(Wire):
    """All of it, and each place: the GPUs, then the machine's own memory."""

    total_bytes: int
    weights_bytes: int
    kv_bytes: int
    state_bytes: int
    compute_bytes: int
    output_bytes: int
    overhead_bytes: int
    devices: list[PlacedMemory]


class PlannedVariant(Wire):
    """One form of the model, how it would run, and why it was not `chosen`, in `reason`. `size_bytes` is its files'."""

    quantization: str
    size_bytes: int
    fits: bool
    chosen: bool
    where: str
    context: int
    slots: int
    total_bytes: int
    tokens_per_second: float | None
    reason: str


class PlanResponse(Wire):
    """How a model is, or would be, run. `context` is what one request may use, of `cells` that all `slots` have.

    `contradictory`: what is asked for cannot be had with any memory. `tokens_per_second` is 1000 at most.
    `gpu_layers` counts as llama-server's `-ngl` does. `rejected` are the other variants with the reasons. `rough`: of
    such a model too little is known to be exact. `command` is the engine's, none where the model does not fit.
    """

    model: str
    fits: bool
    contradictory: bool = False
    refusal: str
    advice: list[str]
    quantization: str
    where: str
    context: int
    cells: int
    slots: int
    kv_cache_type: str
    gpu_layers: int
    cpu_expert_layers: int
    tokens_per_second: float | None
    rough: bool
    memory: PlannedMemory
    variants: list[PlannedVariant]
    rejected: dict[str, str]
    notes: list[str]
    command: list[str]
