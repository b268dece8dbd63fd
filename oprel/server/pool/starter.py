"""Gets an engine ready: starts it again after its end, with less if memory ran out, or as the model's next backend."""

from collections.abc import Awaitable, Callable

from oprel.core.exceptions import BackendStartError
from oprel.runtime.engine import Engine
from oprel.runtime.exits import Restart
from oprel.server.pool.launcher import Launcher
from oprel.server.pool.loaded_model import LoadedModel

FAILURES = 2  # ends on a GPU after which an engine that has served is run without it


class EngineStarter:
    """`evict_idle` stops the idle engines beside one, and says whether there were any; `is_alone` asks about others."""

    def __init__(
        self, launcher: Launcher, evict_idle: Callable[[LoadedModel], Awaitable[bool]], is_alone: Callable[[], bool]
    ) -> None:
        self._launcher = launcher
        self._evict_idle = evict_idle
        self._is_alone = is_alone

    async def make_ready(self, loaded: LoadedModel, *, makes_room: bool) -> None:
        """Start the engine if it does not run: with `makes_room` with less if need be; else the model's next backend.

        Raises BackendError, NoEngineError or ShuttingDownError.
        """
        was_killed = False
        while True:
            engine = loaded.engine
            if engine.is_down and not await self._step_down(loaded, makes_room=makes_room, at_load=False):
                await self._leave_gpus(loaded, at_load=False)
            try:
                return await engine.ensure_ready()
            except BackendStartError:
                by_others = engine.last_exit is not None and engine.last_exit.restart is Restart.EXTERNAL
                if await self._step_down(loaded, makes_room=makes_room, at_load=True):
                    continue
                if await self._leave_gpus(loaded, at_load=True):
                    continue
                if (was_killed or not by_others) and not self._fall_back(loaded, engine):
                    raise
                was_killed |= by_others

    async def _step_down(self, loaded: LoadedModel, *, makes_room: bool, at_load: bool) -> bool:
        """After an engine ran out of memory: True when it has more room than before, or needs less."""
        exit, shortage = loaded.engine.last_exit, loaded.shortage
        if not makes_room or exit is None or exit.restart is not Restart.STEP_DOWN:
            return False
        async with shortage.lock:
            if shortage.handled_start == loaded.engine.starts:  # another request has done so
                return True
            if not await self._evict_idle(loaded) and not self._give_up_some(loaded, at_load=at_load):
                return False
            shortage.handled_start = loaded.engine.starts
            return True

    def _give_up_some(self, loaded: LoadedModel, *, at_load: bool) -> bool:
        """Start with less from now on. What is given up beside others, which may go, is not remembered."""
        loaded.shortage.alone &= self._is_alone()
        decision = self._launcher.with_less(loaded, at_load=at_load)
        if decision:
            loaded.step_down(decision)
        return decision is not None

    async def _leave_gpus(self, loaded: LoadedModel, *, at_load: bool) -> bool:
        """After a failure on a GPU: True when the engine is to run on the CPU from now on.

        One that has served is first started again as it was: a driver recovers, and another request may do no harm.
        """
        exit, shortage = loaded.engine.last_exit, loaded.shortage
        if exit is None or not loaded.may_fail_by_gpu(exit):
            return False
        async with shortage.lock:
            if shortage.handled_start == loaded.engine.starts:  # another request has done so
                return True
            if not at_load and loaded.gpu_failures < FAILURES:
                return False
            decision = self._launcher.without_gpus(loaded)
            if decision:
                loaded.leave_gpus(decision, f"the GPU failed ({exit.detail})")
                shortage.handled_start = loaded.engine.starts
            return decision is not None

    def _fall_back(self, loaded: LoadedModel, failed: Engine) -> bool:
        """Have the next backend serve the model, as `failed` did not start; False when there is none."""
        if loaded.engine is not failed:  # another request has done so
            return True
        fallback = self._launcher.fallback(loaded)
        if fallback:
            loaded.fall_back(fallback.decision, fallback.engine, fallback.note)
        return fallback is not None
