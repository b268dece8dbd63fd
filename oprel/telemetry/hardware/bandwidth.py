"""Bandwidth of the machine's memory and speed of a core, measured once and stored in OPREL_HOME.

Both bound the speed of models on the CPU: how fast weights are read, and how fast they are multiplied.
"""

import ctypes
import itertools
import json
import mmap
import platform
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from oprel.telemetry.hardware.probing import Hardware
from oprel.utils.files import read_own, write_atomically

BLOCK = 64 * 1024**2  # bytes that each thread reads: more than a core's share of any cache
MOST_SHARE, LEAST_BLOCK = 1 / 16, 8 * 1024**2  # of the free memory, what all threads read; less is no measurement
STEP = 4 * 1024**2  # bytes between looks at the clock and at `stop`: less than a millisecond
CACHED_BLOCK = 256 * 1024  # bytes: fits into a core's own cache, and makes the cost of a call unimportant
SECONDS, CORE_SHARE = 0.5, 0.3  # of a measurement; the part of it for the core
WINDOW = 0.0125  # s; other programs disturb some of them
FILE = "bandwidth.json"


@dataclass(frozen=True)
class Rates:
    """Bytes per second: `memory` that all threads read together, `core` that one of them scans in its own cache."""

    memory: int
    core: int


def measure(hardware: Hardware, seconds: float = SECONDS, stop: threading.Event | None = None) -> Rates | None:
    """The rates of this machine, in about `seconds`. None if `stop` was set before the end, or if memory is short."""
    stop, threads = stop or threading.Event(), hardware.cpu.threads
    block = min(BLOCK, int(hardware.memory.available_bytes * MOST_SHARE / threads))
    if block < LEAST_BLOCK:
        return None
    try:
        core = scan(1, seconds * CORE_SHARE, CACHED_BLOCK, stop)
        memory = scan(threads, seconds * (1 - CORE_SHARE), block, stop)
    except (OSError, RuntimeError):  # a limit of this process allows no such block, or fewer threads
        return None
    return None if stop.is_set() else Rates(memory, core)


def scan(threads: int, seconds: float, block: int, stop: threading.Event) -> int:
    """Bytes per second that `threads` read together in a good `WINDOW` (the third quartile), each of its own memory.

    They look for an absent byte with `memchr`. Raises OSError if there is no memory for it, and RuntimeError if the
    system starts no such number of threads.
    """
    library = ctypes.CDLL(None)  # ctypes releases the GIL while a function of it runs
    for function in (library.memchr, library.memset):
        function.restype, function.argtypes = ctypes.c_void_p, (ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t)
    windows = [[0] * max(1, round(seconds / WINDOW)) for _ in range(threads)]
    maps = [mmap.mmap(-1, block) for _ in range(threads)]
    ready = threading.Barrier(threads)
    step = min(STEP, block)

    def read(number: int) -> None:
        first, read = ctypes.c_char.from_buffer(maps[number]), windows[number]
        addresses = [ctypes.addressof(first) + offset for offset in range(0, block - step + 1, step)]
        for address in addresses:
            library.memset(address, 1, step)
        try:
            ready.wait()
        except threading.BrokenBarrierError:  # another thread was not started
            return
        began = time.perf_counter()
        for address in itertools.cycle(addresses):
            library.memchr(address, 0, step)
            window = int((time.perf_counter() - began) / WINDOW)
            if window >= len(read) or stop.is_set():
                return
            read[window] += step

    _run([threading.Thread(target=read, args=(number,), daemon=True) for number in range(threads)], ready)
    together = sorted(map(sum, zip(*windows, strict=True)))
    return round(together[len(together) * 3 // 4] / WINDOW)


def _run(workers: Sequence[threading.Thread], ready: threading.Barrier) -> None:
    """Return once all have ended, also those that were started before another was not. They first wait at `ready`."""
    try:
        for worker in workers:
            worker.start()
    except RuntimeError:
        ready.abort()
        raise
    finally:
        for worker in workers:
            if worker.ident is not None:
                worker.join()


def busy_percent(seconds: float) -> float:
    """The part of the CPU that was used in the next `seconds`, by all programs. Raises OSError."""
    import psutil  # imported late: it takes 20 ms

    try:
        return psutil.cpu_percent(seconds)
    except psutil.Error as error:
        raise OSError(f"how busy the CPU is cannot be read: {error}") from error


def remember(home: Path, hardware: Hardware, rates: Rates) -> None:
    """Store the rates of this machine. Raises OSError."""
    write_atomically(home / FILE, json.dumps({_machine(hardware): [rates.memory, rates.core]}).encode())


def recall(home: Path, hardware: Hardware) -> Hardware:
    """`hardware` with its stored rates, unchanged if none were measured on this machine."""
    rates = _stored(home, _machine(hardware))
    if rates is None:
        return hardware
    return replace(
        hardware,
        cpu=replace(hardware.cpu, scan_bytes=rates.core),
        memory=replace(hardware.memory, bandwidth_bytes=rates.memory),
    )


def parsed(content: bytes) -> dict[str, list[int]]:
    """The file's entries, by machine. Raises ValueError or AttributeError for anything else."""
    measured = {str(machine): rates for machine, rates in json.loads(content).items()}
    if not all(isinstance(rates, list) for rates in measured.values()):
        raise ValueError("its entries are not lists")
    return measured


def _stored(home: Path, machine: str) -> Rates | None:
    try:
        rates = parsed(read_own(home / FILE)).get(machine, [])
    except (OSError, ValueError, AttributeError):
        return None
    if len(rates) != 2 or not all(isinstance(each, int) and each > 0 for each in rates):
        return None  # also a file of an older version, which measured less: it is measured again
    return Rates(*rates)


def _machine(hardware: Hardware) -> str:
    return f"{hardware.cpu.name}, {hardware.cpu.threads} threads, {platform.machine()}"
