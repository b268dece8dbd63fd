"""The buffers that an engine says it made, read from its log. Pure.

Source: `load_tensors`, `llama_kv_cache`, `llama_memory_recurrent`, `sched_reserve` and `output_reserve` of llama.cpp at
log level 4; each prints "... DEVICE KIND buffer size = N MiB". What lies on the CPU is called CPU, CPU_Mapped,
CPU_REPACK or DEVICE_Host. Some locales write a comma for the point; a dry run before the load prints all of it too.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

MIB = 1024**2
LINE = re.compile(r"\s(\S+)\s+(model|KV|RS|compute|output) buffer size\s*=\s*([\d.,]+) MiB")
PARTS = {"model": "weights", "KV": "kv", "RS": "state", "compute": "compute", "output": "output"}
ON_CPU = re.compile(r"CPU|_Host$|^BLAS$")


@dataclass(frozen=True)
class Buffers:
    """Bytes, on all devices together; `on_gpus` are those of them that GPUs hold."""

    weights: int = 0
    kv: int = 0
    state: int = 0
    compute: int = 0
    output: int = 0
    on_gpus: int = 0

    @property
    def total(self) -> int:
        return self.weights + self.kv + self.state + self.compute + self.output


def buffers_of(lines: Iterable[str]) -> Buffers | None:
    """What the last of several loads made; None where the log does not tell.

    >>> buffers_of(["0.01 I load_tensors:   CPU_Mapped model buffer size =     3.05 MiB"])
    Buffers(weights=3198157, kv=0, state=0, compute=0, output=0, on_gpus=0)
    """
    parts, on_gpus, was_loading = dict.fromkeys(PARTS, 0), 0, False
    for line in lines:
        if match := LINE.search(line):
            device, kind, size = match.groups()
            if kind == "model" and not was_loading:  # a dry run came before
                parts, on_gpus = dict.fromkeys(PARTS, 0), 0
            was_loading = kind == "model"
            bytes = round(float(size.replace(",", ".")) * MIB)
            parts[kind] += bytes
            on_gpus += 0 if ON_CPU.search(device) else bytes
    if not any(parts.values()):
        return None
    return Buffers(**{PARTS[kind]: size for kind, size in parts.items()}, on_gpus=on_gpus)
