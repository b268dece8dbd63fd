"""The engines of this machine: the installed programs of each backend, and the ranking of engines for a model."""

import shutil
import sys
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

from oprel.core.config import Config
from oprel.core.exceptions import NoEngineError
from oprel.formats.model_info import Format, ModelInfo
from oprel.runtime.backends.backend import Accelerator, Backend
from oprel.runtime.backends.registry import backends
from oprel.runtime.binaries.choices import Choices, read_choices
from oprel.runtime.binaries.engine_binaries import Binary, BinarySource, find_binaries
from oprel.runtime.binaries.environments import Recipe
from oprel.runtime.selection.routing import EngineCandidate, Route, route
from oprel.telemetry.hardware.devices import GPU
from oprel.telemetry.hardware.probing import Hardware

LLAMA_CPP = "llama.cpp"
INSTALL = f"oprel engines install {LLAMA_CPP}"


@dataclass(frozen=True)
class EnginePrograms:
    """A backend with its programs, best first."""

    backend: Backend
    programs: tuple[Binary, ...]


def find_engines(config: Config) -> list[EnginePrograms]:
    """Every backend with its installed programs, if any. Starts nothing."""
    choices = read_choices(config.home_dir)
    return [EnginePrograms(backend, tuple(programs_of(backend, config, choices))) for backend in backends().values()]


def find_engine(backend: Backend, config: Config) -> EnginePrograms:
    """One backend with its installed programs, if any."""
    return EnginePrograms(backend, tuple(programs_of(backend, config, read_choices(config.home_dir))))


def has_engine_for(format: Format, config: Config) -> bool:
    """Whether an engine for models of that format is installed."""
    return any(engine.programs for engine in find_engines(config) if format in engine.backend.formats)


def programs_of(backend: Backend, config: Config, choices: Choices) -> Iterator[Binary]:
    """Programs in order: set by the user, installed in `binary_dir`, on PATH or else beside oprel's own Python."""
    if backend.name == LLAMA_CPP:
        yield from find_binaries(config)
        return
    if named := choices.programs.get(backend.name):
        yield Binary(BinarySource.CONFIGURED, (named,))
    for program in backend.executables:
        installed = config.engines_dir / backend.name
        for path in (installed / "bin" / program, installed / program):
            if path.is_file():
                yield Binary(BinarySource.INSTALLED, (str(path),))
        if on_path := shutil.which(program):
            yield Binary(BinarySource.PATH, (on_path,))
        elif (beside := Path(sys.executable).with_name(program)).is_file():
            yield Binary(BinarySource.BESIDE, (str(beside),))


def rank_engines(info: ModelInfo, hardware: Hardware, config: Config, preferred: str = "") -> tuple[Route, ...]:
    """All engines for a model, best first. `preferred` defaults to the choice of `oprel engines use`."""
    candidates = [EngineCandidate(engine.backend, bool(engine.programs)) for engine in find_engines(config)]
    return route(info, hardware, candidates, preferred or read_choices(config.home_dir).preferred)


def accelerators_of(hardware: Hardware) -> Set[Accelerator]:
    """What engines can run on: the vendors of the GPUs, and the CPU."""
    return {"cpu", *(gpu.vendor for gpu in hardware.gpus)}


def unused_gpu(gpus: Sequence[GPU]) -> str:
    """The line for users of a machine with these GPUs whose llama.cpp uses none of them; "" without a GPU.

    >>> unused_gpu([GPU(vendor="nvidia", name="NVIDIA GeForce RTX 4090", total_bytes=24 * 10**9, free_bytes=0)])
    'RTX 4090 found, but this engine uses only the CPU: `oprel engines install llama.cpp`'
    """
    if not gpus:
        return ""
    name, others = gpus[0].name.removeprefix("NVIDIA ").removeprefix("GeForce ").removeprefix("AMD "), len(gpus) - 1
    kind = " GPU" if gpus[0].integrated and "GPU" not in name else ""
    more = f" and {others} more" if others else ""
    return f"{name}{kind}{more} found, but this engine uses only the CPU: `{INSTALL}`"


def recipe_for(backend: Backend, hardware: Hardware) -> Recipe:
    """How pip installs the backend for the best accelerator of this machine.

    Raises NoEngineError if it cannot run on this machine, or pip cannot install it.
    """
    able = accelerators_of(hardware) & backend.suits.keys()
    if not able:
        raise NoEngineError(f"{backend.title} does not run on this machine, only on {', '.join(backend.suits)}")
    best = max(able, key=lambda accelerator: backend.suits[accelerator])
    if best not in backend.recipes:
        how = "as its documentation says" if backend.recipes else backend.install
        raise NoEngineError(
            f"oprel cannot install {backend.title} for {best}",
            f"To install it: {how}. Then run `oprel engines use {backend.name} PROGRAM`.",
        )
    return backend.recipes[best]
