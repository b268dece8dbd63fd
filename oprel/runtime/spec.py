"""What an engine is started for, and with."""

from dataclasses import dataclass, field
from pathlib import Path

from oprel.core.completion import LoadOptions, Mode


@dataclass(frozen=True)
class ModelFiles:
    """The files that make up a model. `chat_template` is a Jinja template that replaces the weights' own."""

    weights: Path
    projector: Path | None = None
    adapters: tuple[Path, ...] = ()
    chat_template: str = ""


@dataclass(frozen=True)
class EngineSpec:
    """A model to start an engine for. `load` has every value filled in that is decided; None is the engine's choice.

    The cache has `cells` tokens, which all `parallel` slots share, each up to `load.num_ctx` of them; `ubatch` tokens
    are computed at once. `cache_ram_mib` is for the states of prompts that are in no slot, and of each slot's state
    `checkpoints` are kept. `one_gpu`: layers are not shared among several.
    """

    parts: ModelFiles
    socket: Path
    load: LoadOptions
    mode: Mode
    pooling: str | None  # for an engine whose model declares none of its own
    parallel: int
    cells: int
    key_type: str
    value_type: str
    flash_attention: str
    cache_ram_mib: int
    ubatch: int | None = None
    checkpoints: int = 0
    unified: bool = True
    swa_full: bool = False
    one_gpu: bool = False
    projector_on_cpu: bool = False
    gpus: int = 0  # that share the layers
    kv_bytes: int = 0  # of the KV cache of all slots; 0 where the model does not tell
    extra_arguments: tuple[str, ...] = ()  # the user's own, after all others
    port: int = 0  # for engines that know no Unix sockets, on loopback, with the key that they want
    key: str = field(default="", repr=False)

    @property
    def template_file(self) -> Path:
        """Where the engine finds `parts.chat_template`; the owner of the engine writes it."""
        return self.socket.with_suffix(".jinja")
