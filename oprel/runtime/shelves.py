"""The programs of all engines, a shelf for each backend, and the choice among backends for a model."""

import asyncio
from collections.abc import Sequence

from oprel.core.config import Config
from oprel.core.exceptions import NoEngineError
from oprel.formats.model_info import ModelInfo
from oprel.runtime.backends.backend import Backend
from oprel.runtime.backends.base import Mode
from oprel.runtime.backends.registry import backends, named
from oprel.runtime.binaries.choices import read_choices
from oprel.runtime.binaries.shelf import Shelf
from oprel.runtime.engines import LLAMA_CPP, programs_of, routes
from oprel.runtime.routing import Route
from oprel.telemetry.hardware import probe


class Shelves:
    """Owner of them. `own` is that of llama.cpp, which the daemon tells of."""

    def __init__(self, config: Config, own: Shelf) -> None:
        self._config = config
        self._shelves = {LLAMA_CPP: own}

    def of(self, backend: Backend) -> Shelf:
        """Its programs as they were when it was first asked for."""
        if backend.name not in self._shelves:
            programs = programs_of(backend, self._config, read_choices(self._config.home_dir))
            self._shelves[backend.name] = Shelf(list(programs), probes=backend.probes)
        return self._shelves[backend.name]

    async def backends(self, info: ModelInfo, mode: Mode, preferred: str) -> list[Backend]:
        """Those that can serve such a model here, best first.

        Raises NoEngineError with the reasons where there is none, ValidationError where there is no such `preferred`.
        """
        if preferred:
            named(preferred)
        able = [backend for backend in backends().values() if info.format in backend.formats]
        if len(able) == 1 and able[0].name in self._shelves:  # nothing to choose, and what is here was found already
            return able
        found = await asyncio.to_thread(lambda: routes(info, probe(), self._config, preferred))
        return [one.backend for one in found if one.is_open and mode in one.backend.modes] or _nowhere(
            info, mode, found
        )


def _nowhere(info: ModelInfo, mode: Mode, found: Sequence[Route]) -> list[Backend]:
    readers = [one for one in found if info.format in one.backend.formats]
    why = "; ".join(f"{one.backend.name}: {', '.join(one.reasons)}" for one in readers)
    steps = [f"Get {one.backend.name}: {one.backend.install}." for one in readers if one.score and not one.installed]
    raise NoEngineError(
        f"no engine here serves such a model for {mode.value} ({why})",
        *steps[:2],
        "`oprel inspect` tells of every engine.",
    )
