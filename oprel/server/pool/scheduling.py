"""Which engines may be loaded now, and which go to make room for them. Decisions on data: no clock, no process.

- First come, first served. A later request may overtake if it fits in unreserved memory, and for `OVERTAKING` seconds
  may also evict idle engines.
- Idle engines are evicted first: those that load quickly and were not used for long. Pinned ones never are.
- A busy engine is never stopped. When its turn is over it takes no further request and is unloaded with its last
  answer, so that no model waits forever; a turn is long enough that engines do more than load in turns.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from oprel.utils.text import human_size

OVERTAKING = 5.0  # s
SHORTEST_TURN = 2.0  # s that an engine serves before it must make room
LOADS_A_TURN = 2.0  # a turn is at least so many times what its load took


class Amount(NamedTuple):
    """Bytes of the machine's memory, and of the memory that GPUs have for themselves.

    >>> Amount(8, 2).within(Amount(8, 1)), Amount(8, 2).minus(Amount(3, 3))
    (False, Amount(host=5, vram=-1))
    """

    host: int = 0
    vram: int = 0

    def within(self, limit: "Amount") -> bool:
        return self.host <= limit.host and self.vram <= limit.vram

    def plus(self, other: "Amount") -> "Amount":
        return Amount(self.host + other.host, self.vram + other.vram)

    def minus(self, other: "Amount") -> "Amount":
        return Amount(self.host - other.host, self.vram - other.vram)

    def at_most(self, other: "Amount") -> "Amount":
        return Amount(min(self.host, other.host), min(self.vram, other.vram))

    @property
    def not_negative(self) -> "Amount":
        return Amount(max(0, self.host), max(0, self.vram))

    @property
    def total(self) -> int:
        return self.host + self.vram

    def __str__(self) -> str:
        return f"{human_size(self.host)} and {human_size(self.vram)} on GPUs" if self.vram else human_size(self.host)


def total_of(amounts: Iterable[Amount]) -> Amount:
    total = Amount()
    for amount in amounts:
        total = total.plus(amount)
    return total


class Use(Enum):
    LOADING = "loading"
    BUSY = "busy"
    IDLE = "idle"
    LEAVING = "leaving"


@dataclass(frozen=True, kw_only=True)
class Resident:
    """An engine that holds memory. Times in seconds of any steady clock; `closed`: it takes no further request."""

    id: int
    name: str
    needs: Amount
    use: Use
    pinned: bool = False
    closed: bool = False
    ready_at: float = 0.0
    used_at: float = 0.0
    load_seconds: float = 0.0

    def turn_ends(self) -> float:
        return self.ready_at + max(SHORTEST_TURN, LOADS_A_TURN * self.load_seconds)

    def worth(self, now: float) -> float:
        """What it costs to stop it: the time to load it again, which is the likelier the later it was used."""
        return self.load_seconds / (1.0 + max(0.0, now - self.used_at))


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """An engine that requests have waited for since `since`. Without `makes_room` it must not evict others."""

    id: int
    name: str
    needs: Amount
    since: float
    makes_room: bool = True


@dataclass(kw_only=True)
class SchedulingDecision:
    """What to do now, by the engines' ids, with the reasons. At `look_again` time alone changes the decision."""

    admit: list[int] = field(default_factory=list)
    evict: dict[int, str] = field(default_factory=dict)
    close: set[int] = field(default_factory=set)
    waits: dict[int, str] = field(default_factory=dict)
    look_again: float = math.inf


def impossible(needs: Amount, residents: Sequence[Resident], budget: Amount) -> str | None:
    """Why so much can never be had, or None when it can."""
    pinned = total_of(resident.needs for resident in residents if resident.pinned)
    if needs.within(budget.minus(pinned)):
        return None
    beside = f", of which pinned models take {pinned}" if pinned.total else ""
    return f"it needs {needs}, and models may take {budget}{beside}"


def decide(residents: Sequence[Resident], wanted: Sequence[Wanted], budget: Amount, now: float) -> SchedulingDecision:
    """`wanted` in the order of arrival.

    >>> old = Resident(id=1, name="old", needs=Amount(60), use=Use.IDLE)
    >>> new = Wanted(id=2, name="new", needs=Amount(50), since=0.0)
    >>> decide([old], [new], budget=Amount(100), now=30.0).evict
    {1: 'idle for 30 s; new needs 50 B, and 40 B of 100 B are free'}
    """
    decision = SchedulingDecision()
    memory = _Memory(residents, budget)
    for model in wanted:
        if model.needs.within(memory.free):
            decision.admit.append(model.id)
            memory.free = memory.free.minus(model.needs)
        elif model.makes_room:
            _make_room(model, memory, decision, now)
        else:
            decision.waits[model.id] = f"{model.needs} must be free, and no engine is stopped for it"
    return decision


class _Memory:
    """What is left while the wanted ones are considered in turn; `coming` is the memory of engines that are leaving."""

    def __init__(self, residents: Sequence[Resident], budget: Amount) -> None:
        self.budget = budget
        self.free = budget.minus(total_of(resident.needs for resident in residents))
        self.coming = total_of(resident.needs for resident in residents if resident.use is Use.LEAVING)
        self.residents = [other for other in residents if other.use is not Use.LEAVING and not other.pinned]

    def candidates(self, now: float) -> list[Resident]:
        """Engines that may have to leave, in this order: idle ones, then busy ones whose turn is over."""
        may_go = [resident for resident in self.residents if _may_go(resident, now)]
        return sorted(may_go, key=lambda each: (each.use is Use.BUSY, not each.closed, each.worth(now)))

    def promise(self, wanted: Amount, victims: Sequence[Resident]) -> None:
        """Reserve what the wanted one will take. Of the rest, no more is free now than there is now."""
        there = total_of([self.free, self.coming, *(victim.needs for victim in victims)])
        left = there.minus(wanted).not_negative
        self.free = self.free.at_most(left).not_negative
        self.coming = left.minus(self.free)
        gone = {victim.id for victim in victims}
        self.residents = [resident for resident in self.residents if resident.id not in gone]


def _make_room(model: Wanted, memory: _Memory, decision: SchedulingDecision, now: float) -> None:
    short = model.needs.minus(memory.free).minus(memory.coming)
    victims = _enough(short, memory.candidates(now))
    if victims is None:
        turns = [resident.turn_ends() for resident in memory.residents if resident.use is Use.BUSY]
        decision.look_again = min([decision.look_again, *(end for end in turns if end > now)])
        decision.waits[model.id] = f"{_names(memory.residents) or 'others'} must have had their turn"
        if now - model.since >= OVERTAKING:
            memory.promise(model.needs, memory.residents)
    elif busy := [victim for victim in victims if victim.use is Use.BUSY]:
        decision.close |= {victim.id for victim in busy}
        decision.waits[model.id] = f"{_names(busy)} must finish earlier requests"
        if now - model.since >= OVERTAKING:
            memory.promise(model.needs, victims)
    else:
        need = f"{model.name} needs {model.needs}, and {memory.free.not_negative}"
        for victim in victims:
            idle = f"idle for {now - victim.used_at:.0f} s"
            decision.evict[victim.id] = f"{idle}; {need} of {memory.budget} are free"
        decision.waits[model.id] = f"{_names(victims) or 'others'} must have ended"
        memory.promise(model.needs, victims)


def _may_go(resident: Resident, now: float) -> bool:
    return resident.use is Use.IDLE or (resident.use is Use.BUSY and resident.turn_ends() <= now)


def _enough(short: Amount, candidates: Sequence[Resident]) -> list[Resident] | None:
    """The first candidates that make up for what is short, without those that the others make needless."""
    chosen: list[Resident] = []
    for candidate in candidates:
        if short.within(total_of(victim.needs for victim in chosen)):
            break
        chosen.append(candidate)
    if not short.within(total_of(victim.needs for victim in chosen)):
        return None
    for victim in reversed(chosen):
        others = [other for other in chosen if other is not victim]
        if short.within(total_of(other.needs for other in others)):
            chosen = others
    return chosen


def _names(residents: Sequence[Resident]) -> str:
    return ", ".join(resident.name for resident in residents)
