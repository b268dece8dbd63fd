"""Pools of engines that are in memory."""

import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Unpack

import pytest

from tests.fixtures.memory_engine import MemoryEngine
from tests.fixtures.pool import MEMORY_DISK, MakePool, MemoryPool, PoolOptions


@pytest.fixture
def memory_folder() -> Iterator[Path]:
    folder = tempfile.mkdtemp(prefix="oprel-", dir=MEMORY_DISK if os.path.isdir(MEMORY_DISK) else None)
    yield Path(folder)
    shutil.rmtree(folder)


@pytest.fixture
async def make_pool(memory_folder: Path) -> AsyncIterator[MakePool]:
    """Make a pool of prepared engines, with settings if need be; all end with the test."""
    pools: list[MemoryPool] = []

    def make(*engines: MemoryEngine, **options: Unpack[PoolOptions]) -> MemoryPool:
        pools.append(MemoryPool(memory_folder, *engines, **options))
        return pools[-1]

    yield make
    for pool in pools:
        await pool.end()


@pytest.fixture
async def pool(make_pool: MakePool) -> MemoryPool:
    """With memory for two models of the usual size, and two slots each."""
    return make_pool()
