"""How much the machine's memory moves in a second: measured once, and kept beside the models.

Decoding reads all weights for each token, so that this and their size tell how fast a model answers.
"""

import ctypes
import json
import platform
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from oprel.telemetry.hardware.probing import Hardware
from oprel.utils.files import write_atomically

BLOCK = 64 * 1024**2  # bytes: more than a core has of any cache
SECONDS = 0.5
FILE = "bandwidth.json"


def measure(threads: int, seconds: float = SECONDS, block: int = BLOCK) -> int:
    """Bytes a second that `threads` read together. Each goes over memory of its own, `memchr` for what is not there."""
    find = ctypes.CDLL(None).memchr  # which releases the interpreter's lock
    find.restype, find.argtypes = ctypes.c_void_p, (ctypes.c_char_p, ctypes.c_int, ctypes.c_size_t)
    counts = [0] * threads
    ready = threading.Barrier(threads + 1)
    blocks = [b"\1" * block for _ in range(threads)]

    def read(number: int) -> None:
        ready.wait()
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            find(blocks[number], 0, block - 1)
            counts[number] += block

    workers = [threading.Thread(target=read, args=(number,)) for number in range(threads)]
    for worker in workers:
        worker.start()
    ready.wait()
    began = time.perf_counter()
    for worker in workers:
        worker.join()
    return round(sum(counts) / (time.perf_counter() - began))


def remember(home: Path, hardware: Hardware, bandwidth: int) -> None:
    """Raises OSError."""
    write_atomically(home / FILE, json.dumps({_machine(hardware): bandwidth}).encode())


def known(home: Path, hardware: Hardware) -> Hardware:
    """The machine with its bandwidth, if that was measured on it."""
    try:
        found = json.loads((home / FILE).read_bytes())
    except (OSError, ValueError):
        return hardware
    bandwidth = found.get(_machine(hardware)) if isinstance(found, Mapping) else None
    if not isinstance(bandwidth, int) or bandwidth <= 0:
        return hardware
    return replace(hardware, memory=replace(hardware.memory, bandwidth_bytes=bandwidth))


def _machine(hardware: Hardware) -> str:
    return f"{hardware.cpu.name}, {hardware.cpu.threads} threads, {platform.machine()}"
