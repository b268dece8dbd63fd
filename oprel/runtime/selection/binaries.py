"""The programs of each backend, and the choice of backends for a model."""

import asyncio
from collections.abc import Sequence, Set
from functools import partial

from oprel.core.completion import Mode
from oprel.core.config import Config
from oprel.core.exceptions import NoEngineError
from oprel.formats.model_info import ModelInfo
from oprel.runtime.backends.backend import Accelerator, Backend
from oprel.runtime.backends.registry import backends, named
from oprel.runtime.binaries.choices import read_choices
from oprel.runtime.binaries.engine_binaries import Binary, EngineBinaries
from oprel.runtime.selection.engines import LLAMA_CPP, accelerators_of, programs_of, rank_engines
from oprel.runtime.selection.routing import Route
from oprel.telemetry.hardware.probing import this_machine

DETAILS = "`oprel inspect MODEL` shows every engine with its reasons."


class BinaryCatalog:
    """Owner of the binaries of all backends. `llama_cpp` are those that the daemon reports."""

    def __init__(self, config: Config, llama_cpp: EngineBinaries) -> None:
        self._config = config
        self._binaries = {LLAMA_CPP: llama_cpp}

    def of(self, backend: Backend) -> EngineBinaries:
        """The backend's programs."""
        if backend.name not in self._binaries:
            find = partial(self._programs_of, backend)
            self._binaries[backend.name] = EngineBinaries(
                find(), probes=backend.probes, find=find, extra_environment=self._config.extra_environment
            )
        return self._binaries[backend.name]

    def _programs_of(self, backend: Backend) -> list[Binary]:
        return list(programs_of(backend, self._config, read_choices(self._config.home_dir)))

    async def backends(self, info: ModelInfo, mode: Mode, preferred: str) -> list[Backend]:
        """The installed backends that can serve the model, best first. Looks for their programs again.

        Raises NoEngineError with the reasons if there is none, and ValidationError for an unknown `preferred`.
        """
        if not backends.cache_info().currsize:
            await asyncio.to_thread(backends)  # to import them takes long
        if preferred:
            named(preferred)
        readers = [backend for backend in backends().values() if info.format in backend.formats]
        # Nothing to choose, and its programs are known: do not probe the hardware.
        if len(readers) == 1 and readers[0].name in self._binaries:
            return readers
        hardware = await asyncio.to_thread(this_machine, self._config.hardware)
        ranked = await asyncio.to_thread(rank_engines, info, hardware, self._config, preferred)
        routes = [route for route in ranked if mode in route.backend.modes]
        if ready := [route.backend for route in routes if route.is_open]:
            for backend in ready:
                self.of(backend).look_again()
            return ready
        raise _no_engine(info, mode, routes, accelerators_of(hardware))


def _no_engine(info: ModelInfo, mode: Mode, routes: Sequence[Route], here: Set[Accelerator]) -> NoEngineError:
    """Names the best engine to install; if there is none, why those for this machine cannot serve the model."""
    model = f"{info.architecture} in {info.format}, {info.quantization}, for {mode.value}"
    readers = [
        route for route in routes if info.format in route.backend.formats and not here.isdisjoint(route.backend.suits)
    ]
    if able := [route.backend for route in readers if route.score]:
        best = f"{able[0].title} can. To install it: {able[0].install}"
        return NoEngineError(f"no installed engine can serve this model ({model})", best, DETAILS)
    why = [f"{route.backend.title}: {route.reasons[0]}." for route in readers]
    return NoEngineError(f"no engine can serve this model on this machine ({model})", *why, DETAILS)
