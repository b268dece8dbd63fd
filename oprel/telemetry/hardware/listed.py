"""The devices that an engine lists itself, as the GPUs of a machine. Pure.

An engine may see GPUs that no driver's files report (Vulkan without a kernel driver that oprel knows, RPC, SYCL), and
may not see others (built without the vendor's library, or a variable hides them). What it lists is what it uses.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from oprel.telemetry.hardware.devices import GPU, Vendor
from oprel.telemetry.hardware.probing import Hardware

MIB = 1024**2
MOST = 64  # devices; more is no list of devices
HEADER = "Available devices:"
# `common_print_available_devices` in llama.cpp's common/arg.cpp. The second is what its Vulkan backend logs meanwhile.
LINE = re.compile(r"^  (\S{1,64}): (.{0,200}) \((\d{1,9}) MiB, (\d{1,9}) MiB free\)\s*$", re.MULTILINE)
SHARED = re.compile(r"^ggml_vulkan: (\d{1,2}) = .{1,300}\| uma: 1\b", re.MULTILINE)
VENDORS: dict[str, Vendor] = {"CUDA": "nvidia", "ROCm": "amd", "HIP": "amd", "SYCL": "intel", "MTL": "apple"}
OTHER: Vendor = "other"
TITLES: tuple[tuple[str, Vendor], ...] = (
    (r"nvidia|geforce|quadro|tesla|\brtx\b", "nvidia"),
    (r"\bamd\b|radeon|\bati\b", "amd"),
    (r"intel|\barc\b|iris", "intel"),
    (r"apple", "apple"),
)
IN_SOFTWARE = re.compile(r"llvmpipe|lavapipe|swiftshader|software", re.IGNORECASE)  # computes in the machine's memory


@dataclass(frozen=True)
class ListedDevice:
    """`name` is the engine's, such as "Vulkan0". `shares_memory`: what it has is a part of the machine's memory."""

    name: str
    title: str
    total_bytes: int
    free_bytes: int
    shares_memory: bool = False

    @property
    def library(self) -> str:
        """What the engine reaches it by, such as "Vulkan"."""
        return self.name.rstrip("0123456789")

    @property
    def vendor(self) -> Vendor:
        by_title = next((vendor for words, vendor in TITLES if re.search(words, self.title, re.IGNORECASE)), OTHER)
        return VENDORS.get(self.library, by_title)


def parse_devices(output: str) -> tuple[ListedDevice, ...] | None:
    """The devices in the output of `llama-server --list-devices`; None if that is no such list.

    >>> parse_devices("Available devices:\\n  CUDA0: NVIDIA GeForce RTX 4090 (24080 MiB, 23500 MiB free)\\n")[0].name
    'CUDA0'

    Devices without memory, such as BLAS, hold no layers and are left out.
    """
    if HEADER not in output:
        return None
    shared = {f"Vulkan{number}" for number in SHARED.findall(output)}
    listed = [
        ListedDevice(name, title, int(total) * MIB, min(int(free), int(total)) * MIB, name in shared)
        for name, title, total, free in LINE.findall(output.partition(HEADER)[2])
        if int(total)
    ]
    return tuple(listed[:MOST])


def seen_by(hardware: Hardware, devices: Sequence[ListedDevice] | None) -> Hardware:
    """The machine with the GPUs that an engine lists, in its order; as it is if the engine cannot list them (None).

    What drivers report of the same GPUs is kept. A GPU that is listed twice, by two libraries, is one GPU.
    """
    if devices is None:
        return hardware
    seen = replace(hardware, gpus=tuple(_gpus(hardware.gpus, devices)))
    notes = (f"GPU {gpu.name} is not used: the engine does not see it" for gpu in unlisted(hardware, seen))
    return replace(seen, notes=(*hardware.notes, *notes))


def unlisted(hardware: Hardware, seen: Hardware) -> list[GPU]:
    """The GPUs that drivers report and that are not among those `seen`."""
    return [gpu for gpu in hardware.gpus if not any(_is_one(gpu, other) for other in seen.gpus)]


def _is_one(gpu: GPU, other: GPU) -> bool:
    return (gpu.vendor, gpu.name, gpu.id) == (other.vendor, other.name, other.id)


def _gpus(reported: Sequence[GPU], devices: Sequence[ListedDevice]) -> Iterator[GPU]:
    left, seen = list(reported), list[tuple[str, int, str]]()
    for device in devices:
        gpu = _same(device, left)
        if gpu is None and _is_repeated(device, reported, seen):
            continue
        if gpu is not None:
            left.remove(gpu)
        seen.append((device.title, device.total_bytes, device.library))
        yield _merged(device, gpu, index=len(seen) - 1)


def _merged(device: ListedDevice, gpu: GPU | None, index: int) -> GPU:
    if gpu is None:
        is_shared = device.shares_memory or bool(IN_SOFTWARE.search(device.title))
        return GPU(
            vendor=device.vendor,
            name=device.title or device.name,
            total_bytes=device.total_bytes,
            free_bytes=device.free_bytes,
            integrated=is_shared,
            index=index,
            driver=device.library,
            device=device.name,
        )
    # An engine's driver may not tell what others use.
    free = min(device.free_bytes, gpu.free_bytes) if gpu.free_bytes else device.free_bytes
    return replace(gpu, total_bytes=device.total_bytes, free_bytes=free, index=index, device=device.name)


def _same(device: ListedDevice, reported: Sequence[GPU]) -> GPU | None:
    """Which of the GPUs that drivers report it is."""
    if device.library == "RPC":  # of another machine
        return None
    if vendor := VENDORS.get(device.library):
        return next((gpu for gpu in reported if gpu.vendor == vendor), None)
    title = device.title.lower()
    named = (gpu for gpu in reported if gpu.name and (gpu.name.lower() in title or title in gpu.name.lower()))
    alike = [gpu for gpu in reported if gpu.vendor == device.vendor]
    return next(named, alike[0] if len(alike) == 1 else None)


def _is_repeated(device: ListedDevice, reported: Sequence[GPU], seen: Sequence[tuple[str, int, str]]) -> bool:
    """Whether another library has listed the same GPU."""
    by_others = [title for title, _, library in seen if library != device.library]
    is_told = any(gpu.vendor == device.vendor and gpu.name.lower() in device.title.lower() for gpu in reported)
    return device.title in by_others or bool(by_others and is_told)
