"""Wire types of oprel's own API about the daemon and its engines. Sizes in bytes, times in RFC 3339."""

from typing import Literal

from oprel.api_models import Wire

EngineState = Literal["stopped", "starting", "ready", "draining", "crashed", "backing_off", "broken"]


class BufferSizes(Wire):
    """An engine's buffers, in bytes, summed over all devices."""

    weights: int
    kv: int
    state: int
    compute: int
    output: int


class EngineModel(Wire):
    """One engine in `GET /models`.

    `address`: where the engine listens. `adjustments`: settings that were changed to make it fit into memory.
    `in_flight`: requests that use it; `slots_taken` of its `slots` are busy, and `queued` requests wait for one.
    `threads` compute a single token, and `batch_threads` prompts and parallel requests. `reasons`: why so many of both.
    `memory_bytes`: the measured memory of its processes, 0 before the first measurement. `expected_bytes`: what it
    takes with every slot busy. `predicted_bytes`: the memory reserved for it, with saved conversations at their bound:
    `host_bytes` of the machine's memory, and `gpu_bytes` of each GPU, by number. `device_bytes`: what the engine says
    that it has on each GPU, by the engine's name of it. `gpu_share`: how
    much of the model GPUs compute, 1 with every layer on GPUs, else by memory. `predicted` and
    `measured`: its buffers before the start, and as the engine reported them (None if it did not).
    `tokens_per_second`: the speed of its latest answers.
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
    threads: int = 0
    batch_threads: int = 0
    reasons: list[str] = []
    slots_taken: int
    queued: int
    tokens_per_second: float | None
    memory_bytes: int
    expected_bytes: int = 0
    predicted_bytes: int
    host_bytes: int = 0
    gpu_bytes: dict[int, int] = {}
    device_bytes: dict[str, int] = {}
    gpu_share: float = 0.0
    predicted: BufferSizes
    measured: BufferSizes | None
    load_seconds: float
    restarts: int
    pinned: bool
    adjustments: list[str]
    expires_at: str | None
    last_exit: str | None


class WaitingModel(Wire):
    """A model that waits for memory; `seconds` is how long it has waited."""

    name: str
    bytes: int
    seconds: float
    why: str


class ModelsResponse(Wire):
    """`budget_bytes`: the memory for all engines: `host_bytes` of the machine's memory, and `gpu_bytes` of each GPU.

    `memory_limits`: the limits behind `host_bytes`, in words; none where it is what the machine has free.
    """

    models: list[EngineModel]
    waiting: list[WaitingModel] = []
    budget_bytes: int = 0
    host_bytes: int = 0
    gpu_bytes: list[int] = []
    memory_limits: list[str] = []


class AsideEngine(Wire):
    engine: str
    reason: str


class Liveness(Wire):
    """`GET /health` for callers who may not use models."""

    status: str
    version: str


class HealthResponse(Liveness):
    """`warnings`: what makes every model slower than it could be, such as a GPU that the engine does not use.

    Callers who may not use models are sent a Liveness: `pid` is 0 for them, and the rest as if there were nothing.
    """

    pid: int = 0
    uptime_seconds: float = 0
    engines: list[str] = []
    engines_set_aside: list[AsideEngine] = []
    warnings: list[str] = []


class SettingEntry(Wire):
    """A setting in effect, without secrets. `origin`: FILE:LINE, a variable or a flag; None for a default."""

    name: str
    value: str | int
    default: str | int
    origin: str | None


class SettingsResponse(Wire):
    """`GET /settings`: all settings of the daemon."""

    settings: list[SettingEntry]


class EngineBuild(Wire):
    """An engine's program: the version of its wheel, or the size and time of its file."""

    name: str
    version: str | None = None
    size: int | None = None
    modified_at: str | None = None


class CrashedRequest(Wire):
    """A request in flight at the time of the crash. `prompt` is set only if the setting `crash_prompts` allows it."""

    hash: str
    characters: int
    max_tokens: int | None = None
    seconds: float
    prompt: str | None = None


class CrashEntry(Wire):
    """A crash in brief. `served_seconds` is 0 if the engine was never ready."""

    id: str
    time: str
    model: str
    reason: str
    detail: str
    uptime_seconds: float
    served_seconds: float


class Crash(CrashEntry):
    """The full report. `memory`: pairs of seconds since the start and bytes; `log`: the last lines."""

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
    """A request that is refused until `until`, because it crashed its engine `strikes` times."""

    hash: str
    model: str
    reason: str
    strikes: int
    at: str
    until: str


class QuarantineResponse(Wire):
    requests: list[QuarantineEntry]


class ClearedResponse(Wire):
    """The number of requests released from quarantine."""

    cleared: int


class OverheadSizes(Wire):
    """What an engine needs beside the model's buffers, in bytes.

    `repacked`: copies of weights for the CPU's kernels. `program`, `libraries` (pages that engines may share),
    `tokenizer`, `outputs` and `threads` are the process. `projector`: image input and adapters. `checkpoints` and
    `prompt_cache`: the bounds of saved conversations. `margin`: for what the estimate may miss.
    """

    repacked: int = 0
    program: int = 0
    libraries: int = 0
    tokenizer: int = 0
    outputs: int = 0
    threads: int = 0
    projector: int = 0
    checkpoints: int = 0
    prompt_cache: int = 0
    margin: int = 0


class PlacedMemory(Wire):
    """The memory of one device, in bytes, of which `budget_bytes` are available.

    `total_bytes`: what is reserved. `expected_bytes`: what is taken with every slot busy; the rest is for saved
    conversations. `overhead_bytes`: the sum of `overhead`, everything but the model's buffers.
    """

    name: str
    budget_bytes: int
    total_bytes: int
    expected_bytes: int = 0
    weights_bytes: int
    kv_bytes: int
    state_bytes: int
    compute_bytes: int
    output_bytes: int
    overhead_bytes: int
    overhead: OverheadSizes = OverheadSizes()


class PlannedMemory(Wire):
    """The totals, and each device: the GPUs, then the machine's memory. The fields are those of `PlacedMemory`."""

    total_bytes: int
    expected_bytes: int = 0
    weights_bytes: int
    kv_bytes: int
    state_bytes: int
    compute_bytes: int
    output_bytes: int
    overhead_bytes: int
    overhead: OverheadSizes = OverheadSizes()
    devices: list[PlacedMemory]


class PlannedVariant(Wire):
    """A quantization and how it would run. `reason`: why it was not `chosen`; `size_bytes`: the size of its files.

    `total_bytes` are reserved for it, and `expected_bytes` taken with every slot busy.
    """

    quantization: str
    size_bytes: int
    fits: bool
    chosen: bool
    where: str
    context: int
    slots: int
    total_bytes: int
    expected_bytes: int = 0
    tokens_per_second: float | None
    reason: str


class PlanSuggestion(Wire):
    """A change to a plan, in words: the memory that it saves, and how many times as fast answers would be."""

    change: str
    saved_bytes: int
    speedup: float
    text: str


class PlanExperience(Wire):
    """The earlier loads that correct the figures of memory: of the model itself, or of others of its architecture.

    The corrected total would have missed theirs by at most the share `error`.
    """

    loads: int
    error: float
    is_of_model: bool


class PlanResponse(Wire):
    """How a model runs or would run. `context`: tokens for one request, of `cells` for all `slots` together.
    `threads` compute a single token, and `batch_threads` prompts and parallel requests. `reasons`: why so many of both.

    `contradictory`: no amount of memory could satisfy the options. `tokens_per_second`: in a conversation of about
    1000 tokens; `full_tokens_per_second`: at the end of the context; `speed_guessed`: the machine's memory was not
    measured. `gpu_layers`: as llama-server's `-ngl` counts them. `rejected`: the reason against each other variant.
    `rough`: the estimate is inexact, because too little is known about such models. `suggestions`: what would save
    memory or be faster. `experience`: None without earlier loads. `command`: the engine's, empty if the model does not
    fit.
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
    threads: int = 0
    batch_threads: int = 0
    reasons: list[str] = []
    kv_cache_type: str
    gpu_layers: int
    cpu_expert_layers: int
    tokens_per_second: float | None
    full_tokens_per_second: float | None = None
    speed_guessed: bool = False
    rough: bool
    experience: PlanExperience | None = None
    memory: PlannedMemory
    variants: list[PlannedVariant]
    rejected: dict[str, str]
    suggestions: list[PlanSuggestion] = []
    notes: list[str]
    command: list[str]
