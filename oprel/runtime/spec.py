"""The model and the settings that an engine is started with."""

from dataclasses import dataclass, field
from pathlib import Path

from oprel.core.completion import LoadOptions, Mode
from oprel.runtime.confinement.limits import EngineLimits


@dataclass(frozen=True)
class ModelFiles:
    """The files that make up a model. `chat_template` is a Jinja template that replaces the weights' own."""

    weights: Path
    projector: Path | None = None
    adapters: tuple[Path, ...] = ()
    chat_template: str = ""


@dataclass(frozen=True, kw_only=True)
class EngineSpec:
    """Everything that an engine is started with. A None in `load` leaves the value to the engine.

    The KV cache has `cells` tokens for `parallel` slots. They share it, and one slot may use up to `slot_context`
    tokens; `ubatch` tokens are computed at once, by `batch_threads` (None: as many as compute a single token).
    `cache_ram_mib` is for the states of prompts that are in no slot; each slot keeps `checkpoints` of its own state.
    `one_gpu`: all layers are on one GPU. No GPU is used at all if `load` has none of the layers there. The experts of
    the first `cpu_experts` layers stay on the CPU, and `split` divides layers among GPUs; the engine decides without.
    """

    files: ModelFiles
    socket: Path
    load: LoadOptions
    mode: Mode
    pooling: str | None  # if the model declares none
    parallel: int
    cells: int
    slot_context: int
    key_type: str
    value_type: str
    flash_attention: str
    cache_ram_mib: int
    batch_threads: int | None = None
    ubatch: int | None = None
    checkpoints: int = 0
    unified: bool = True
    swa_full: bool = False
    one_gpu: bool = False
    cpu_experts: int = 0
    split: tuple[float, ...] = ()
    projector_on_cpu: bool = False
    gpus: int = 0  # how many share the layers
    kv_bytes: int = 0  # of the KV cache of all slots; 0 if unknown
    limits: EngineLimits = EngineLimits()
    extra_arguments: tuple[str, ...] = ()  # set by the user; they follow all others
    port: int = 0  # on loopback, for an engine without Unix sockets, which requires `key`
    key: str = field(default="", repr=False)

    @property
    def parts(self) -> ModelFiles:
        """`files` under the name that backends in packages use (docs/extending.md)."""
        return self.files

    @property
    def template_file(self) -> Path:
        """Where the engine reads `files.chat_template`. The file is made at each start."""
        return self.socket.with_suffix(".jinja")
