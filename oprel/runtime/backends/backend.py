"""What oprel knows of an inference engine: data, and the dialect it speaks. Supervision is the same for all of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Literal

from oprel.core.completion import Mode
from oprel.formats.model_info import ModelInfo
from oprel.runtime.backends.dialect import Dialect
from oprel.runtime.binaries.environments import Recipe
from oprel.runtime.spec import EngineSpec

Accelerator = Literal["nvidia", "amd", "intel", "apple", "cpu"]


class Listens(Enum):
    """Where an engine can be reached. A Unix socket is the daemon's alone; a port is every program's of the machine."""

    SOCKET = "a Unix socket of its own"
    WRAPPED = "a Unix socket that `on_socket` has a Python server listen on"
    PORT = "a loopback port, with a random key"


def nothing(spec: EngineSpec) -> Mapping[str, str]:
    return {}


def anything(info: ModelInfo, accelerator: Accelerator) -> str | None:
    return None


@dataclass(frozen=True)
class Backend:
    """An engine that can be started for a model.

    `suits` tells how well it does on each accelerator, from 0 to 1; where one is missing it does not run. `executables`
    are looked for on PATH and beside oprel's own Python, the first best; `install` is what users type to get one.
    `arguments` follow the program, of which the flags are known where `probes`; `environment` is added to the daemon's.
    `recipes` say how pip installs it for an accelerator, where pip can.
    `refuses` is why it cannot run such weights on such an accelerator, as the end of a sentence; None where it can.
    """

    name: str
    title: str
    formats: frozenset[str]
    suits: Mapping[Accelerator, float]
    executables: tuple[str, ...]
    install: str
    arguments: Callable[[EngineSpec, frozenset[str]], list[str]]
    environment: Callable[[EngineSpec], Mapping[str, str]] = nothing
    recipes: Mapping[Accelerator, Recipe] = field(default_factory=dict)
    refuses: Callable[[ModelInfo, Accelerator], str | None] = anything
    listens: Listens = Listens.SOCKET
    health_path: str = "/health"
    dialect: Dialect | None = None  # None: llama-server's, which the daemon speaks
    modes: frozenset[Mode] = field(default_factory=lambda: frozenset({Mode.COMPLETION}))
    spills: bool = False  # what does not fit on a GPU is kept in the machine's memory
    maps: bool = False  # weights that do not fit into memory either are read from the disk as they are needed
    probes: bool = False  # its flags are read off `--help`, as builds differ; others are too slow for that
    leaves_children: bool = False  # processes that outlive its first one, and files that nobody removes
    overhead_bytes: int = 0  # of memory that it takes whatever the model, beside llama.cpp's own
    experimental: str = ""  # what nobody has tried yet, as a sentence without its full stop
