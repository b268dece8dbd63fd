"""Macs: what `sysctl` tells, and how much of the memory Metal lets be taken."""

import subprocess
from collections.abc import Mapping

from oprel.telemetry.hardware.devices import CPU, GPU, Memory

MIB, GIB = 1024**2, 1024**3
PROGRAM = "/usr/sbin/sysctl"
SECONDS = 5.0  # for it to answer
NAMES = (
    *("machdep.cpu.brand_string", "hw.physicalcpu", "hw.logicalcpu", "hw.perflevel0.physicalcpu"),
    *("hw.memsize", "hw.optional.arm64", "iogpu.wired_limit_mb"),
)
# Names of what engines look for, as Linux has them.
FEATURES = {
    "hw.optional.arm.AdvSIMD": "asimd",
    "hw.optional.arm.FEAT_FP16": "asimdhp",
    "hw.optional.arm.FEAT_DotProd": "asimddp",
    "hw.optional.arm.FEAT_I8MM": "i8mm",
    "hw.optional.arm.FEAT_BF16": "bf16",
    "hw.optional.arm.FEAT_SME": "sme",
}
# What Metal recommends at most: 2/3 of the memory of small Macs, 3/4 of others; newer systems allow a little more.
SMALL_BYTES, SMALL_SHARE, LARGE_SHARE = 36 * GIB, (2, 3), (3, 4)

Told = Mapping[str, str]


def told() -> Told:
    """What the system says of itself; empty where it does not."""
    command = [PROGRAM, *NAMES, *FEATURES]
    try:
        # Names that a system lacks are complained of, and the others told all the same.
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return {}
    return parsed(done.stdout)


def parsed(output: str) -> Told:
    """Lines of a name, a colon and a value."""
    rows = (line.partition(":") for line in output.splitlines())
    return {name.strip(): value.strip() for name, _, value in rows}


def cpu(told: Told) -> CPU:
    physical, fast = _number(told, "hw.physicalcpu"), _number(told, "hw.perflevel0.physicalcpu")
    return CPU(
        name=told.get("machdep.cpu.brand_string", ""),
        physical_cores=physical or 1,
        logical_cores=_number(told, "hw.logicalcpu") or physical or 1,
        performance_cores=fast if 0 < fast < physical else None,
        features=tuple(feature for name, feature in FEATURES.items() if told.get(name) == "1"),
    )


def gpu(told: Told, memory: Memory) -> GPU | None:
    """The one of Apple's own processors; None on other Macs. Other programs' part of its budget is not told."""
    if told.get("hw.optional.arm64") != "1":
        return None
    part, whole = SMALL_SHARE if memory.total_bytes < SMALL_BYTES else LARGE_SHARE
    raised = _number(told, "iogpu.wired_limit_mb") * MIB
    budget = min(raised, memory.total_bytes) or memory.total_bytes * part // whole
    return GPU(
        vendor="apple",
        name=told.get("machdep.cpu.brand_string") or "Apple",
        total_bytes=budget,
        free_bytes=min(budget, memory.available_bytes),
        integrated=True,
        driver="Metal",
    )


def _number(told: Told, name: str) -> int:
    """0 where it is not told."""
    word = told.get(name, "")
    return int(word) if word.isdecimal() and len(word) < 20 else 0
