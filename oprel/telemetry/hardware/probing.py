"""The hardware of this machine, or of one described in a file."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from oprel.core.configuration.environment import child_environment
from oprel.core.exceptions import ValidationError
from oprel.telemetry.hardware import apple, linux, nvidia, pci
from oprel.telemetry.hardware.devices import CPU, GPU, Device, Memory
from oprel.telemetry.hardware.visible import visible

HERE = Path("/")


@dataclass(frozen=True)
class Hardware(Device):
    """A machine at one moment. `gpus` are those that engines will see.

    `notes` are sentences for users about what could not be determined and what is left out.
    """

    cpu: CPU
    memory: Memory
    gpus: tuple[GPU, ...] = ()
    notes: tuple[str, ...] = ()

    def to_json(self) -> str:
        """The description that `from_json` reads."""
        from pydantic import TypeAdapter

        return TypeAdapter(Hardware).dump_json(self, indent=2).decode()

    @staticmethod
    def from_json(text: str | bytes, source: str = "the hardware description") -> "Hardware":
        """The inverse of `to_json`. Missing values of CPU and GPUs have defaults.

        Raises ValidationError, which names `source` and the wrong value.
        """
        from pydantic import TypeAdapter
        from pydantic import ValidationError as Refused

        try:
            return TypeAdapter(Hardware).validate_json(text)
        except Refused as refused:
            first = refused.errors()[0]
            location = ".".join(map(str, first["loc"]))
            raise ValidationError(
                ": ".join(filter(None, [f"{source} cannot be used", location, first["msg"]])),
                "`oprel hardware --json` prints an example.",
            ) from None

    @staticmethod
    def load(path: Path) -> "Hardware":
        """The machine described in a file in the format of `to_json`. Raises ValidationError."""
        try:
            return Hardware.from_json(path.read_bytes(), str(path))
        except OSError as error:
            raise ValidationError(f"{path} cannot be read: {error.strerror}", "Check the path.") from error


def probe(root: Path = HERE, environment: Mapping[str, str] | None = None) -> Hardware:
    """Probe the machine. Takes a few milliseconds, with NVIDIA's driver some tens.

    `root` may be a folder with a recording of another Linux machine. `environment` is the environment of engines, by
    default the one that this process starts them with. Never raises: failures become notes.
    """
    notes = list[str]()
    is_linux = sys.platform == "linux" or root != HERE
    cpu, memory, installed = _linux(root, notes) if is_linux else _elsewhere(notes)
    gpus = visible(installed, child_environment() if environment is None else environment)
    notes += (f"GPU {gpu.name} is hidden by an environment variable" for gpu in installed if gpu not in gpus)
    return Hardware(cpu, memory, tuple(gpus), tuple(notes))


def this_machine(description: str = "") -> Hardware:
    """The machine that the file describes (the setting `hardware`), else this one. Raises ValidationError."""
    return Hardware.load(Path(description).expanduser()) if description else probe()


def busy_cores() -> float:
    """How many cores are busy for a while already; 0 where only Linux says so. Reads some small files."""
    return linux.busy_cores(HERE) if sys.platform == "linux" else 0.0


def memory_bytes() -> int:
    """Bytes of memory that this process and its engines may use: the machine's, or a container's limit."""
    return (linux.memory(HERE) or _memory_from_psutil()).usable_bytes


def _linux(root: Path, notes: list[str]) -> tuple[CPU, Memory, list[GPU]]:
    memory = linux.memory(root)
    if memory is None:
        notes.append("the size of the memory is unknown: /proc/meminfo cannot be read")
        memory = _memory_from_psutil() if root == HERE else Memory(total_bytes=0, available_bytes=0)
    gpus = [*nvidia.gpus(root, memory, notes.append), *pci.gpus(root, memory, notes.append)]
    return linux.cpu(root), memory, gpus


def _elsewhere(notes: list[str]) -> tuple[CPU, Memory, list[GPU]]:
    memory, values = _memory_from_psutil(), apple.read_sysctl()
    if not values:
        notes.append("the processor is unknown: sysctl failed")
    gpu = apple.gpu(values, memory)
    return apple.cpu(values), memory, [gpu] if gpu else []


def _memory_from_psutil() -> Memory:
    import psutil  # imported late: it takes 20 ms

    now, swap = psutil.virtual_memory(), psutil.swap_memory()
    return Memory(
        total_bytes=now.total,
        available_bytes=now.available,
        swap_total_bytes=swap.total,
        swap_free_bytes=swap.free,
    )
