"""What oprel knows of an inference engine: data and a dialect. Supervision is the same for all engines."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Literal

from oprel.core.completion import Mode
from oprel.formats.model_info import ModelInfo
from oprel.runtime.backends.dialect import Dialect
from oprel.runtime.binaries.environments import Recipe
from oprel.runtime.spec import EngineSpec

Accelerator = Literal["nvidia", "amd", "intel", "apple", "other", "cpu"]


class Listens(Enum):
    """Where an engine listens. Only the daemon can reach a Unix socket; any program on the machine can reach a port."""

    SOCKET = "a Unix socket of its own"
    WRAPPED = "a Unix socket that `on_socket` has a Python server listen on"
    PORT = "a loopback port, with a random key"


def no_environment(spec: EngineSpec) -> Mapping[str, str]:
    return {}


def refuses_nothing(info: ModelInfo, accelerator: Accelerator) -> str | None:
    return None


@dataclass(frozen=True, kw_only=True)
class Backend:
    """An engine that oprel can start for a model.

    - `suits`: how well it runs on each accelerator, from 0 to 1. It does not run on those that are missing.
    - `executables`: its programs, best first, searched on PATH and beside oprel's own Python. `install`: how users
      install it.
    - `arguments`: makes the program's arguments from the spec and, with `probes`, the program's flags.
    - `environment`: variables added to the daemon's own.
    - `recipes`: how pip installs it for an accelerator, if pip can.
    - `refuses`: why it cannot run a model's weights on an accelerator, as the end of a sentence; None if it can.
    """

    name: str
    title: str
    formats: frozenset[str]
    suits: Mapping[Accelerator, float]
    executables: tuple[str, ...]
    install: str
    arguments: Callable[[EngineSpec, frozenset[str]], list[str]]
    environment: Callable[[EngineSpec], Mapping[str, str]] = no_environment
    recipes: Mapping[Accelerator, Recipe] = field(default_factory=dict)
    refuses: Callable[[ModelInfo, Accelerator], str | None] = refuses_nothing
    listens: Listens = Listens.SOCKET
    health_path: str = "/health"
    dialect: Dialect | None = None  # None: llama-server's own, which the daemon speaks
    modes: frozenset[Mode] = field(default_factory=lambda: frozenset({Mode.COMPLETION}))
    spills: bool = False  # keeps what does not fit on a GPU in the machine's memory
    maps: bool = False  # maps weights that do not fit into memory, and reads them from disk on demand
    shares_cells: bool = False  # a slot may use `EngineSpec.slot_context` cells of the cache that all slots share
    is_planned: bool = False  # what it takes of memory is known, so that one that takes far more is ended
    probes: bool = False  # builds differ, so oprel reads the flags from `--help`; others start too slowly for that
    rests: bool = False  # uses no CPU time without work, so that one that goes on after its last client is ended
    offline: bool = False  # it needs no network, and gets none where the system permits that
    leaves_children: bool = False  # leaves processes that outlive the first one, and files
    overhead_bytes: int = 0  # memory that it takes for any model, beyond llama.cpp's own
    experimental: str = ""  # what is untested, as a sentence without its period
