"""The programs of all engines, a shelf for each backend, and the choice among backends for a model."""

import asyncio
from collections.abc import Sequence, Set

from oprel.core.completion import Mode
from oprel.core.config import Config
from oprel.core.exceptions import NoEngineError
from oprel.formats.model_info import ModelInfo
from oprel.runtime.backends.backend import Accelerator, Backend
from oprel.runtime.backends.registry import backends, named
from oprel.runtime.binaries.choices import read_choices
from oprel.runtime.binaries.engine_binaries import EngineBinaries
from oprel.runtime.selection.engines import LLAMA_CPP, accelerators, programs_of, routes
from oprel.runtime.selection.routing import Route
from oprel.telemetry.hardware.probing import probe

MORE = "`oprel inspect MODEL` tells of every engine."


class BinaryCatalog:
    """Owner of them. `own` is that of llama.cpp, which the daemon tells of."""

    def __init__(self, config: Config, own: EngineBinaries) -> None:
        self._config = config
        self._shelves = {LLAMA_CPP: own}

    def of(self, backend: Backend) -> EngineBinaries:
        """Its programs as they were when it was first asked for."""
        if backend.name not in self._shelves:
            programs = programs_of(backend, self._config, read_choices(self._config.home_dir))
            self._shelves[backend.name] = EngineBinaries(list(programs), probes=backend.probes)
        return self._shelves[backend.name]

    async def backends(self, info: ModelInfo, mode: Mode, preferred: str) -> list[Backend]:
        """Those that can serve such a model here, best first.

        Raises NoEngineError with the reasons where there is none, ValidationError where there is no such `preferred`.
        """
        if preferred:
            named(preferred)
        readers = [backend for backend in backends().values() if info.format in backend.formats]
        # Nothing to choose, and what is here was found already.
        if len(readers) == 1 and readers[0].name in self._shelves:
            return readers
        hardware = await asyncio.to_thread(probe)
        found = await asyncio.to_thread(routes, info, hardware, self._config, preferred)
        suited = [one for one in found if mode in one.backend.modes]
        if ready := [one.backend for one in suited if one.is_open]:
            return ready
        raise _none(info, mode, suited, accelerators(hardware))


def _none(info: ModelInfo, mode: Mode, found: Sequence[Route], here: Set[Accelerator]) -> NoEngineError:
    """With the best engine to get, or why those that run on this machine cannot serve the model."""
    what = f"{info.architecture} in {info.format}, {info.quantization}, for {mode.value}"
    readers = [one for one in found if info.format in one.backend.formats and not here.isdisjoint(one.backend.suits)]
    if able := [one.backend for one in readers if one.score]:
        best = f"{able[0].title} could. To get it: {able[0].install}"
        return NoEngineError(f"no engine that is here serves this model ({what})", best, MORE)
    why = [f"{one.backend.title}: {one.reasons[0]}." for one in readers]
    return NoEngineError(f"no engine serves this model on this machine ({what})", *why, MORE)
