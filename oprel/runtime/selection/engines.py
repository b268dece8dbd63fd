"""The engines of this machine: which programs each backend has here, and which of them serves a model."""

import shutil
import sys
from collections.abc import Iterator, Set
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
from oprel.telemetry.hardware.probing import Hardware

LLAMA_CPP = "llama.cpp"


@dataclass(frozen=True)
class EnginePrograms:
    """A backend with its programs, best first."""

    backend: Backend
    programs: tuple[Binary, ...]


def find_engines(config: Config) -> list[EnginePrograms]:
    """Every backend; nothing is started."""
    choices = read_choices(config.home_dir)
    return [_found(backend, config, choices) for backend in backends().values()]


def find(backend: Backend, config: Config) -> EnginePrograms:
    return _found(backend, config, read_choices(config.home_dir))


def _found(backend: Backend, config: Config, choices: Choices) -> EnginePrograms:
    return EnginePrograms(backend, tuple(programs_of(backend, config, choices)))


def serves(config: Config, format: Format) -> bool:
    """Whether an engine for such models is here."""
    return any(found.programs for found in find_engines(config) if format in found.backend.formats)


def programs_of(backend: Backend, config: Config, choices: Choices) -> Iterator[Binary]:
    """In order: what the user named, what is in `binary_dir`, on PATH, beside oprel's own Python."""
    if backend.name == LLAMA_CPP:
        yield from find_binaries(config)
        return
    if named := choices.programs.get(backend.name):
        yield Binary(BinarySource.CONFIGURED, (named,))
    for program in backend.executables:
        for place in (config.engines_dir / backend.name / "bin" / program, config.engines_dir / backend.name / program):
            if place.is_file():
                yield Binary(BinarySource.INSTALLED, (str(place),))
        if on_path := shutil.which(program):
            yield Binary(BinarySource.PATH, (on_path,))
        elif (beside := Path(sys.executable).with_name(program)).is_file():
            yield Binary(BinarySource.BESIDE, (str(beside),))


def routes(info: ModelInfo, hardware: Hardware, config: Config, preferred: str = "") -> tuple[Route, ...]:
    """Where a model may go, best first, as things are here now; by default `engines use` says what is preferred."""
    candidates = [EngineCandidate(found.backend, bool(found.programs)) for found in find_engines(config)]
    return route(info, hardware, candidates, preferred or read_choices(config.home_dir).preferred)


def accelerators(hardware: Hardware) -> Set[Accelerator]:
    """What engines may run on here."""
    return {"cpu", *(gpu.vendor for gpu in hardware.gpus)}


def recipe_for(backend: Backend, hardware: Hardware) -> Recipe:
    """How pip installs it for the best of this machine's accelerators.

    Raises NoEngineError where it cannot run on this machine, or pip cannot install what it takes.
    """
    able = accelerators(hardware) & backend.suits.keys()
    if not able:
        raise NoEngineError(f"{backend.title} does not run on this machine: it is for {', '.join(backend.suits)}")
    best = max(able, key=lambda accelerator: backend.suits[accelerator])
    if best not in backend.recipes:
        how = "as its documentation says" if backend.recipes else backend.install
        raise NoEngineError(
            f"oprel cannot install {backend.title} for {best} by itself",
            f"Get it so: {how}. Then `oprel engines use {backend.name} PROGRAM`.",
        )
    return backend.recipes[best]
