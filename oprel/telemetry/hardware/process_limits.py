"""Limits of each single process (`ulimit`), which engines inherit. Linux.

The limit of locked memory is not among them: where it is too low, engines run all the same, with weights that are not
locked. Linux ignores that of resident memory.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from oprel.telemetry.hardware.devices import MemoryLimit
from oprel.telemetry.hardware.sysfs import text

MIB = 1024**2
# The limits' names in /proc and for `ulimit`, and what an engine must have beyond the memory that it uses, for the
# stacks and heaps of its threads. Tried on two cores, with one slot of 1024 tokens; beyond the resident memory, a start
# with a model of 3 MB failed with 156 MiB more address space and succeeded with 256, one of 250 MB with 541 and 640.
# Beyond the private memory, it failed with 110 and 132 MiB more data, and succeeded with 120 and 172; the latter used
# 146. Not tried on machines of many cores, where engines have more threads.
_LIMITS = {
    "Max address space": ("ulimit -v", 640 * MIB),
    "Max data size": ("ulimit -d", 160 * MIB),
}


def memory_limits(root: Path, total: int) -> Iterator[MemoryLimit]:
    """The limits below `total`, the bytes of the machine's memory."""
    limits = text(root / "proc/self/limits")
    for name, (setting, unused) in _LIMITS.items():
        soft = re.search(rf"^{name} +(\d{{1,19}}) ", limits, re.MULTILINE)
        if soft and (limit := int(soft[1])) < total:
            yield MemoryLimit(
                owner="the process limit",
                setting=setting,
                limit_bytes=limit,
                free_bytes=max(0, limit - unused),
                each=True,
            )
