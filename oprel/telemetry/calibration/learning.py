"""What earlier loads of engines say about the estimates of memory. Pure.

An engine logs its buffers, so their estimates are compared part by part. What its process takes beside them is in no
log and is found from its resident memory, in two steps:

- **When the engine is ready**, before any request: program, libraries and tokenizer are all there, weights and caches
  were written or read whole, and compute buffers are hardly touched. What is left beside the buffers is the process
  without what only requests use.
- **At its peak** two bounds hold. The process took at least what is left beside all buffers and the bound of saved
  conversations. If every slot was busy at once, it took at most what is left with the compute buffers untouched. A load
  that worked less has touched less of everything: its peak can only raise the figure, never lower it.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from oprel.telemetry.memory.corrections import NONE, Corrections

LEAST, MOST = 0.5, 2.0  # limits of a correction: beyond them something else is wrong
PARTS = ("weights", "kv", "state", "compute", "output")

Pair = tuple[int, int]
"""Measured and estimated bytes."""


@dataclass(frozen=True, kw_only=True)
class Buffers:
    """Bytes on all devices together, and `on_gpus` the part of them on GPUs. `weights` include repacked copies."""

    weights: int = 0
    kv: int = 0
    state: int = 0
    compute: int = 0
    output: int = 0
    on_gpus: int = 0

    @property
    def total(self) -> int:
        return self.weights + self.kv + self.state + self.compute + self.output


@dataclass(frozen=True, kw_only=True)
class EstimatedLoad:
    """The estimate of a load, uncorrected, in bytes: its `buffers`, and its `process`, of which requests use `at_work`.

    `untouched` is the part of the machine's memory in compute buffers. `pool` is the bound of saved conversations.
    """

    buffers: Buffers
    process: int
    at_work: int
    untouched: int
    pool: int


@dataclass(frozen=True, kw_only=True)
class ResidentMemory:
    """Bytes of the machine's memory that an engine's process had: when it was `ready`, and at its `peak`, 0 if unknown.

    `was_busy`: every slot was in use at the same time.
    """

    ready: int = 0
    peak: int = 0
    was_busy: bool = False


@dataclass(frozen=True, kw_only=True)
class PastLoad:
    """One load: its `setting`, what was expected, what the engine logged and what its process had."""

    setting: str
    estimated: EstimatedLoad
    logged: Buffers
    resident: ResidentMemory

    @property
    def process(self) -> int | None:
        """Bytes that the process took beside the buffers; None if that is not known."""
        resident, estimated = self.resident, self.estimated
        if not resident.ready:
            return None
        buffers = self.logged.total - self.logged.on_gpus
        without_compute = buffers - estimated.untouched
        process = resident.ready - without_compute + estimated.at_work
        if resident.was_busy:
            process = min(process, resident.peak - without_compute)
        return max(process, resident.peak - buffers - estimated.pool)


def corrections_of(of_model: Sequence[PastLoad], of_architecture: Sequence[PastLoad]) -> Corrections:
    """The corrections from the newest loads of the model, or without any from those of its architecture."""
    loads = of_model or of_architecture
    if not loads:
        return NONE
    pairs = [list(_pairs(load)) for load in loads]
    ratios = [_ratio(of_part) for of_part in zip(*pairs, strict=True)]
    weights, kv, state, compute, output, process = ratios
    return Corrections(
        weights=weights,
        kv=kv,
        state=state,
        compute=compute,
        output=output,
        process=process,
        loads=len(loads),
        error=max(_error(load, ratios) for load in pairs),
        is_of_model=bool(of_model),
        peaks=_peaks(of_model),
    )


def _pairs(load: PastLoad) -> Iterator[Pair]:
    """Measured and estimated bytes of each part, in the order of `Corrections`."""
    for part in PARTS:
        yield getattr(load.logged, part), getattr(load.estimated.buffers, part)
    yield load.process or 0, load.estimated.process


def _is_known(pair: Pair) -> bool:
    return min(pair) > 0


def _ratio(pairs: Iterable[Pair]) -> float:
    """The median of measured by estimated bytes, within its limits; 1 if nothing is known."""
    ratios = sorted(measured / estimated for measured, estimated in filter(_is_known, pairs))
    return min(MOST, max(LEAST, ratios[len(ratios) // 2])) if ratios else 1.0


def _error(pairs: Sequence[Pair], ratios: Sequence[float]) -> float:
    """By what share the corrected estimates would have missed the measured total."""
    both = [(pair, ratio) for pair, ratio in zip(pairs, ratios, strict=True) if _is_known(pair)]
    corrected = sum(estimated * ratio for (_, estimated), ratio in both)
    measured = sum(measured for (measured, _), _ in both)
    return abs(corrected - measured) / measured if measured else 0.0


def _peaks(loads: Sequence[PastLoad]) -> tuple[tuple[str, int], ...]:
    """The highest peak of each setting, without what saved conversations could be of it."""
    peaks = dict[str, int]()
    for load in loads:
        estimated = load.estimated
        rest = min(load.resident.peak - estimated.pool, round(MOST * (estimated.buffers.total + estimated.process)))
        if rest > 0:
            peaks[load.setting] = max(rest, peaks.get(load.setting, 0))
    return tuple(peaks.items())
