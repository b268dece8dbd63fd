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
# stacks and heaps of its threads. Measured with the limit lowered until a start fails: for a model of 3 MB and one of
# 250 MB 230 and 590 MiB of address space, and 115 and 150 MiB of data.
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
