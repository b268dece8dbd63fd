"""GPUs of AMD and Intel as Linux tells of them in /sys, and those of anybody that have no driver.

Sources: "Misc AMDGPU driver information" and the KFD topology in the kernel's documentation; the list of processors in
"User Guide for AMDGPU Backend" of LLVM; what anv and radv of Mesa make of shared memory.
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

from oprel.telemetry.hardware.devices import GPU, Memory
from oprel.telemetry.hardware.sysfs import as_number, folders, number, table, text

NVIDIA, AMD, INTEL = 0x10DE, 0x1002, 0x8086
VENDORS = {NVIDIA: "NVIDIA", AMD: "AMD", INTEL: "Intel"}
DISPLAY = 0x03  # the class of such devices
USELESS = ("nouveau", "nova_core", "radeon")  # no engine computes with these
ADDRESS = re.compile(r"([0-9a-f]{4,8}):([0-9a-f]{2}):([0-9a-f]{2})\.([0-7])")
AMD_INTEGRATED = frozenset(
    "gfx700 gfx801 gfx810 gfx902 gfx909 gfx90c gfx1013 gfx1033 gfx1035 gfx1036 gfx1037 gfx1103 gfx1150 gfx1151 "
    "gfx1152 gfx1153".split()
)
INTEL_INTEGRATED = "00:02.0"
INTEL_SHARE = 3, 4  # of the machine's memory, which drivers of integrated ones let be taken

Note = Callable[[str], None]


def gpus(root: Path, memory: Memory, note: Note) -> Iterator[GPU]:
    """Those of AMD and Intel whose drivers tell their memory; of the others a note."""
    amd = intel = 0
    for device in _displays(root):
        vendor, driver = number(device / "vendor"), _driver(device)
        if not driver or driver in USELESS:
            note(f"the GPU {_title(device)} is not used: its driver is {driver or 'missing'}; install its vendor's")
        elif vendor == AMD and (gpu := _amd(root, device, memory, amd)):
            amd += 1
            yield gpu
        elif vendor == INTEL and (gpu := _intel(device, memory, intel)):
            intel += 1
            yield gpu
        elif vendor in (AMD, INTEL):
            note(f"the GPU {_title(device)} is not used: its driver does not tell how much memory it has")


def _displays(root: Path) -> Iterator[Path]:
    """Those of vendors whose GPUs engines can use: servers have others, for their consoles."""
    for device in folders(root / "sys/bus/pci/devices"):
        if (number(device / "class") or 0) >> 16 == DISPLAY and number(device / "vendor") in VENDORS:
            yield device


def _title(device: Path) -> str:
    return f"{VENDORS[number(device / 'vendor') or 0]} {_device_id(device)} at {device.name}"


def _device_id(device: Path) -> str:
    return text(device / "device").removeprefix("0x")


def _driver(device: Path) -> str:
    """Its name; "" where it has none."""
    told = re.search(r"^DRIVER=(.+)$", text(device / "uevent"), re.MULTILINE)
    return told[1] if told else ""


def _amd(root: Path, device: Path, memory: Memory, index: int) -> GPU | None:
    """An integrated one has a part that the firmware set aside, and takes more from the machine's memory (GTT)."""
    total, used = number(device / "mem_info_vram_total"), number(device / "mem_info_vram_used") or 0
    if not total:
        return None
    free = max(0, total - used)
    architecture = _amd_architecture(root, device.name)
    if integrated := architecture in AMD_INTEGRATED:
        shared, taken = number(device / "mem_info_gtt_total") or 0, number(device / "mem_info_gtt_used") or 0
        total += min(shared, memory.usable_bytes)
        free += min(max(0, shared - taken), memory.available_bytes)
    return GPU(
        vendor="amd",
        name=_amd_name(root, device) or f"AMD {architecture or _device_id(device)}",
        total_bytes=total,
        free_bytes=free,
        integrated=integrated,
        index=index,
        id=device.name,
        driver=_driver(device),
        architecture=architecture,
    )


def _amd_architecture(root: Path, address: str) -> str:
    """Such as "gfx1100": the node of the compute driver that has this address; "" without one."""
    place = ADDRESS.fullmatch(address)
    if place is None:
        return ""
    domain, bus, slot, function = (int(part, 16) for part in place.groups())
    for node in folders(root / "sys/class/kfd/kfd/topology/nodes"):
        told = table(node / "properties")
        here = told.get("domain", 0), told.get("location_id")
        if (version := told.get("gfx_target_version")) and here == (domain, bus << 8 | slot << 3 | function):
            return f"gfx{version // 10000}{version // 100 % 100:x}{version % 100:x}"
    return ""


def _amd_name(root: Path, device: Path) -> str:
    """Its own, which few have, or that of Mesa's list: lines of device, revision and name, in hexadecimal."""
    if own := text(device / "product_name"):
        return own
    wanted = number(device / "device"), number(device / "revision") or 0
    for line in text(root / "usr/share/libdrm/amdgpu.ids").splitlines():
        kind, _, rest = line.partition(",")
        revision, _, name = rest.partition(",")
        if (as_number(f"0x{kind.strip()}"), as_number(f"0x{revision.strip()}")) == wanted:
            return name.strip()
    return ""


def _intel(device: Path, memory: Memory, index: int) -> GPU | None:
    """None for a card of its own: no file tells its memory."""
    if not device.name.endswith(INTEL_INTEGRATED):
        return None
    part, whole = INTEL_SHARE
    total = memory.usable_bytes * part // whole
    return GPU(
        vendor="intel",
        name=f"Intel integrated {_device_id(device)}",
        total_bytes=total,
        free_bytes=min(total, memory.available_bytes),
        integrated=True,
        index=index,
        id=device.name,
        driver=_driver(device),
    )
