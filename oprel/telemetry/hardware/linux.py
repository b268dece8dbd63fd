"""CPU and memory of a Linux machine. `root` is "/" or a folder with a recording of another machine."""

import re
from pathlib import Path

from oprel.telemetry.hardware import cgroups, process_limits
from oprel.telemetry.hardware.devices import CPU, Memory
from oprel.telemetry.hardware.sysfs import cpu_list, folders, table, text

# Instruction sets that ggml has kernels for, and those whose absence slows it down.
FEATURES = frozenset(
    "sse3 pni ssse3 sse4_2 avx f16c fma avx2 bmi2 avx_vnni avx512f avx512bw avx512vbmi avx512_vnni avx512_bf16 "
    "amx_tile amx_int8 amx_bf16 asimd asimdhp asimddp i8mm sve sve2 sme sme2 bf16 v zvfh vx vxe".split()
)
KIB = 1024
LONG_TABLE = 1024**2  # bytes: /proc/stat has a line for each CPU, and one of all interrupts


def cpu(root: Path) -> CPU:
    """The CPU as /proc and /sys describe it, within the process's affinity and quota."""
    described = text(root / "proc/cpuinfo")
    usable = _usable(root)
    cores = _cores(root, usable)
    fast = _cores(root, usable & cpu_list(text(root / "sys/devices/cpu_core/cpus")))  # on x86 with two kinds of cores
    return CPU(
        name=_described(described, "model name|cpu model|Model|Processor|uarch"),
        physical_cores=max(1, cores),
        logical_cores=max(1, len(usable)),
        performance_cores=fast if 0 < fast < cores else None,
        quota=cgroups.cpu_quota(root),
        features=_features(described),
        busy_cores=busy_cores(root),
    )


def memory(root: Path) -> Memory | None:
    """The memory within the limits of groups and processes; None if /proc/meminfo cannot be read."""
    kib = table(root / "proc/meminfo")
    total = kib.get("MemTotal", 0) * KIB
    if not total:
        return None
    limits = (*cgroups.memory_limits(root, total), *process_limits.memory_limits(root, total))
    swap = kib.get("SwapTotal", 0) * KIB, kib.get("SwapFree", 0) * KIB
    most, left = cgroups.swap_limit(root) or swap
    return Memory.within(
        limits,
        total=total,
        available=min(total, kib.get("MemAvailable", kib.get("MemFree", 0)) * KIB),
        swap=(min(swap[0], most), min(swap[1], left)),
    )


def busy_cores(root: Path) -> float:
    """How many of the CPUs that this process may use were busy in the last minute, and still are.

    The average alone counts engines that have finished since; what runs at this moment alone is a matter of chance. On
    a machine with more CPUs than this process may use, the others take their share of the load.
    """
    average = re.match(r"\d+\.\d+", text(root / "proc/loadavg"))
    running = table(root / "proc/stat", LONG_TABLE).get("procs_running", 0) - 1  # without this process
    usable = len(_usable(root))
    online = len(cpu_list(text(root / "sys/devices/system/cpu/online"))) or usable
    return max(0.0, min(float(average[0]), running)) * min(1.0, usable / max(1, online)) if average else 0.0


def _usable(root: Path) -> set[int]:
    """The CPUs that this process may run on; all CPUs if the kernel does not say."""
    status = re.search(r"^Cpus_allowed_list:\s*(\S+)", text(root / "proc/self/status"), re.MULTILINE)
    allowed = cpu_list(status[1]) if status else set()
    online = cpu_list(text(root / "sys/devices/system/cpu/online")) or _numbered(root)
    return allowed & online or allowed or online


def _numbered(root: Path) -> set[int]:
    names = (re.fullmatch(r"cpu(\d{1,5})", path.name, re.ASCII) for path in folders(root / "sys/devices/system/cpu"))
    return {int(name[1]) for name in names if name}


def _cores(root: Path, cpus: set[int]) -> int:
    """The number of cores of these CPUs: the CPUs of one core list the same siblings."""
    siblings = {cpu: root / f"sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list" for cpu in cpus}
    return len({text(path) or str(cpu) for cpu, path in siblings.items()})


def _described(cpuinfo: str, names: str) -> str:
    """The first value of one of `names`, which differ between processors."""
    match = re.search(rf"^(?:{names})\s*:\s*(.+)$", cpuinfo, re.MULTILINE)
    return " ".join(match[1].split()) if match else ""


def _features(cpuinfo: str) -> tuple[str, ...]:
    words = _described(cpuinfo, "flags|Features|features|isa").split()
    return tuple(dict.fromkeys(word for word in words if word in FEATURES))
