"""Asks an engine's program which devices it sees: `llama-server --list-devices`.

What it sees depends on the program, the drivers and the variables that choose devices (CUDA_VISIBLE_DEVICES and the
like). How much of a device is free changes all the time, so a list with devices is made again before each plan. One
without devices is kept for a while: a daemon may start before the drivers are loaded.
"""

import asyncio
import contextlib
import math
import os
import select
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence

from oprel.telemetry.hardware.listed import ListedDevice, parse_devices
from oprel.utils.process import systems
from oprel.utils.process.observed_time import ObservedTime

SECONDS = 20.0  # drivers may take some to wake up a GPU; a program that hangs is given up
LONGEST_BYTES = 256 * 1024
FRESH_SECONDS, EMPTY_SECONDS = 1.0, 600.0  # a list with and without devices is not made again within
FLAG = "--list-devices"

Listed = tuple[ListedDevice, ...] | None


class DeviceLists:
    """Owner of the lists, by program, its build and its environment."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lists: dict[tuple[object, ...], tuple[float, Listed]] = {}
        self._lock = asyncio.Lock()

    async def of(self, command: Sequence[str], build: str, environment: Mapping[str, str]) -> Listed:
        """The devices that the program sees; None if it does not list them."""
        key = (tuple(command), build, tuple(sorted(environment.items())))
        async with self._lock:
            made_at, devices = self._lists.get(key, (-math.inf, None))
            if self._clock() - made_at < (FRESH_SECONDS if devices else EMPTY_SECONDS):
                return devices
            devices = await asyncio.to_thread(list_devices, command, environment)
            self._lists[key] = self._clock(), devices
        return devices


def list_devices(command: Sequence[str], environment: Mapping[str, str]) -> Listed:
    """What the program lists within `SECONDS`; None if that is no list. Blocks."""
    output = _output([*command, FLAG], environment, SECONDS)
    return parse_devices(output.decode(errors="replace"))


def _output(command: Sequence[str], environment: Mapping[str, str], seconds: float) -> bytes:
    """The first `LONGEST_BYTES` that the program prints until it ends; b"" if it takes too long or does not start.

    Its whole process group is killed at the end, so that no child of it stays.
    """
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )
    except OSError:
        return b""
    assert process.stdout is not None
    try:
        return _read(process, process.stdout.fileno(), seconds)
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            systems.kill_group(process.pid)
        process.wait()
        process.stdout.close()


def _read(process: "subprocess.Popen[bytes]", pipe: int, seconds: float) -> bytes:
    output, now = b"", ObservedTime()
    deadline = now() + seconds
    while len(output) < LONGEST_BYTES:
        has_ended, left = process.poll() is not None, deadline - now()
        if left <= 0:
            return b""
        # After its end nothing more is waited for: a child may hold the pipe open.
        ready, _, _ = select.select([pipe], [], [], 0 if has_ended else min(left, 0.1))
        part = os.read(pipe, LONGEST_BYTES - len(output)) if ready else b""
        if (ready and not part) or (has_ended and not ready):
            break
        output += part
    return output
