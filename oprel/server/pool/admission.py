"""The memory that engines share, and the line of those who wait for some of it. Decisions are made in `scheduling`."""

import asyncio
import contextlib
import itertools
import logging
import math
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

from oprel.core.exceptions import InsufficientMemoryError
from oprel.server.pool import scheduling
from oprel.server.pool.loaded_model import LoadedModel
from oprel.server.pool.scheduling import Amount, Resident, SchedulingDecision, Use, Wanted, amount

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Waiting:
    """A model that waits for memory since so many seconds."""

    name: str
    needs: Amount
    seconds: float
    why: str


@dataclass
class _Ticket:
    wanted: Wanted
    why: str = ""
    admitted: bool = False
    refusal: InsufficientMemoryError | None = None  # another model was pinned meanwhile


class AdmissionQueue:
    """Owner of the line. `engines` gives those that have memory, `evict` stops an idle one, for a reason in words."""

    def __init__(
        self,
        budget: Amount,
        clock: Callable[[], float],
        engines: Callable[[], Sequence[LoadedModel]],
        evict: Callable[[LoadedModel, str], None],
    ) -> None:
        self.budget = budget
        self._clock = clock
        self._engines = engines
        self._evict = evict
        self._line: dict[int, _Ticket] = {}
        self._numbers = itertools.count(1)
        self._changed = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._has_ended = False

    @property
    def waiting(self) -> list[Waiting]:
        now = self._clock()
        line = (ticket for ticket in self._line.values() if not ticket.admitted)
        return [Waiting(one.wanted.name, one.wanted.needs, now - one.wanted.since, one.why) for one in line]

    def check_possible(self, name: str, needs: Amount) -> None:
        """Raises InsufficientMemoryError when so much can never be had."""
        residents = self._residents()
        if why := scheduling.impossible(needs, residents, self.budget):
            pinned = amount(one.needs for one in residents if one.pinned)
            least = math.ceil(pinned.plus(needs).host / 1024**2)
            raise InsufficientMemoryError(
                f"{name} does not fit: {why}",
                "Ask for a smaller context (num_ctx), or use a smaller quantization.",
                f"Set default_max_memory_mb to {least} or more"
                + ("; or unpin a model, or let it go with `oprel stop`." if pinned.total else "."),
            )

    @contextlib.asynccontextmanager
    async def entered(self, name: str, needs: Amount, *, makes_room: bool) -> AsyncIterator[None]:
        """Wait until that is there; inside the block it is kept for the engine that is made in it.

        After `end` nobody waits, and nothing is kept.
        """
        number = next(self._numbers)
        ticket = self._line[number] = _Ticket(Wanted(number, name, needs, self._clock(), makes_room))
        try:
            self.reconsider()
            await self.until(lambda: ticket.admitted or ticket.refusal or self._has_ended)
            if ticket.refusal:
                raise ticket.refusal
            yield
        finally:
            del self._line[number]
            self.reconsider()

    @property
    def free(self) -> Amount:
        """What is left beside the engines there are, and those that are about to be."""
        return self.budget.minus(amount(one.needs for one in self._residents()))

    def would_fit(self, needs: Amount) -> bool:
        """Whether there is room now, with nobody in front."""
        return not self.waiting and needs.within(self.free)

    async def empty(self, beside: LoadedModel) -> bool:
        """Stop every idle engine but `beside`; True once they are gone, False when there was none."""
        victims = [one for one in self._engines() if one is not beside and one.may_go]
        for victim in victims:
            self._evict(victim, f"{beside.model.name} ran out of memory")
        await self.until(lambda: not any(one in self._engines() for one in victims))
        return bool(victims)

    async def until(self, happened: Callable[[], object]) -> None:
        """Wait for a change of engines, or of who waits, after which it has happened."""
        while not happened():
            await self._changed.wait()

    def reconsider(self) -> None:
        """Decide anew: after every change of an engine's use, and of the line."""
        self._check_line()
        engines = {engine.id: engine for engine in self._engines()}
        line = [ticket.wanted for ticket in self._line.values() if not (ticket.admitted or ticket.refusal)]
        plan = scheduling.decide(self._residents(), line, self.budget, self._clock())
        for number in plan.admit:
            self._line[number].admitted = True
        for number, why in plan.waits.items():
            self._line[number].why = why
        for number, engine in engines.items():
            engine.closed = number in plan.close
        for number, why in plan.evict.items():
            self._evict(engines[number], why)
        self._look_again(plan)
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def _check_line(self) -> None:
        """What could be had when it was asked for may be so no more."""
        for ticket in self._line.values():
            if not ticket.admitted:
                try:
                    self.check_possible(ticket.wanted.name, ticket.wanted.needs)
                except InsufficientMemoryError as refusal:
                    ticket.refusal = refusal

    def end(self) -> None:
        """Let nobody wait any more."""
        self._has_ended = True
        self.reconsider()

    def _look_again(self, plan: SchedulingDecision) -> None:
        if self._timer:
            self._timer.cancel()
        if not (math.isinf(plan.look_again) or self._has_ended):
            delay = max(0.0, plan.look_again - self._clock())
            # uvloop's timers may fire a millisecond before the clock says so.
            self._timer = asyncio.get_running_loop().call_later(delay + 0.002, self.reconsider)

    def _residents(self) -> list[Resident]:
        coming = [ticket.wanted for ticket in self._line.values() if ticket.admitted]
        return [
            *(engine.as_resident() for engine in self._engines()),
            *(Resident(-one.id, one.name, one.needs, Use.LOADING) for one in coming),
        ]
