"""GPUs of AMD and Intel as Linux lists them in /sys, and GPUs of any vendor without a usable driver.

Sources: "Misc AMDGPU driver information" and the KFD topology in the kernel's documentation; the list of processors in
"User Guide for AMDGPU Backend" of LLVM; how anv and radv of Mesa size shared memory.
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

from oprel.telemetry.hardware.devices import GPU, Memory
from oprel.telemetry.hardware.sysfs import as_number, folders, number, table, text

NVIDIA, AMD, INTEL = 0x10DE, 0x1002, 0x8086
VENDORS = {NVIDIA: "NVIDIA", AMD: "AMD", INTEL: "Intel"}
DISPLAY = 0x03  # PCI class of display controllers
USELESS = ("nouveau", "nova_core", "radeon")  # drivers that no engine can compute with
ADDRESS = re.compile(r"([0-9a-f]{4,8}):([0-9a-f]{2}):([0-9a-f]{2})\.([0-7])")
AMD_INTEGRATED = frozenset(
    "gfx700 gfx801 gfx810 gfx902 gfx909 gfx90c gfx1013 gfx1033 gfx1035 gfx1036 gfx1037 gfx1103 gfx1150 gfx1151 "
    "gfx1152 gfx1153".split()
)
INTEL_INTEGRATED = "00:02.0"
INTEL_SHARE = 3, 4  # of the machine's memory: what drivers allow an integrated GPU to use

Note = Callable[[str], None]


def gpus(root: Path, memory: Memory, note: Note) -> Iterator[GPU]:
    """The GPUs of AMD and Intel whose drivers report their memory; the others only get a note."""
    amd = intel = 0
    for device in _displays(root):
        vendor, driver = number(device / "vendor"), _driver(device)
        if not driver or driver in USELESS:
            note(f"GPU {_title(device)} is not used: its driver is {driver or 'missing'}; install the vendor's driver")
        elif vendor == AMD and (gpu := _amd(root, device, memory, amd)):
            amd += 1
            yield gpu
        elif vendor == INTEL and (gpu := _intel(device, memory, intel)):
            intel += 1
            yield gpu
        elif vendor in (AMD, INTEL):
            note(f"GPU {_title(device)} is not used: its driver does not report its memory")


def _displays(root: Path) -> Iterator[Path]:
    """Display controllers of vendors whose GPUs engines can use; servers have others for their consoles."""
    for device in folders(root / "sys/bus/pci/devices"):
        if (number(device / "class") or 0) >> 16 == DISPLAY and number(device / "vendor") in VENDORS:
            yield device


def _title(device: Path) -> str:
    return f"{VENDORS[number(device / 'vendor') or 0]} {_device_id(device)} at {device.name}"


def _device_id(device: Path) -> str:
    return text(device / "device").removeprefix("0x")


def _driver(device: Path) -> str:
    """The name of the driver; "" without one."""
    match = re.search(r"^DRIVER=(.+)$", text(device / "uevent"), re.MULTILINE)
    return match[1] if match else ""


def _amd(root: Path, device: Path, memory: Memory, index: int) -> GPU | None:
    """An integrated GPU has memory reserved by the firmware (VRAM) and uses more of the machine's memory (GTT)."""
    total, used = number(device / "mem_info_vram_total"), number(device / "mem_info_vram_used") or 0
    if not total:
        return None
    free = max(0, total - used)
    architecture = _amd_architecture(root, device.name)
    if integrated := architecture in AMD_INTEGRATED:
        shared, used_shared = number(device / "mem_info_gtt_total") or 0, number(device / "mem_info_gtt_used") or 0
        total += min(shared, memory.usable_bytes)
        free += min(max(0, shared - used_shared), memory.available_bytes)
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
    """The architecture, such as "gfx1100", from the compute driver's node for this PCI address; "" without one."""
    match = ADDRESS.fullmatch(address)
    if match is None:
        return ""
    domain, bus, slot, function = (int(part, 16) for part in match.groups())
    for node in folders(root / "sys/class/kfd/kfd/topology/nodes"):
        properties = table(node / "properties")
        here = properties.get("domain", 0), properties.get("location_id")
        if (version := properties.get("gfx_target_version")) and here == (domain, bus << 8 | slot << 3 | function):
            return f"gfx{version // 10000}{version // 100 % 100:x}{version % 100:x}"
    return ""


def _amd_name(root: Path, device: Path) -> str:
    """Its product name, which few GPUs have, or the one in Mesa's list of device, revision (hexadecimal) and name."""
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
    """An integrated GPU; None for a discrete one, whose memory no file reports."""
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
