"""What this machine has, or another one that is described in a file."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from oprel.core.config import child_environment
from oprel.core.exceptions import ValidationError
from oprel.telemetry.hardware import apple, linux, nvidia, pci
from oprel.telemetry.hardware.devices import CPU, GPU, Device, Memory
from oprel.telemetry.hardware.visible import visible

HERE = Path("/")


@dataclass(frozen=True)
class Hardware(Device):
    """A machine at one moment. `gpus` are those that engines will see; `notes` say, in sentences for people, what could
    not be found out and what is left out.
    """

    cpu: CPU
    memory: Memory
    gpus: tuple[GPU, ...] = ()
    notes: tuple[str, ...] = ()

    def to_json(self) -> str:
        from pydantic import TypeAdapter

        return TypeAdapter(Hardware).dump_json(self, indent=2).decode()

    @staticmethod
    def from_json(text: str | bytes, source: str = "the description of the hardware") -> "Hardware":
        """The inverse of `to_json`. What is not said of CPU and GPUs has defaults.

        Raises ValidationError, naming `source` and what is wrong.
        """
        from pydantic import TypeAdapter
        from pydantic import ValidationError as Refused

        try:
            return TypeAdapter(Hardware).validate_json(text)
        except Refused as refused:
            first = refused.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise ValidationError(
                ": ".join(filter(None, [f"{source} cannot be used", where, first["msg"]])),
                "`oprel hardware --json` prints one to begin with.",
            ) from None

    @staticmethod
    def load(path: Path) -> "Hardware":
        """A machine from a file with what `to_json` gave. Raises ValidationError."""
        try:
            return Hardware.from_json(path.read_bytes(), str(path))
        except OSError as error:
            raise ValidationError(f"{path} cannot be read: {error.strerror}", "Is the path right?") from error


def probe(root: Path = HERE, environment: Mapping[str, str] | None = None) -> Hardware:
    """Look at the machine now; takes some milliseconds, with NVIDIA's driver some tens.

    `root` may be a folder with a recording of another Linux machine. `environment` is what engines are started with,
    by default as this process would. Never raises: what fails becomes a note.
    """
    notes = list[str]()
    is_linux = sys.platform == "linux" or root != HERE
    cpu, memory, found = _linux(root, notes) if is_linux else _elsewhere(notes)
    gpus = visible(found, child_environment() if environment is None else environment)
    notes += (f"the GPU {gpu.name} is hidden by the environment" for gpu in found if gpu not in gpus)
    return Hardware(cpu, memory, tuple(gpus), tuple(notes))


def memory_bytes() -> int:
    """The memory that this process and its engines may use: the machine's, or less in a container."""
    return linux.memory_bytes(HERE) or _told_by_psutil().usable_bytes


def _linux(root: Path, notes: list[str]) -> tuple[CPU, Memory, list[GPU]]:
    memory = linux.memory(root)
    if memory is None:
        notes.append("how much memory there is cannot be found out: /proc/meminfo is not to be read")
        memory = _told_by_psutil() if root == HERE else Memory(0, 0)
    gpus = [*nvidia.gpus(root, memory, notes.append), *pci.gpus(root, memory, notes.append)]
    return linux.cpu(root), memory, gpus


def _elsewhere(notes: list[str]) -> tuple[CPU, Memory, list[GPU]]:
    memory, told = _told_by_psutil(), apple.told()
    if not told:
        notes.append("the processor cannot be asked: sysctl does not work")
    gpu = apple.gpu(told, memory)
    return apple.cpu(told), memory, [gpu] if gpu else []


def _told_by_psutil() -> Memory:
    import psutil  # only here: it costs a start 20 ms

    now, swap = psutil.virtual_memory(), psutil.swap_memory()
    return Memory(now.total, now.available, swap_total_bytes=swap.total, swap_free_bytes=swap.free)
