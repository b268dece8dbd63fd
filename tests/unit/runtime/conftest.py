"""Engines that misbehave on demand."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from oprel.runtime.binaries.shelf import Binary, Shelf, Source
from oprel.runtime.launch import Launch
from oprel.runtime.os_process.child import Ended, Place
from oprel.runtime.process import EngineProcess
from tests.conftest import temporary_home
from tests.fixtures.fake_engine import install


@pytest.fixture
def folder() -> Iterator[Path]:
    with temporary_home() as folder:
        yield folder


@pytest.fixture
def ends() -> list[Ended]:
    """The ends that nobody asked for."""
    return []


@pytest.fixture
async def engine(folder: Path, ends: list[Ended]) -> AsyncIterator[Callable[..., EngineProcess]]:
    """Make an engine with faults; each further dict of faults is another binary on the shelf behind the first."""
    made: list[EngineProcess] = []

    def make(*binaries: dict[str, object], load_timeout: float = 10.0, stall_timeout: float = 30.0) -> EngineProcess:
        programs = [install(folder / str(number), **faults) for number, faults in enumerate(binaries or ({},))]
        shelf = Shelf([Binary(Source.CONFIGURED, (str(program),)) for program in programs])
        socket = folder / f"{len(made)}.sock"
        launch = Launch("fake", Place(socket), lambda flags: ["--host", str(socket)], load_timeout, stall_timeout)
        made.append(EngineProcess(launch, shelf, on_end=ends.append))
        return made[-1]

    yield make
    await asyncio.gather(*(one.close() for one in made))
