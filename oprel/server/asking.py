"""Asking an engine: again when it died under the question, and its errors as ours."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

from oprel.core.exceptions import (
    BackendCrashedError,
    BackendError,
    ContextLengthError,
    OprelError,
    ShuttingDownError,
    UnsupportedError,
    ValidationError,
)
from oprel.runtime.backends.base import EngineLost, EngineRefused
from oprel.runtime.exits import Exit
from oprel.runtime.process import EngineProcess, State
from oprel.server.loaded import Lease
from oprel.server.quarantine import is_blamable
from oprel.server.survival import MOST

Answer = TypeVar("Answer")

EXIT_NOTICE = 0.5  # s to wait for the exit that a broken connection announces
CONTEXT_EXCEEDED = "exceed_context_size_error"  # llama-server's type of error


async def enduring(lease: Lease, ask: Callable[[], Awaitable[Answer]], about_tokens: int = 0) -> Answer:
    """What `ask` gets from the engine, asked anew of the next one when it dies. Raises EngineRefused or EngineLost."""
    for _ in range(MOST):
        starts = lease.process.starts
        try:
            return await _asked(lease, ask, about_tokens)
        except EngineLost:
            ended = await how_it_died(lease.process, starts)
            if ended is None:
                raise
            if is_blamable(ended) and lease.held.count:  # what may have killed it goes on alone
                await lease.held.all_of_them()
            await lease.revive()
    return await _asked(lease, ask, about_tokens)


async def _asked(lease: Lease, ask: Callable[[], Awaitable[Answer]], about_tokens: int) -> Answer:
    with lease.process.at_work(about_tokens):
        return await ask()


async def how_it_died(process: EngineProcess, starts: int) -> Exit | None:
    """How the engine of that start ended; None when it did not, or because we stopped it."""
    if process.state in (State.DRAINING, State.STOPPED):
        return None
    return process.last_exit if process.starts != starts else await process.why_it_ended(within=EXIT_NOTICE)


@contextlib.asynccontextmanager
async def engine_errors(process: EngineProcess) -> AsyncIterator[None]:
    """The engine's errors as ours, in one place."""
    try:
        yield
    except EngineRefused as refusal:
        raise _refused(refusal) from refusal
    except EngineLost as loss:
        if process.state in (State.DRAINING, State.STOPPED):
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
    return (
        ValidationError(refusal.message)
        if refusal.status < 500
        else BackendError(f"the engine failed: {refusal.message}")
    )
