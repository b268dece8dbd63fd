"""Measures the machine's memory once, in the first second in which nothing needs the CPU. It delays no request."""

import asyncio
import contextlib
import logging
import threading
from collections.abc import AsyncIterator, Callable

import anyio

from oprel.server.pool.planning import Planning
from oprel.utils.text import human_size

logger = logging.getLogger(__name__)

QUIET_SECONDS = 1.0  # without a request, and with an idle CPU, before a measurement
QUIET_PERCENT = 10.0  # of the CPU: the most that others may use then
MOST_PAUSE = 300.0  # s between looks at a busy machine; the first ones are shorter
MEASURING_SECONDS = 0.25
LOOK_SECONDS = 0.005  # between looks for a request, while measuring


class MemoryMeasurement:
    """Measures for `planning` while `is_quiet` says that no request is in flight, and no engine loads."""

    def __init__(self, planning: Planning, is_quiet: Callable[[], bool]) -> None:
        self._planning = planning
        self._is_quiet = is_quiet

    @contextlib.asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        """Measure inside the block, if the machine is not measured yet."""
        async with anyio.create_task_group() as group:
            group.start_soon(self._measure_once)
            yield
            group.cancel_scope.cancel()

    async def _measure_once(self) -> None:
        try:
            await self._until_measured()
        except (OSError, RuntimeError) as error:  # the daemon works without it
            logger.warning("how fast the machine reads its memory cannot be measured: %s", error)

    async def _until_measured(self) -> None:
        pause = 0.0
        while not self._planning.is_measured:
            await asyncio.sleep(pause)
            if await self._stays_quiet() and await self.measure():
                return
            pause = min(MOST_PAUSE, 2 * pause + QUIET_SECONDS)

    async def _stays_quiet(self) -> bool:
        await asyncio.to_thread(_cpu_percent)
        await asyncio.sleep(QUIET_SECONDS)
        return await asyncio.to_thread(_cpu_percent) < QUIET_PERCENT and self._is_quiet()

    async def measure(self) -> bool:
        """Whether a measurement was finished and kept. A request that comes ends it."""
        stop = threading.Event()
        measuring = asyncio.get_running_loop().run_in_executor(None, self._planning.measure, MEASURING_SECONDS, stop)
        try:
            while self._is_quiet() and not (await asyncio.wait([measuring], timeout=LOOK_SECONDS))[0]:
                pass
        finally:
            stop.set()
        rates = await measuring
        if rates is None:
            return False
        try:
            self._planning.keep(rates)
        except OSError as error:
            logger.warning("how fast the machine reads its memory cannot be kept: %s", error)
            return False
        logger.info("the machine reads %s/s of its memory", human_size(rates.memory))
        return True


def _cpu_percent() -> float:
    """How busy the CPU was since the last call. Raises OSError."""
    import psutil  # imported late: it takes 20 ms

    try:
        return psutil.cpu_percent()
    except psutil.Error as error:
        raise OSError(f"how busy the CPU is cannot be read: {error}") from error
