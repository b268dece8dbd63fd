"""Reads from an engine's log the sizes of its buffers, and whether it knows the model's thoughts. Pure.

Source of the sizes: `load_tensors`, `llama_kv_cache`, `llama_memory_recurrent`, `sched_reserve` and `output_reserve` of
llama.cpp at log level 4; each prints "... DEVICE KIND buffer size = N MiB". Buffers on the CPU are named CPU,
CPU_Mapped, CPU_REPACK or DEVICE_Host. Some locales print a decimal comma. A dry run before the load prints the same
lines.
"""

import re
from collections.abc import Iterable

from oprel.telemetry.calibration.learning import Buffers

MIB = 1024**2
LINE = re.compile(r"\s(\S+)\s+(model|KV|RS|compute|output) buffer size\s*=\s*([\d.,]+) MiB")
FIELDS = {"model": "weights", "KV": "kv", "RS": "state", "compute": "compute", "output": "output"}
KNOWS_NO_THOUGHTS = "chat template, thinking = 0"
ON_CPU = re.compile(r"CPU|_Host$|^BLAS$")


def buffers_of(lines: Iterable[str]) -> Buffers | None:
    """The buffers of the last load in the log; None if the log does not report them.

    >>> buffers_of(["0.01 I load_tensors:   CPU_Mapped model buffer size =     3.05 MiB"])
    Buffers(weights=3198157, kv=0, state=0, compute=0, output=0, on_gpus=0)
    """
    sizes, on_gpus, was_loading = dict.fromkeys(FIELDS, 0), 0, False
    for line in lines:
        if match := LINE.search(line):
            device, kind, size = match.groups()
            if kind == "model" and not was_loading:  # the lines before were of a dry run
                sizes, on_gpus = dict.fromkeys(FIELDS, 0), 0
            was_loading = kind == "model"
            bytes = round(float(size.replace(",", ".")) * MIB)
            sizes[kind] += bytes
            on_gpus += 0 if ON_CPU.search(device) else bytes
    if not any(sizes.values()):
        return None
    return Buffers(**{FIELDS[kind]: size for kind, size in sizes.items()}, on_gpus=on_gpus)


def splits_thoughts(lines: Iterable[str]) -> bool:
    """Whether the engine tells thoughts from text; True unless its log says that it does not.

    >>> splits_thoughts(["0.02 I srv init: chat template, thinking = 0"]), splits_thoughts([])
    (False, True)
    """
    return not any(KNOWS_NO_THOUGHTS in line for line in lines)
