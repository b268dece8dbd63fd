"""The memory is measured once, while nothing needs the machine, and a request ends the measurement."""

import asyncio
import itertools
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from oprel.core.config import Config
from oprel.runtime.binaries.engine_binaries import EngineBinaries
from oprel.server.pool import memory_measurement
from oprel.server.pool.memory_measurement import MemoryMeasurement
from oprel.server.pool.planning import Planning
from oprel.telemetry.hardware import bandwidth
from tests.conftest import DEADLINE


@pytest.fixture
def planning(tmp_path: Path) -> Iterator[Planning]:
    planning = Planning(Config(home=str(tmp_path)), EngineBinaries([]))
    yield planning
    planning.close()


async def test_a_quiet_machine_is_measured_and_planned_with(planning: Planning, tmp_path: Path) -> None:
    assert not planning.is_measured and planning.machine.host_bandwidth is None
    assert await MemoryMeasurement(planning, is_quiet=lambda: True).measure()
    assert planning.is_measured and planning.machine.host_bandwidth
    assert (tmp_path / bandwidth.FILE).exists()


async def test_a_request_ends_the_measurement(planning: Planning, tmp_path: Path) -> None:
    looks = itertools.count()
    assert not await MemoryMeasurement(planning, is_quiet=lambda: next(looks) < 2).measure()
    assert not planning.is_measured and not (tmp_path / bandwidth.FILE).exists()


async def test_a_folder_that_cannot_be_written_ends_nothing(planning: Planning, tmp_path: Path) -> None:
    (tmp_path / bandwidth.FILE).mkdir()
    assert not await MemoryMeasurement(planning, is_quiet=lambda: True).measure()


@pytest.mark.parametrize("error", [OSError("no file"), RuntimeError("no thread"), psutil.AccessDenied()])
async def test_an_error_ends_the_measurement_and_nothing_else(
    planning: Planning, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    warned = asyncio.Event()

    def fail() -> float:
        raise error

    monkeypatch.setattr(psutil, "cpu_percent", fail)
    monkeypatch.setattr(memory_measurement.logger, "warning", lambda *words: warned.set())
    async with MemoryMeasurement(planning, is_quiet=lambda: True).at_work():
        await asyncio.wait_for(warned.wait(), DEADLINE)
    assert not planning.is_measured
