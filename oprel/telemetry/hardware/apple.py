"""Macs: the values of `sysctl`, and how much memory Metal allows a GPU to use."""

import subprocess
from collections.abc import Mapping

from oprel.telemetry.hardware.devices import CPU, GPU, Memory

MIB, GIB = 1024**2, 1024**3
PROGRAM = "/usr/sbin/sysctl"
SECONDS = 5.0  # timeout of sysctl
NAMES = (
    *("machdep.cpu.brand_string", "hw.physicalcpu", "hw.logicalcpu", "hw.perflevel0.physicalcpu"),
    *("hw.memsize", "hw.optional.arm64", "iogpu.wired_limit_mb"),
)
# The instruction sets that engines look for, under their names in Linux.
FEATURES = {
    "hw.optional.arm.AdvSIMD": "asimd",
    "hw.optional.arm.FEAT_FP16": "asimdhp",
    "hw.optional.arm.FEAT_DotProd": "asimddp",
    "hw.optional.arm.FEAT_I8MM": "i8mm",
    "hw.optional.arm.FEAT_BF16": "bf16",
    "hw.optional.arm.FEAT_SME": "sme",
}
# Metal's recommended limit: 2/3 of the memory of small Macs, 3/4 of others. Newer systems allow slightly more.
SMALL_BYTES, SMALL_SHARE, LARGE_SHARE = 36 * GIB, (2, 3), (3, 4)

Sysctl = Mapping[str, str]


def read_sysctl() -> Sysctl:
    """The system's values by name; empty if sysctl fails."""
    command = [PROGRAM, *NAMES, *FEATURES]
    try:
        # An unknown name makes sysctl fail, but it prints the values of the others.
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return {}
    return parsed(done.stdout)


def parsed(output: str) -> Sysctl:
    """The values in lines of a name, a colon and a value."""
    rows = (line.partition(":") for line in output.splitlines())
    return {name.strip(): value.strip() for name, _, value in rows}


def cpu(values: Sysctl) -> CPU:
    """The CPU that these values describe."""
    physical, fast = _number(values, "hw.physicalcpu"), _number(values, "hw.perflevel0.physicalcpu")
    return CPU(
        name=values.get("machdep.cpu.brand_string", ""),
        physical_cores=physical or 1,
        logical_cores=_number(values, "hw.logicalcpu") or physical or 1,
        performance_cores=fast if 0 < fast < physical else None,
        features=tuple(feature for name, feature in FEATURES.items() if values.get(name) == "1"),
    )


def gpu(values: Sysctl, memory: Memory) -> GPU | None:
    """The GPU of an Apple processor; None on Intel Macs. Memory that other programs use on it is unknown."""
    if values.get("hw.optional.arm64") != "1":
        return None
    part, whole = SMALL_SHARE if memory.total_bytes < SMALL_BYTES else LARGE_SHARE
    raised = _number(values, "iogpu.wired_limit_mb") * MIB
    budget = min(raised, memory.total_bytes) or memory.total_bytes * part // whole
    return GPU(
        vendor="apple",
        name=values.get("machdep.cpu.brand_string") or "Apple",
        total_bytes=budget,
        free_bytes=min(budget, memory.available_bytes),
        integrated=True,
        driver="Metal",
    )


def _number(values: Sysctl, name: str) -> int:
    """The number; 0 if it is missing."""
    word = values.get(name, "")
    return int(word) if word.isdecimal() and len(word) < 20 else 0
