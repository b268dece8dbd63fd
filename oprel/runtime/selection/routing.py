"""Which engine serves a model on a machine, and why. Pure: data in, ranked routes out."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from oprel.formats.model_info import ModelInfo
from oprel.runtime.backends.backend import Accelerator, Backend
from oprel.telemetry.hardware.probing import Hardware
from oprel.utils.text import human_size

CONTEXT = 4096  # tokens of one conversation, for a first idea of what the KV cache takes
TIGHT, SPILT, SWAPPED = 0.7, 0.5, 0.2  # of the score, where memory is short
EXPERIMENTAL = 0.8


@dataclass(frozen=True)
class EngineCandidate:
    """A backend, and whether a program of it was found here."""

    backend: Backend
    installed: bool


@dataclass(frozen=True)
class Route:
    """A backend for a model: `score` from 0 (it cannot) to 1, and why, in sentences without their full stops."""

    backend: Backend
    score: float
    reasons: tuple[str, ...]
    installed: bool
    accelerator: Accelerator | None = None

    @property
    def is_open(self) -> bool:
        return self.installed and self.score > 0


@dataclass(frozen=True)
class _Place:
    """Where a model may run; bytes."""

    accelerator: Accelerator
    total: int
    free: int
    name: str


def route(
    info: ModelInfo, hardware: Hardware, engines: Sequence[EngineCandidate], chosen: str = ""
) -> tuple[Route, ...]:
    """All of `engines`, best first: those that can be started, then the others.

    The user's choice, by name, comes first wherever it can serve the model at all.
    """
    places = tuple(_places(hardware))
    routes = [_best(info, places, candidate, chosen) for candidate in engines]
    return tuple(sorted(routes, key=lambda one: (not one.is_open, one.backend.name != chosen, -one.score)))


def _places(hardware: Hardware) -> Iterator[_Place]:
    for vendor in dict.fromkeys(gpu.vendor for gpu in hardware.gpus):
        gpus = [gpu for gpu in hardware.gpus if gpu.vendor == vendor]
        name = gpus[0].name if len(gpus) == 1 else f"{len(gpus)} GPUs"
        yield _Place(vendor, sum(gpu.total_bytes for gpu in gpus), sum(gpu.free_bytes for gpu in gpus), name)
    memory = hardware.memory
    yield _Place("cpu", memory.usable_bytes, memory.available_bytes, "the CPU")


def _best(info: ModelInfo, places: Sequence[_Place], candidate: EngineCandidate, chosen: str) -> Route:
    backend = candidate.backend
    found = [_scored(info, place, backend, places[-1]) for place in places]
    score, reasons, accelerator = max(found, key=lambda one: one[0])
    if score == 0:  # the reason of the best place that there is
        reasons = found[0][1]
    elif backend.experimental:
        score, reasons = score * EXPERIMENTAL, (*reasons, f"experimental: {backend.experimental}")
    if backend.name == chosen:
        reasons = ("it is your choice", *reasons)
    if not candidate.installed:
        reasons = (*reasons, "it is not installed")
    return Route(
        backend, round(score * info.confidence, 2), reasons, candidate.installed, accelerator if score else None
    )


def _scored(
    info: ModelInfo, place: _Place, backend: Backend, machine: _Place
) -> tuple[float, tuple[str, ...], Accelerator]:
    accelerator = place.accelerator
    if info.format not in backend.formats:
        return 0.0, (f"it reads {' and '.join(sorted(backend.formats))}, not {info.format}",), accelerator
    if accelerator not in backend.suits:
        needed = ", ".join(name for name in backend.suits if name != "cpu")
        return 0.0, (f"it runs on {needed} only",), accelerator
    if why := backend.refuses(info, accelerator):
        return 0.0, (f"it {why}",), accelerator
    share, told = _room(info, place, backend, machine)
    return backend.suits[accelerator] * share, (f"{info.format} on {place.name}", *told), accelerator


def _room(info: ModelInfo, place: _Place, backend: Backend, machine: _Place) -> tuple[float, tuple[str, ...]]:
    """The share of the score that memory leaves, and what is to be said of it."""
    need = info.estimate_memory(CONTEXT).total
    wanted = f"it needs {human_size(need)}"
    if need <= place.free:
        return 1.0, ()
    if need <= place.total:
        return TIGHT, (f"{wanted}, and {human_size(place.free)} is free now",)
    if backend.spills and place is not machine and need <= place.total + machine.total:
        return SPILT, (f"{wanted}: a part of it stays in the machine's memory",)
    if place is machine and backend.maps:
        return SWAPPED, (f"{wanted} of {human_size(place.total)}: it would be read from the disk again and again",)
    return 0.0, (f"{wanted}, and there is {human_size(place.total)}",)
