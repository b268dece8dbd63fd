"""Asking an engine: again when it died under the question, and its errors as ours."""

import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

from oprel.core.exceptions import (
    BackendCrashedError,
    BackendError,
    ContextLengthError,
    OprelError,
    QuarantinedError,
    ShuttingDownError,
    UnsupportedError,
    ValidationError,
)
from oprel.runtime.engine import EngineLost, EngineRefused, NotRepeated
from oprel.runtime.exits import Exit
from oprel.runtime.supervisor.process import EngineProcess, EngineState
from oprel.server.inference.continuation import MOST
from oprel.server.pool.loaded_model import Lease
from oprel.server.pool.manager import ModelManager
from oprel.server.pool.quarantine import EngineRequest

logger = logging.getLogger(__name__)

Answer = TypeVar("Answer")

ALONE = 16  # pieces of an answer
EXIT_NOTICE = 0.5  # s to wait for the exit that a broken connection announces
CONTEXT_EXCEEDED = "exceed_context_size_error"  # llama-server's type of error


class EngineCall:
    """Something that is asked of a lease's engine, and of the next one when that dies under it.

    What may have killed an engine has the next one for itself, until it is clear that it did not. Raises
    QuarantinedError, from the beginning or at the second engine that it ends.
    """

    def __init__(self, manager: ModelManager, lease: Lease, asked: EngineRequest) -> None:
        self.lease = lease
        self._quarantine, self._metrics = manager.quarantine, manager.metrics
        self._asked = asked
        self._places = lease.held.count
        self._heard: int | None = None  # pieces of an answer since it goes alone
        self._check()  # others may have asked the same while this one waited

    async def put(self, ask: Callable[[], Awaitable[Answer]], about_tokens: int = 0) -> Answer:
        """What `ask` gets from the engine. Raises EngineRefused or EngineLost."""
        for _ in range(MOST):
            starts = self.lease.process.starts
            try:
                return await self._put(ask, about_tokens)
            except EngineLost:
                if not await self.survives(starts):
                    raise
                await self.lease.revive()
        return await self._put(ask, about_tokens)

    async def settle(self, ask: Callable[[], Awaitable[Answer]], about_tokens: int = 0) -> Answer:
        """The same, where that is all there is to ask."""
        answer = await self.put(ask, about_tokens)
        await self.absolve()
        return answer

    async def survives(self, starts: int, *, can_go_on: bool = True) -> bool:
        """True when the engine of that start has died, and the question is to be put to the next one."""
        ended = await _how_it_died(self.lease.process, starts)
        if ended and ended.is_blamable:
            self._strike(ended, starts)
        if ended is None or not can_go_on:
            return False
        if not ended.is_blamable:
            await self.lease.held.instead(self._places)
        elif self._places:
            self._heard = 0
            await self.lease.held.all_of_them()
            self._check()
        return True

    async def hear(self) -> None:
        """A piece of its answer came."""
        if self._heard is not None:
            self._heard += 1
            if self._heard == ALONE:
                await self.absolve()

    async def absolve(self) -> None:
        """It has not ended the engine before: it would have ended this one by now."""
        self._quarantine.clear_request(self.lease.model.name, self._asked)
        if self._heard is not None:
            self._heard = None
            await self.lease.held.instead(self._places)

    async def _put(self, ask: Callable[[], Awaitable[Answer]], about_tokens: int) -> Answer:
        with self.lease.process.at_work(about_tokens):
            return await ask()

    def _check(self) -> None:
        self._quarantine.check(self.lease.model.name, self._asked)

    def _strike(self, ended: Exit, starts: int) -> None:
        try:
            self._quarantine.strike(self.lease.model.name, self._asked, ended, (self.lease.loaded.id, starts))
        except QuarantinedError as error:
            logger.warning("%s: %s", self.lease.model.name, error)
            self._metrics.quarantined(self.lease.model.name)
            raise


async def _how_it_died(process: EngineProcess, starts: int) -> Exit | None:
    """How the engine of that start ended; None when it did not, or because we stopped it."""
    if process.state in (EngineState.DRAINING, EngineState.STOPPED):
        return None
    return process.last_exit if process.starts != starts else await process.why_it_ended(within=EXIT_NOTICE)


@contextlib.asynccontextmanager
async def engine_errors(process: EngineProcess) -> AsyncIterator[None]:
    """The engine's errors as ours, in one place."""
    try:
        yield
    except EngineRefused as refusal:
        raise _refused(refusal) from refusal
    except NotRepeated as loss:
        died = process.last_exit.detail if process.last_exit else "unknown"
        raise BackendCrashedError(
            f"the engine died while answering ({died}), and the next one did not repeat what was told so far",
            "Ask again; `oprel crash show` tells more.",
        ) from loss
    except EngineLost as loss:
        if process.state in (EngineState.DRAINING, EngineState.STOPPED):
            raise ShuttingDownError("the engine was stopped while it answered", "Ask again.") from loss
        ended = await process.why_it_ended(within=EXIT_NOTICE)
        if ended is None:
            raise BackendError(f"the engine broke off its answer: {loss}", "Ask again.") from loss
        raise BackendCrashedError(f"the engine died while answering: {ended.detail}", ended.advice) from loss


def is_too_long(refusal: EngineRefused) -> bool:
    """Whether the prompt, or an input, has more tokens than the engine takes."""
    return refusal.kind == CONTEXT_EXCEEDED or "too large to process" in refusal.message


def _refused(refusal: EngineRefused) -> OprelError:
    if refusal.kind == CONTEXT_EXCEEDED:
        return ContextLengthError(
            f"the prompt is longer than the context length: {refusal.message}",
            "Shorten it, or ask for a larger `num_ctx` if the model allows one.",
        )
    if refusal.status == 501:
        return UnsupportedError(refusal.message)
    if "grammar" in refusal.message:
        step = "Make the format simpler: fewer properties, smaller bounds such as `minItems`."
        return ValidationError(refusal.message, step)
    if refusal.status < 500:
        return ValidationError(refusal.message)
    return BackendError(f"the engine failed: {refusal.message}", "Ask again; `oprel logs` shows what the engine says.")
