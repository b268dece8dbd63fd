"""Engines that misbehave on demand."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from oprel.runtime.binaries.engine_binaries import Binary, BinarySource, EngineBinaries
from oprel.runtime.confinement.limits import EngineLimits
from oprel.runtime.supervisor.child import Ended, RunDir
from oprel.runtime.supervisor.launch import Launch
from oprel.runtime.supervisor.process import EngineProcess
from tests.conftest import temporary_home
from tests.fixtures.fake_engine import install


@pytest.fixture
def folder() -> Iterator[Path]:
    with temporary_home() as folder:
        yield folder


@pytest.fixture
def ends() -> list[Ended]:
    """The ends that oprel did not request."""
    return []


@pytest.fixture
async def engine(folder: Path, ends: list[Ended]) -> AsyncIterator[Callable[..., EngineProcess]]:
    """Make an engine with faults; each further dict of faults is a further binary behind the first."""
    made: list[EngineProcess] = []

    def make(
        *binaries: dict[str, object],
        load_timeout: float = 10.0,
        stall_timeout: float = 30.0,
        limits: EngineLimits = EngineLimits(),  # noqa: B008 - it is frozen
    ) -> EngineProcess:
        programs = [install(folder / str(number), **faults) for number, faults in enumerate(binaries or ({},))]
        candidates = EngineBinaries([Binary(BinarySource.CONFIGURED, (str(program),)) for program in programs])
        socket = folder / f"{len(made)}.sock"
        launch = Launch(
            label="fake",
            run_dir=RunDir(socket, limits=limits),
            arguments=lambda flags: ["--host", str(socket)],
            load_timeout=load_timeout,
            stall_timeout=stall_timeout,
            rests=True,
        )
        made.append(EngineProcess(launch, candidates, on_end=ends.append))
        return made[-1]

    yield make
    await asyncio.gather(*(one.close() for one in made))
