"""Which engines may be loaded now, and which go to make room for them. Decisions on data: no clock, no process.

- Memory is given in the order in which it was asked for. Who fits beside all that were promised memory before is not
  kept waiting by them, nor, for the first `PATIENCE` seconds of their wait, who fits by stopping idle engines.
- Idle engines go first: those that are quick to load and were not used for long. A pinned one never goes.
- A busy one is never stopped. When its turn is over it takes no further request and goes with its last answer, so that
  nobody waits for ever; a turn is long enough that engines do more than load in turns.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum

from oprel.utils.text import human_size

PATIENCE = 5.0  # s
SHORTEST_TURN = 2.0  # s that an engine serves before it must make room
LOADS_A_TURN = 2.0  # a turn is at least so many times what its load took


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
    bytes: int
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
    bytes: int
    since: float
    makes_room: bool = True


@dataclass
class Plan:
    """What to do now, by the engines' ids; with the reasons. `look_again` is when time alone changes the decision."""

    admit: list[int] = field(default_factory=list)
    evict: dict[int, str] = field(default_factory=dict)
    close: set[int] = field(default_factory=set)
    waits: dict[int, str] = field(default_factory=dict)
    look_again: float = math.inf


def impossible(wanted: int, residents: Sequence[Resident], budget: int) -> str | None:
    """Why so many bytes can never be had, or None when they can."""
    pinned = sum(one.bytes for one in residents if one.pinned)
    if wanted <= budget - pinned:
        return None
    beside = f", of which pinned models take {human_size(pinned)}" if pinned else ""
    return f"it needs {human_size(wanted)}, and models may take {human_size(budget)}{beside}"


def decide(residents: Sequence[Resident], wanted: Sequence[Wanted], budget: int, now: float) -> Plan:
    """`wanted` in the order of asking.

    >>> old = Resident(1, "old", 60, Use.IDLE)
    >>> decide([old], [Wanted(2, "new", 50, since=0.0)], budget=100, now=30.0).evict
    {1: 'idle for 30 s; new needs 50 B, and 40 B of 100 B are free'}
    """
    plan = Plan()
    memory = _Memory(residents, budget)
    for one in wanted:
        if one.bytes <= memory.free:
            plan.admit.append(one.id)
            memory.free -= one.bytes
        elif one.makes_room:
            _make_room(one, memory, plan, now)
        else:
            plan.waits[one.id] = f"{human_size(one.bytes)} must be free, and nobody goes for it"
    return plan


class _Memory:
    """What is left while the wanted ones are gone through, in bytes; `coming` are those of engines that leave."""

    def __init__(self, residents: Sequence[Resident], budget: int) -> None:
        self.budget = budget
        self.free = budget - sum(one.bytes for one in residents)
        self.coming = sum(one.bytes for one in residents if one.use is Use.LEAVING)
        self.residents = [one for one in residents if one.use is not Use.LEAVING and not one.pinned]

    def candidates(self, now: float) -> list[Resident]:
        """Who may have to go, in this order: the idle ones, then the busy ones whose turn is over."""
        may_go = [one for one in self.residents if _may_go(one, now)]
        return sorted(may_go, key=lambda one: (one.use is Use.BUSY, not one.closed, one.worth(now)))

    def promise(self, wanted: int, victims: Sequence[Resident]) -> None:
        """Keep what the wanted one will take; of what is left then, no more is free now than there is now."""
        left = max(0, self.free + self.coming + sum(one.bytes for one in victims) - wanted)
        self.free = max(0, min(self.free, left))
        self.coming = left - self.free
        gone = {one.id for one in victims}
        self.residents = [one for one in self.residents if one.id not in gone]


def _make_room(one: Wanted, memory: _Memory, plan: Plan, now: float) -> None:
    victims = _enough(one.bytes - memory.free - memory.coming, memory.candidates(now))
    if victims is None:
        turns = [other.turn_ends() for other in memory.residents if other.use is Use.BUSY]
        plan.look_again = min([plan.look_again, *(end for end in turns if end > now)])
        plan.waits[one.id] = f"{_names(memory.residents) or 'others'} must have had their turn"
        if now - one.since >= PATIENCE:
            memory.promise(one.bytes, memory.residents)
    elif busy := [victim for victim in victims if victim.use is Use.BUSY]:
        plan.close |= {victim.id for victim in busy}
        plan.waits[one.id] = f"{_names(busy)} must finish what was asked before"
        if now - one.since >= PATIENCE:
            memory.promise(one.bytes, victims)
    else:
        need = f"{one.name} needs {human_size(one.bytes)}, and {human_size(max(0, memory.free))}"
        for victim in victims:
            idle = f"idle for {now - victim.used_at:.0f} s"
            plan.evict[victim.id] = f"{idle}; {need} of {human_size(memory.budget)} are free"
        plan.waits[one.id] = f"{_names(victims) or 'others'} must have ended"
        memory.promise(one.bytes, victims)


def _may_go(one: Resident, now: float) -> bool:
    return one.use is Use.IDLE or (one.use is Use.BUSY and one.turn_ends() <= now)


def _enough(short: int, candidates: Sequence[Resident]) -> list[Resident] | None:
    """The first candidates that make up for what is short, without those that the later ones make needless."""
    chosen: list[Resident] = []
    for one in candidates:
        if sum(other.bytes for other in chosen) >= short:
            break
        chosen.append(one)
    spare = sum(one.bytes for one in chosen) - short
    if spare < 0:
        return None
    for one in reversed(chosen):
        if one.bytes <= spare:
            spare -= one.bytes
            chosen = [other for other in chosen if other is not one]
    return chosen


def _names(residents: Sequence[Resident]) -> str:
    return ", ".join(one.name for one in residents)
