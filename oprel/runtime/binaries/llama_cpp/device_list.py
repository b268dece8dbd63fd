"""The devices that an engine itself finds: what `llama-server --list-devices` prints."""

import asyncio
import re

from oprel.core.config import child_environment

SECONDS = 30.0  # a driver may take long to start
# `  CUDA0: NVIDIA GeForce RTX 4090 (24081 MiB, 23626 MiB free)`
DEVICE = re.compile(r"^\s+(?P<id>\w+): (?P<name>.+) \(\d+ MiB, \d+ MiB free\)$", re.MULTILINE)
FLAG = "--list-devices"


def devices_in(output: str) -> tuple[str, ...]:
    """The names of the devices in the output of `--list-devices`.

    >>> devices_in("Available devices:\\n  CUDA0: NVIDIA GeForce RTX 4090 (24081 MiB, 23626 MiB free)")
    ('NVIDIA GeForce RTX 4090',)
    """
    return tuple(match["name"] for match in DEVICE.finditer(output))


async def list_devices(command: tuple[str, ...]) -> tuple[str, ...] | None:
    """The devices that a program with that flag finds; None if it does not answer."""
    nothing = asyncio.subprocess.DEVNULL
    try:
        process = await asyncio.create_subprocess_exec(
            *command, FLAG, stdin=nothing, stdout=asyncio.subprocess.PIPE, stderr=nothing, env=child_environment()
        )
    except OSError:
        return None
    try:
        output, _ = await asyncio.wait_for(process.communicate(), SECONDS)
    except TimeoutError:
        return None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return devices_in(output.decode(errors="replace")) if process.returncode == 0 else None
