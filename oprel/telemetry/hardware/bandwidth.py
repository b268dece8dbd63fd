"""Bandwidth of the machine's memory, measured once and stored in OPREL_HOME.

Decoding reads all weights for each token, so the bandwidth and the size of the weights determine the speed.
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

BLOCK = 64 * 1024**2  # bytes: more than a core's share of any cache
SECONDS = 0.5
FILE = "bandwidth.json"


def measure(threads: int, seconds: float = SECONDS, block: int = BLOCK) -> int:
    """Bytes per second that `threads` read together, each scanning its own memory with `memchr` for an absent byte."""
    find = ctypes.CDLL(None).memchr  # ctypes releases the GIL while it runs
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
    """Store the bandwidth of this machine in bytes per second. Raises OSError."""
    write_atomically(home / FILE, json.dumps({_machine(hardware): bandwidth}).encode())


def recall(home: Path, hardware: Hardware) -> Hardware:
    """`hardware` with its stored bandwidth, unchanged if none was measured on this machine."""
    try:
        measured = json.loads((home / FILE).read_bytes())
    except (OSError, ValueError):
        return hardware
    bandwidth = measured.get(_machine(hardware)) if isinstance(measured, Mapping) else None
    if not isinstance(bandwidth, int) or bandwidth <= 0:
        return hardware
    return replace(hardware, memory=replace(hardware.memory, bandwidth_bytes=bandwidth))


def _machine(hardware: Hardware) -> str:
    return f"{hardware.cpu.name}, {hardware.cpu.threads} threads, {platform.machine()}"
