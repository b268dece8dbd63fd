"""Work on what strangers send, in a child process with a budget of CPU time and memory."""

import asyncio
import os
import sys
from collections.abc import Callable

import anyio
from anyio.lowlevel import RunVar

from oprel.utils.process.clock import Clock

WALL_FACTOR = 10  # times its CPU time may pass on a busy machine
OUT_OF_MEMORY = 7  # the exit status of a child
AT_ONCE = 2  # children


class OutOfBudgetError(Exception):
    """The child took more than its time or memory, and was ended."""


_TURNS = RunVar[anyio.Semaphore]("turns of children")  # one in each event loop: direct mode has its own


async def run(module: str, payload: bytes, *, seconds: float, memory: int) -> bytes:
    """What `python -m module`, which calls `answer`, makes of the payload within these seconds and bytes.

    Raises OutOfBudgetError, and RuntimeError if the child fails in another way.
    """
    turns = _TURNS.get(None) or anyio.Semaphore(AT_ONCE)
    _TURNS.set(turns)
    async with turns:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", module, str(seconds), str(memory)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},  # an empty one is the current folder
        )
        try:
            async with Clock().timeout(WALL_FACTOR * seconds):
                output, errors = await process.communicate(payload)
        except TimeoutError:
            raise OutOfBudgetError from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    assert process.returncode is not None
    if process.returncode < 0 or process.returncode == OUT_OF_MEMORY:
        raise OutOfBudgetError
    if process.returncode:
        raise RuntimeError(f"{module}: {errors.decode(errors='replace').strip()[-500:]}")
    return output


def answer(work: Callable[[bytes], bytes]) -> None:
    """The child's side: write what `work` makes of the payload. Import everything before."""
    _, seconds, memory = sys.argv
    _limit(float(seconds), int(memory))
    try:
        sys.stdout.buffer.write(work(sys.stdin.buffer.read()))
    except MemoryError:
        sys.exit(OUT_OF_MEMORY)


def _limit(seconds: float, memory: int) -> None:
    """Let this process have so much more than now. Windows has no such limits, and macOS none of memory."""
    if sys.platform == "win32":
        return
    import resource

    cpu = round(sum(os.times()[:2]) + seconds + 0.5)
    resource.setrlimit(resource.RLIMIT_CPU, (cpu, cpu))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        with open("/proc/self/statm") as file:
            pages = int(file.read().split()[0])
        most = pages * resource.getpagesize() + memory
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
