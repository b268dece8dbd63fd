"""NVIDIA's GPUs, as the driver's own library (NVML) reports them."""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

from oprel.telemetry.hardware.devices import GPU, Memory

# One of these exists if a driver is loaded (/dev/dxg is WSL's). Otherwise loading the library would waste 30 ms.
SIGNS = ("proc/driver/nvidia/version", "dev/nvidiactl", "dev/dxg")
MHZ = 10**6

Note = Callable[[str], None]
Device = Any  # NVML's handle, which is only passed on
T = TypeVar("T")


class Sizes(Protocol):
    total: int
    free: int


class NVML(Protocol):
    """The part of pynvml, which has no types, that is used here."""

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
    """All GPUs that the driver reports: none without a driver, and none with a note if it fails."""
    if not any(os.path.exists(root / sign) for sign in SIGNS):  # also False without permission to look
        return []
    try:
        import pynvml
    except ImportError:
        note("NVIDIA GPUs are not used: nvidia-ml-py is not installed")
        return []
    return list_gpus(pynvml, memory, note)


def list_gpus(nvml: NVML, memory: Memory, note: Note) -> list[GPU]:
    """The GPUs that `nvml` lists; those that fail are left out with a note."""
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        note(f"NVIDIA GPUs are not used: the driver reports: {error}; does `nvidia-smi` work?")
        return []
    try:
        return list(_listed(nvml, memory, note))
    except nvml.NVMLError as error:
        note(f"NVIDIA GPUs are not used: the driver reports: {error}; does `nvidia-smi` work?")
        return []
    finally:
        _or_none(nvml, nvml.nvmlShutdown)


def _listed(nvml: NVML, memory: Memory, note: Note) -> Iterator[GPU]:
    driver = _or_none(nvml, nvml.nvmlSystemGetDriverVersion) or ""
    for index in range(nvml.nvmlDeviceGetCount()):
        try:
            yield _gpu(nvml, index, driver, memory)
        except nvml.NVMLError as error:  # such as a GPU that fell off the bus; the others still work
            note(f"NVIDIA GPU {index} is not used: the driver reports: {error}")


def _gpu(nvml: NVML, index: int, driver: str, memory: Memory) -> GPU:
    device = nvml.nvmlDeviceGetHandleByIndex(index)
    # A GPU that shares the machine's memory (Jetson, DGX Spark) reports no sizes.
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
    """Bytes per second: the memory transfers two words for each tick of its clock."""
    bits = _or_none(nvml, lambda: nvml.nvmlDeviceGetMemoryBusWidth(device))
    clock = _or_none(nvml, lambda: nvml.nvmlDeviceGetMaxClockInfo(device, nvml.NVML_CLOCK_MEM))
    return 2 * clock * MHZ * bits // 8 if clock and bits else None


def _or_none(nvml: NVML, ask: Callable[[], T]) -> T | None:
    """The result; None if this device or driver does not support the call."""
    try:
        return ask()
    except nvml.NVMLError:
        return None
