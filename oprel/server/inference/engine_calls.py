"""Calls of an engine: repeated with the next engine when it dies under them, with its errors as ours."""

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
from oprel.runtime.conversation.rules import TEMPLATE_REFUSED
from oprel.runtime.engine import EXIT_NOTICE, Engine, EngineLost, EngineRefused, NeverSent, NotRepeated
from oprel.runtime.exits import Exit
from oprel.server.history.metrics import Metrics
from oprel.server.history.quarantine import EngineRequest, Quarantine
from oprel.server.inference.answers.continuation import MOST
from oprel.server.pool.loaded_model import Lease

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

ALONE = 16  # pieces of an answer after which a call has shown that it kills no engine
UNREADABLE = "Failed to parse"  # how llama-server begins what is wrong with tools or messages, with status 500
CONTEXT_EXCEEDED = "exceed_context_size_error"  # llama-server's type of error


class EngineCall:
    """A call of a lease's engine, and of the next one when that dies under it.

    A call that may have killed an engine has the next one to itself, until it is clear that it did not. Raises
    QuarantinedError, at once or at the second engine that it ends.
    """

    def __init__(self, lease: Lease, request: EngineRequest, quarantine: Quarantine, metrics: Metrics) -> None:
        self.lease = lease
        self._request = request
        self._quarantine, self._metrics = quarantine, metrics
        self._pieces: int | None = None  # of the answer, since the call has an engine to itself
        self._check()  # others may have made the same call while this one waited

    async def ask(self, ask: Callable[[], Awaitable[Result]], about_tokens: int = 0) -> Result:
        """What `ask` gets from the engine. Raises EngineRefused or EngineLost."""
        for _ in range(MOST):
            starts = self.lease.engine.starts
            try:
                return await self._at_work(ask, about_tokens)
            except EngineLost as loss:
                if not await self.survives(starts, was_sent=not isinstance(loss, NeverSent)):
                    raise
                await self.revive()
        return await self._at_work(ask, about_tokens)

    async def ask_once(self, ask: Callable[[], Awaitable[Result]], about_tokens: int = 0) -> Result:
        """The same, for a call that ends with this result."""
        result = await self.ask(ask, about_tokens)
        await self.clear()
        return result

    async def survives(self, starts: int, *, can_go_on: bool = True, was_sent: bool = True) -> bool:
        """True when the engine of that start has died, and the next one is to be called."""
        exit = await _how_it_died(self.lease.engine, starts)
        may_be_to_blame = exit is not None and exit.is_blamable and was_sent
        if exit and may_be_to_blame:
            self._strike(exit, starts)
        would_repeat = may_be_to_blame and exit is not None and exit.repeats and self.lease.loaded.leases == 1
        if exit is None or not can_go_on or would_repeat:
            return False
        if not may_be_to_blame:
            await self.lease.grant.take_own()
        elif self.lease.grant.own_count:
            self._pieces = 0
            await self.lease.grant.take_all()
            self._check()
        return True

    async def revive(self) -> None:
        """Have the next engine ready, and hold slots of it. Raises what taking the lease raises."""
        await self.lease.revive()
        await self.lease.grant.settle()

    @property
    def cells(self) -> int:
        """How many cells of the engine the call may use. While it has the engine to itself, it holds more."""
        return self.lease.grant.own_cells

    async def reserve(self, cells: int) -> None:
        """Have at least that number of cells, or as many as the engine's successor gives it. Waits for them in turn."""
        grant = self.lease.grant
        if cells > grant.own_cells:
            grant.own_cells = cells
            if self._pieces is None:
                await grant.take_own()

    def grow(self, most: int, *, leaving: int = 0) -> bool:
        """Have more cells, at most `most`, if more than `leaving` are free now."""
        return self._pieces is None and self.lease.grant.grow(most, leaving=leaving)

    async def progress(self, pieces: int = 1) -> None:
        """Pieces of the answer came."""
        if self._pieces is not None:
            self._pieces += pieces
            if self._pieces >= ALONE:
                await self.clear()

    async def clear(self) -> None:
        """The call did not end the engine before: it would have ended this one by now."""
        self._quarantine.clear_request(self.lease.model.name, self._request)
        if self._pieces is not None:
            self._pieces = None
            await self.lease.grant.take_own()

    async def _at_work(self, ask: Callable[[], Awaitable[Result]], about_tokens: int) -> Result:
        with self.lease.engine.at_work(about_tokens):
            return await ask()

    def _check(self) -> None:
        model = self.lease.model
        self._quarantine.check(model.name, self._request, lambda: model.digest)

    def _strike(self, exit: Exit, starts: int) -> None:
        """Where the GPU may be at fault instead, the request is tried on the CPU before it is refused."""
        model, loaded = self.lease.model, self.lease.loaded
        engine, is_last = (loaded.id, starts), not loaded.may_fail_by_gpu(exit)
        try:
            self._quarantine.strike(model.name, self._request, exit, engine, model.digest, is_last=is_last)
        except QuarantinedError as error:
            loaded.return_to_gpus()
            logger.warning("%s: %s", model.name, error)
            self._metrics.quarantined(model.name)
            raise


async def _how_it_died(engine: Engine, starts: int) -> Exit | None:
    """How the engine of that start ended; None when it did not, or because it was stopped."""
    if engine.was_stopped:
        return None
    return engine.last_exit if engine.starts != starts else await engine.why_it_ended(within=EXIT_NOTICE)


@contextlib.asynccontextmanager
async def engine_errors(engine: Engine) -> AsyncIterator[None]:
    """The engine's errors as ours, in one place."""
    try:
        yield
    except EngineRefused as refusal:
        raise _refused(refusal) from refusal
    except NotRepeated as loss:
        died = engine.last_exit.detail if engine.last_exit else "unknown"
        raise BackendCrashedError(
            f"the engine died while answering ({died}), and the next one did not repeat what was already sent",
            "Ask again; `oprel crash show` tells more.",
        ) from loss
    except EngineLost as loss:
        if engine.was_stopped:
            raise ShuttingDownError("the engine was stopped while it answered", "Ask again.") from loss
        ended = await engine.why_it_ended(within=EXIT_NOTICE)
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
    if refusal.kind == TEMPLATE_REFUSED:
        return ValidationError(
            f"the model's chat template refuses the conversation: {refusal.message}",
            "Leave out what it names, or give the model another template: `oprel create` with a TEMPLATE.",
        )
    if refusal.status == 501:
        return UnsupportedError(refusal.message)
    if "initialize samplers" in refusal.message:  # its grammar does not accept what the prompt ends with
        step = "Leave out the assistant's last message."
        return ValidationError("the answer that the request begins does not fit the format", step)
    if "grammar" in refusal.message:
        step = "Make the format simpler: fewer properties, smaller bounds such as `minItems`."
        return ValidationError(refusal.message, step)
    if refusal.status < 500 or refusal.message.startswith(UNREADABLE):
        return ValidationError(refusal.message)
    return BackendError(f"the engine failed: {refusal.message}", "Ask again; `oprel logs` shows what the engine says.")
