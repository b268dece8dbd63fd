"""Ranks the engines that can serve a model on a machine, with reasons. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from oprel.formats.model_info import ModelInfo
from oprel.runtime.backends.backend import Accelerator, Backend
from oprel.telemetry.hardware.probing import Hardware
from oprel.utils.text import human_size

CONTEXT = 4096  # tokens of one conversation, for a rough estimate of the KV cache
TIGHT, SPILT, SWAPPED = 0.7, 0.5, 0.2  # factors of the score where memory is short
EXPERIMENTAL = 0.8  # factor of the score


@dataclass(frozen=True)
class EngineCandidate:
    """A backend, and whether it is installed."""

    backend: Backend
    installed: bool


@dataclass(frozen=True, kw_only=True)
class Route:
    """A backend for a model: its `score` from 0 (cannot run it) to 1, and the reasons, as sentences without periods."""

    backend: Backend
    score: float
    reasons: tuple[str, ...]
    installed: bool
    accelerator: Accelerator | None = None

    @property
    def is_open(self) -> bool:
        """True if the backend can serve the model now."""
        return self.installed and self.score > 0


@dataclass(frozen=True)
class _Device:
    """A device that a model may run on. Sizes in bytes."""

    accelerator: Accelerator
    total: int
    free: int
    name: str


def route(
    info: ModelInfo, hardware: Hardware, engines: Sequence[EngineCandidate], chosen: str = ""
) -> tuple[Route, ...]:
    """All of `engines`, best first: installed ones that can serve the model, then the others.

    The backend named `chosen` comes first if it can serve the model at all.
    """
    devices = tuple(_devices(hardware))
    routes = [_best(info, devices, candidate, chosen) for candidate in engines]
    return tuple(sorted(routes, key=lambda route: (not route.is_open, route.backend.name != chosen, -route.score)))


def _devices(hardware: Hardware) -> Iterator[_Device]:
    for vendor in dict.fromkeys(gpu.vendor for gpu in hardware.gpus):
        gpus = [gpu for gpu in hardware.gpus if gpu.vendor == vendor]
        name = gpus[0].name if len(gpus) == 1 else f"{len(gpus)} GPUs"
        yield _Device(vendor, sum(gpu.total_bytes for gpu in gpus), sum(gpu.free_bytes for gpu in gpus), name)
    memory = hardware.memory
    yield _Device("cpu", memory.usable_bytes, memory.available_bytes, "the CPU")


def _best(info: ModelInfo, devices: Sequence[_Device], candidate: EngineCandidate, chosen: str) -> Route:
    backend = candidate.backend
    scores = [_score(info, device, backend, devices[-1]) for device in devices]
    score, reasons, accelerator = max(scores, key=lambda scored: scored[0])
    if score == 0:  # explain it for the best device of the machine
        reasons = scores[0][1]
    elif backend.experimental:
        score, reasons = score * EXPERIMENTAL, (*reasons, f"experimental: {backend.experimental}")
    if backend.name == chosen:
        reasons = ("it is your choice", *reasons)
    if not candidate.installed:
        reasons = (*reasons, "it is not installed")
    return Route(
        backend=backend,
        score=round(score * info.confidence, 2),
        reasons=reasons,
        installed=candidate.installed,
        accelerator=accelerator if score else None,
    )


def _score(
    info: ModelInfo, device: _Device, backend: Backend, cpu: _Device
) -> tuple[float, tuple[str, ...], Accelerator]:
    accelerator = device.accelerator
    if info.format not in backend.formats and not (info.converts and "gguf" in backend.formats):
        return 0.0, (f"it reads {' and '.join(sorted(backend.formats))}, not {info.format}",), accelerator
    if accelerator not in backend.suits:
        needed = ", ".join(name for name in backend.suits if name != "cpu")
        return 0.0, (f"it runs on {needed} only",), accelerator
    if why := backend.refuses(info, accelerator):
        return 0.0, (f"it {why}",), accelerator
    factor, remarks = _memory_factor(info, device, backend, cpu)
    what = info.format if info.format in backend.formats else f"{info.format}, which oprel converts to GGUF,"
    return backend.suits[accelerator] * factor, (f"{what} on {device.name}", *remarks), accelerator


def _memory_factor(info: ModelInfo, device: _Device, backend: Backend, cpu: _Device) -> tuple[float, tuple[str, ...]]:
    """The factor of the score for the memory that the device has, with remarks."""
    need = info.estimate_memory(CONTEXT).total
    needs = f"it needs {human_size(need)}"
    if need <= device.free:
        return 1.0, ()
    if need <= device.total:
        return TIGHT, (f"{needs}, and {human_size(device.free)} is free now",)
    if backend.spills and device is not cpu and need <= device.total + cpu.total:
        return SPILT, (f"{needs}: a part of it stays in the machine's memory",)
    if device is cpu and backend.maps:
        return SWAPPED, (f"{needs} of {human_size(device.total)}: it would be read from disk again and again",)
    return 0.0, (f"{needs}, more than the {human_size(device.total)} of memory",)
