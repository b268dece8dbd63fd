"""Reads from an engine's log the sizes of its buffers, what is on GPUs, and whether it knows thoughts. Pure.

Source of the sizes: `load_tensors`, `llama_kv_cache`, `llama_memory_recurrent`, `sched_reserve` and `output_reserve` of
llama.cpp at log level 4; each prints "... DEVICE KIND buffer size = N MiB". Buffers on the CPU are named CPU,
CPU_Mapped, CPU_REPACK or DEVICE_Host. Some locales print a decimal comma. A dry run before the load prints the same
lines.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from oprel.telemetry.calibration.learning import Buffers

MIB = 1024**2
LINE = re.compile(r"\s(\S+)\s+(model|KV|RS|compute|output) buffer size\s*=\s*([\d.,]+) MiB")
FIELDS = {"model": "weights", "KV": "kv", "RS": "state", "compute": "compute", "output": "output"}
KNOWS_NO_THOUGHTS = "chat template, thinking = 0"
ON_CPU = re.compile(r"CPU|_Host$|^BLAS$")
OFFLOADED = re.compile(r"offloaded (\d+)/(\d+) layers to GPU")


@dataclass(frozen=True)
class GPUUse:
    """What an engine has on GPUs: bytes by the device's name, and how many `of` its layers; 0 of 0 if it does not say.

    Memory that drivers take for themselves is not in it.
    """

    bytes: Mapping[str, int]
    layers: int = 0
    of: int = 0

    @property
    def total(self) -> int:
        return sum(self.bytes.values())

    @property
    def is_whole(self) -> bool:
        """Whether every layer is on GPUs."""
        return bool(self.bytes) and self.layers == self.of


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


def gpu_use_of(lines: Iterable[str]) -> GPUUse | None:
    """What the last load in the log has on GPUs; None if the log does not report buffers.

    >>> gpu_use_of(["0.1 I load_tensors: offloaded 9/9 layers to GPU", "0.1 I x: CUDA0 model buffer size = 3.00 MiB"])
    GPUUse(bytes={'CUDA0': 3145728}, layers=9, of=9)
    """
    sizes, layers, has_buffers, was_loading = Counter[str](), (0, 0), False, False
    for line in lines:
        if offloaded := OFFLOADED.search(line):
            layers = int(offloaded[1]), int(offloaded[2])
        elif match := LINE.search(line):
            device, kind, size = match.groups()
            if kind == "model" and not was_loading:
                sizes.clear()
            has_buffers, was_loading = True, kind == "model"
            if not ON_CPU.search(device):
                sizes[device] += round(float(size.replace(",", ".")) * MIB)
    return GPUUse(dict(sizes), *layers) if has_buffers else None


def splits_thoughts(lines: Iterable[str]) -> bool:
    """Whether the engine tells thoughts from text; True unless its log says that it does not.

    >>> splits_thoughts(["0.02 I srv init: chat template, thinking = 0"]), splits_thoughts([])
    (False, True)
    """
    return not any(KNOWS_NO_THOUGHTS in line for line in lines)
