"""NVIDIA's GPUs, asked through the driver's own library (NVML)."""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

from oprel.telemetry.hardware.devices import GPU, Memory

# Without one of these no driver is loaded: /dev/dxg is WSL's. Loading the library would take 30 ms in vain.
SIGNS = ("proc/driver/nvidia/version", "dev/nvidiactl", "dev/dxg")
MHZ = 10**6

Note = Callable[[str], None]
Device = Any  # NVML's handle, which is only passed on
T = TypeVar("T")


class Sizes(Protocol):
    total: int
    free: int


class NVML(Protocol):
    """What is used of pynvml, which has no types."""

    NVMLError: type[Exception]
    NVML_CLOCK_MEM: int

    def nvmlInit(self) -> None: ...
    def nvmlShutdown(self) -> None: ...
    def nvmlSystemGetDriverVersion(self) -> str: ...
    def nvmlDeviceGetCount(self) -> int: ...
    def nvmlDeviceGetHandleByIndex(self, index: int) -> Device: ...
    def nvmlDeviceGetName(self, device: Device) -> str: ...
    def nvmlDeviceGetUUID(self, device: Device) -> str: ...
    def nvmlDeviceGetMemoryInfo(self, device: Device) -> Sizes: ...
    def nvmlDeviceGetCudaComputeCapability(self, device: Device) -> Sequence[int]: ...
    def nvmlDeviceGetMemoryBusWidth(self, device: Device) -> int: ...
    def nvmlDeviceGetMaxClockInfo(self, device: Device, kind: int) -> int: ...


def gpus(root: Path, memory: Memory, note: Note) -> list[GPU]:
    """All that the driver shows; [] and a note when it does not work, [] where there is none."""
    if not any(os.path.exists(root / sign) for sign in SIGNS):  # False too where it may not be looked at
        return []
    try:
        import pynvml
    except ImportError:
        note("NVIDIA's GPUs are not used: nvidia-ml-py is not installed")
        return []
    return asked(pynvml, memory, note)


def asked(nvml: NVML, memory: Memory, note: Note) -> list[GPU]:
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        note(f"NVIDIA's GPUs are not used: the driver says {error}; does `nvidia-smi` work?")
        return []
    try:
        return list(_listed(nvml, memory, note))
    except nvml.NVMLError as error:
        note(f"NVIDIA's GPUs are not used: the driver says {error}; does `nvidia-smi` work?")
        return []
    finally:
        _or_none(nvml, nvml.nvmlShutdown)


def _listed(nvml: NVML, memory: Memory, note: Note) -> Iterator[GPU]:
    driver = _or_none(nvml, nvml.nvmlSystemGetDriverVersion) or ""
    for index in range(nvml.nvmlDeviceGetCount()):
        try:
            yield _gpu(nvml, index, driver, memory)
        except nvml.NVMLError as error:  # one that fell off the bus; the others go on
            note(f"NVIDIA's GPU {index} is not used: the driver says {error}")


def _gpu(nvml: NVML, index: int, driver: str, memory: Memory) -> GPU:
    device = nvml.nvmlDeviceGetHandleByIndex(index)
    # One that shares the machine's memory (Jetson, DGX Spark) has no sizes of its own to tell.
    sizes = _or_none(nvml, lambda: nvml.nvmlDeviceGetMemoryInfo(device))
    capability = _or_none(nvml, lambda: nvml.nvmlDeviceGetCudaComputeCapability(device)) or ()
    return GPU(
        vendor="nvidia",
        name=nvml.nvmlDeviceGetName(device),
        total_bytes=sizes.total if sizes else memory.usable_bytes,
        free_bytes=sizes.free if sizes else memory.available_bytes,
        integrated=sizes is None,
        index=index,
        id=_or_none(nvml, lambda: nvml.nvmlDeviceGetUUID(device)) or "",
        driver=driver,
        architecture=".".join(map(str, capability)),
        bandwidth_bytes=_bandwidth(nvml, device),
    )


def _bandwidth(nvml: NVML, device: Device) -> int | None:
    """Two words for each tick of the memory's clock."""
    bits = _or_none(nvml, lambda: nvml.nvmlDeviceGetMemoryBusWidth(device))
    clock = _or_none(nvml, lambda: nvml.nvmlDeviceGetMaxClockInfo(device, nvml.NVML_CLOCK_MEM))
    return 2 * clock * MHZ * bits // 8 if clock and bits else None


def _or_none(nvml: NVML, ask: Callable[[], T]) -> T | None:
    """The answer; None where this device or driver has none."""
    try:
        return ask()
    except nvml.NVMLError:
        return None
