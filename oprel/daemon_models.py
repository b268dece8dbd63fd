"""Wire types of oprel's own API that tell about the daemon and its engines. Sizes in bytes, times in RFC 3339."""

from typing import Literal

from oprel.api_models import Request, Wire

EngineState = Literal["stopped", "starting", "ready", "draining", "crashed", "backing_off", "broken"]


class EngineModel(Wire):
    """One engine, in `GET /models`. `address` is what the engine listens on; `adjustments` what was changed to fit.

    `in_flight` requests use it, of which `slots_taken` slots of `slots` are busy and `queued` requests wait for one.
    `memory_bytes` is measured, and 0 before that; `tokens_per_second` is the pace of its latest answers.
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
    """`budget_bytes` is what the engines may take together."""

    models: list[EngineModel]
    waiting: list[WaitingModel] = []
    budget_bytes: int = 0


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


ModelStatus = Literal["installed", "loaded", "damaged", "available"]


class LibraryModel(Wire):
    """A model in `GET /api/models/library`: one that is here, or with the status "available" one that can be pulled.

    `provider` is who keeps it, `source` where it comes from; `repositories` are those of an alias, by size.
    """

    name: str
    provider: str
    status: ModelStatus
    capabilities: list[str] = []
    source: str = ""
    path: str | None = None
    size: int = 0
    digest: str | None = None
    family: str | None = None
    parameter_size: str | None = None
    quantization_level: str | None = None
    modified_at: str | None = None
    last_used_at: str | None = None
    aliases: list[str] = []
    repositories: dict[str, str] = {}
    license: str | None = None
    about: str | None = None
    notes: list[str] = []


class LibraryResponse(Wire):
    models: list[LibraryModel]


class RemovedResponse(Wire):
    """`busy`: an engine still uses files that go when it does."""

    freed_bytes: int
    busy: bool = False


class CachedFile(Wire):
    """`models` use the file; of one that is `partial` a download goes on."""

    path: str
    size: int
    digest: str | None
    provider: str
    models: list[str]
    last_used_at: str | None
    partial: bool


class CacheResponse(Wire):
    """Largest first. `duplicates` are paths of equal files, which take room more than once."""

    files: list[CachedFile]
    duplicates: list[list[str]]


class CacheRequest(Request):
    """`all`: the models too that are made of the files."""

    all: bool = False


ImportHow = Literal["link", "copy", "in_place"]


class ImportRequest(Request):
    """`how` is "link", "copy" or "in_place"; `path` is a file, or a folder with one model."""

    model: str = ""
    path: str = ""
    how: ImportHow = "link"
    stream: bool = True
