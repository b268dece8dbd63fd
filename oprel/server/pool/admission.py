"""The memory that engines share, and the queue of models that wait for some of it. `scheduling` makes the decisions."""

import asyncio
import contextlib
import itertools
import math
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

from oprel.core.exceptions import InsufficientMemoryError
from oprel.server.pool import scheduling
from oprel.server.pool.scheduling import Amount, Resident, SchedulingDecision, Use, Wanted, total_of
from oprel.utils.process.clock import Clock, Timer


@dataclass(frozen=True)
class WaitingForMemory:
    """A model that has waited for memory for `seconds`, for the reason `why`."""

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
    """Owner of the queue. `engines` are those that hold memory; `apply` closes and evicts engines as decided."""

    def __init__(
        self,
        budget: Callable[[], Amount],
        clock: Clock,
        engines: Callable[[], Sequence[Resident]],
        apply: Callable[[SchedulingDecision], None],
    ) -> None:
        self._budget = budget
        self._clock = clock
        self._engines = engines
        self._apply = apply
        self._queue: dict[int, _Ticket] = {}
        self._numbers = itertools.count(1)
        self._changed = asyncio.Event()
        self._timer: Timer | None = None
        self._has_ended = False

    @property
    def budget(self) -> Amount:
        """What all engines may take together."""
        return self._budget()

    @property
    def waiting(self) -> list[WaitingForMemory]:
        now = self._clock()
        waiting = (ticket for ticket in self._queue.values() if not ticket.admitted)
        return [
            WaitingForMemory(ticket.wanted.name, ticket.wanted.needs, now - ticket.wanted.since, ticket.why)
            for ticket in waiting
        ]

    def check_possible(self, name: str, needs: Amount) -> None:
        """Raises InsufficientMemoryError when so much can never be had."""
        residents = self._residents()
        if why := scheduling.impossible(needs, residents, self.budget):
            pinned = total_of(resident.needs for resident in residents if resident.pinned)
            least = math.ceil(pinned.plus(needs).host / 1024**2)
            lacks_only_vram = pinned.plus(needs).host <= self.budget.host
            setting = f"Set default_max_memory_mb to {least} or more"
            more = "Put fewer layers on the GPU (num_gpu)" if lacks_only_vram else setting
            raise InsufficientMemoryError(
                f"{name} does not fit: {why}",
                "Ask for a smaller context (num_ctx), or use a smaller quantization.",
                more + ("; or unpin a model, or unload it with `oprel stop`." if pinned.total else "."),
            )

    @contextlib.asynccontextmanager
    async def admitted(self, name: str, needs: Amount, *, makes_room: bool) -> AsyncIterator[None]:
        """Wait for that much memory; inside the block it is reserved for the engine that is added there.

        After `end` the wait is over at once, and nothing is reserved.
        """
        number = next(self._numbers)
        wanted = Wanted(id=number, name=name, needs=needs, since=self._clock(), makes_room=makes_room)
        ticket = self._queue[number] = _Ticket(wanted)
        try:
            self.reconsider()
            await self.until(lambda: ticket.admitted or ticket.refusal or self._has_ended)
            if ticket.refusal:
                raise ticket.refusal
            yield
        finally:
            del self._queue[number]
            self.reconsider()

    @property
    def free(self) -> Amount:
        """What engines, including admitted ones, leave of the budget."""
        return self.budget.minus(total_of(resident.needs for resident in self._residents()))

    def fits_now(self, needs: Amount) -> bool:
        """Whether there is memory now, with no other model in front."""
        return not self.waiting and needs.within(self.free)

    async def until(self, happened: Callable[[], object]) -> None:
        """Wait until `happened` holds; it is evaluated after each change of the engines or of the queue."""
        while not happened():
            await self._changed.wait()

    def reconsider(self) -> None:
        """Decide again. Called after every change of an engine's use and of the queue."""
        self._refuse_impossible()
        waiting = [ticket.wanted for ticket in self._queue.values() if not (ticket.admitted or ticket.refusal)]
        decision = scheduling.decide(self._residents(), waiting, self.budget, self._clock())
        for number in decision.admit:
            self._queue[number].admitted = True
        for number, why in decision.waits.items():
            self._queue[number].why = why
        self._apply(decision)
        self._reconsider_at(decision.look_again)
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def end(self) -> None:
        """End every wait, now and later."""
        self._has_ended = True
        self.reconsider()

    def _refuse_impossible(self) -> None:
        """What was possible when it was queued may be so no more."""
        for ticket in self._queue.values():
            if not ticket.admitted:
                try:
                    self.check_possible(ticket.wanted.name, ticket.wanted.needs)
                except InsufficientMemoryError as refusal:
                    ticket.refusal = refusal

    def _reconsider_at(self, moment: float) -> None:
        if self._timer:
            self._timer.cancel()
        if not (math.isinf(moment) or self._has_ended):
            delay = max(0.0, moment - self._clock())
            # uvloop's timers may fire a millisecond before the clock says so.
            self._timer = self._clock.call_later(delay + 0.002, self.reconsider)

    def _residents(self) -> list[Resident]:
        admitted = [ticket.wanted for ticket in self._queue.values() if ticket.admitted]
        return [
            *self._engines(),
            *(Resident(id=-new.id, name=new.name, needs=new.needs, use=Use.LOADING) for new in admitted),
        ]
