"""Which engines may be loaded now, and which go to make room for them. Decisions on data: no clock, no process.

- Memory is given in the order in which it was asked for. Who fits beside all that were promised memory before is not
  kept waiting by them, nor, for the first `PATIENCE` seconds of their wait, who fits by stopping idle engines.
- Idle engines go first: those that are quick to load and were not used for long. A pinned one never goes.
- A busy one is never stopped. When its turn is over it takes no further request and goes with its last answer, so that
  nobody waits for ever; a turn is long enough that engines do more than load in turns.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from oprel.utils.text import human_size

PATIENCE = 5.0  # s
SHORTEST_TURN = 2.0  # s that an engine serves before it must make room
LOADS_A_TURN = 2.0  # a turn is at least so many times what its load took


class Amount(NamedTuple):
    """Bytes of the machine's memory, and of the memory that GPUs have for themselves.

    >>> Amount(8, 2).within(Amount(8, 1)), Amount(8, 2).minus(Amount(3, 3))
    (False, Amount(host=5, vram=-1))
    """

    host: int = 0
    vram: int = 0

    def within(self, room: "Amount") -> bool:
        return self.host <= room.host and self.vram <= room.vram

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


def amount(needs: Iterable[Amount]) -> Amount:
    """All of them together."""
    total = Amount()
    for one in needs:
        total = total.plus(one)
    return total


class Use(Enum):
    LOADING = "loading"
    BUSY = "busy"
    IDLE = "idle"
    LEAVING = "leaving"


@dataclass(frozen=True)
class Resident:
    """An engine that has memory. Times in seconds of any steady clock; `closed`: it takes no request already."""

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
        """What it costs to stop it: the time to load it again, the likelier the later it was used."""
        return self.load_seconds / (1.0 + max(0.0, now - self.used_at))


@dataclass(frozen=True)
class Wanted:
    """An engine that somebody waits for since `since`; `makes_room` is False for one that must not push others out."""

    id: int
    name: str
    needs: Amount
    since: float
    makes_room: bool = True


@dataclass
class SchedulingDecision:
    """What to do now, by the engines' ids; with the reasons. `look_again` is when time alone changes the decision."""

    admit: list[int] = field(default_factory=list)
    evict: dict[int, str] = field(default_factory=dict)
    close: set[int] = field(default_factory=set)
    waits: dict[int, str] = field(default_factory=dict)
    look_again: float = math.inf


def impossible(needs: Amount, residents: Sequence[Resident], budget: Amount) -> str | None:
    """Why so much can never be had, or None when it can."""
    pinned = amount(one.needs for one in residents if one.pinned)
    if needs.within(budget.minus(pinned)):
        return None
    beside = f", of which pinned models take {pinned}" if pinned.total else ""
    return f"it needs {needs}, and models may take {budget}{beside}"


def decide(residents: Sequence[Resident], wanted: Sequence[Wanted], budget: Amount, now: float) -> SchedulingDecision:
    """`wanted` in the order of asking.

    >>> old = Resident(1, "old", Amount(60), Use.IDLE)
    >>> decide([old], [Wanted(2, "new", Amount(50), since=0.0)], budget=Amount(100), now=30.0).evict
    {1: 'idle for 30 s; new needs 50 B, and 40 B of 100 B are free'}
    """
    plan = SchedulingDecision()
    memory = _Memory(residents, budget)
    for one in wanted:
        if one.needs.within(memory.free):
            plan.admit.append(one.id)
            memory.free = memory.free.minus(one.needs)
        elif one.makes_room:
            _make_room(one, memory, plan, now)
        else:
            plan.waits[one.id] = f"{one.needs} must be free, and nobody goes for it"
    return plan


class _Memory:
    """What is left while the wanted ones are gone through; `coming` is that of engines that leave."""

    def __init__(self, residents: Sequence[Resident], budget: Amount) -> None:
        self.budget = budget
        self.free = budget.minus(amount(one.needs for one in residents))
        self.coming = amount(one.needs for one in residents if one.use is Use.LEAVING)
        self.residents = [one for one in residents if one.use is not Use.LEAVING and not one.pinned]

    def candidates(self, now: float) -> list[Resident]:
        """Who may have to go, in this order: the idle ones, then the busy ones whose turn is over."""
        may_go = [one for one in self.residents if _may_go(one, now)]
        return sorted(may_go, key=lambda one: (one.use is Use.BUSY, not one.closed, one.worth(now)))

    def promise(self, wanted: Amount, victims: Sequence[Resident]) -> None:
        """Keep what the wanted one will take; of what is left then, no more is free now than there is now."""
        there = amount([self.free, self.coming, *(one.needs for one in victims)])
        left = there.minus(wanted).not_negative
        self.free = self.free.at_most(left).not_negative
        self.coming = left.minus(self.free)
        gone = {one.id for one in victims}
        self.residents = [one for one in self.residents if one.id not in gone]


def _make_room(one: Wanted, memory: _Memory, plan: SchedulingDecision, now: float) -> None:
    short = one.needs.minus(memory.free).minus(memory.coming)
    victims = _enough(short, memory.candidates(now))
    if victims is None:
        turns = [other.turn_ends() for other in memory.residents if other.use is Use.BUSY]
        plan.look_again = min([plan.look_again, *(end for end in turns if end > now)])
        plan.waits[one.id] = f"{_names(memory.residents) or 'others'} must have had their turn"
        if now - one.since >= PATIENCE:
            memory.promise(one.needs, memory.residents)
    elif busy := [victim for victim in victims if victim.use is Use.BUSY]:
        plan.close |= {victim.id for victim in busy}
        plan.waits[one.id] = f"{_names(busy)} must finish what was asked before"
        if now - one.since >= PATIENCE:
            memory.promise(one.needs, victims)
    else:
        need = f"{one.name} needs {one.needs}, and {memory.free.not_negative}"
        for victim in victims:
            idle = f"idle for {now - victim.used_at:.0f} s"
            plan.evict[victim.id] = f"{idle}; {need} of {memory.budget} are free"
        plan.waits[one.id] = f"{_names(victims) or 'others'} must have ended"
        memory.promise(one.needs, victims)


def _may_go(one: Resident, now: float) -> bool:
    return one.use is Use.IDLE or (one.use is Use.BUSY and one.turn_ends() <= now)


def _enough(short: Amount, candidates: Sequence[Resident]) -> list[Resident] | None:
    """The first candidates that make up for what is short, without those that the others make needless."""
    chosen: list[Resident] = []
    for one in candidates:
        if short.within(amount(other.needs for other in chosen)):
            break
        chosen.append(one)
    if not short.within(amount(one.needs for one in chosen)):
        return None
    for one in reversed(chosen):
        others = [other for other in chosen if other is not one]
        if short.within(amount(other.needs for other in others)):
            chosen = others
    return chosen


def _names(residents: Sequence[Resident]) -> str:
    return ", ".join(one.name for one in residents)
