"""The parts of a machine that models run on. Sizes in bytes."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Literal

from oprel.utils.text import human_size

if TYPE_CHECKING:
    from pydantic import ConfigDict

Vendor = Literal["nvidia", "amd", "intel", "apple", "other"]


class Device:
    """Base of the classes that a hardware description may contain. Raises ValueError if a number is negative."""

    __pydantic_config__: ClassVar["ConfigDict"] = {"extra": "forbid"}  # a misspelt name must not be ignored

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if isinstance(value, int | float) and not value >= 0:  # catches NaN too
                raise ValueError(f"{name} must not be {value}")


@dataclass(frozen=True, kw_only=True)
class CPU(Device):
    """The cores that this process may run on.

    `performance_cores` is the number of fast cores if there are two kinds. `quota` is how many cores' time a container
    allows, None without a limit. `features` are the instruction sets that engines can use, by their names in Linux.
    `scan_bytes` is what a core scans of its own cache per second, None if it was never measured. `busy_cores` is how
    many cores programs keep busy for a while already, engines included.
    """

    name: str = ""
    physical_cores: int = 1
    logical_cores: int = 1
    performance_cores: int | None = None
    quota: float | None = None
    features: tuple[str, ...] = ()
    scan_bytes: int | None = None
    busy_cores: float = 0.0

    @property
    def threads(self) -> int:
        """How many threads should compute. A second one on a core, or one on a slow core, holds up all others."""
        cores = self.performance_cores or self.physical_cores
        return max(1, int(min(cores, self.quota or cores)))


@dataclass(frozen=True, kw_only=True)
class MemoryLimit(Device):
    """A bound that is lower than the machine's memory. Sizes in bytes.

    `owner` holds it, such as "the control group", and `setting` is its name there, such as "memory.max". `free_bytes`
    are left now: page cache, which can be dropped, takes nothing. `each`: every process has so much for itself, of
    which an engine can use `free_bytes`; else all processes of the owner share it.

    >>> str(MemoryLimit(owner="the control group", setting="memory.max", limit_bytes=2 * 1024**3, free_bytes=1024**3))
    'the control group allows 2.1 GB (memory.max)'
    """

    owner: str
    setting: str
    limit_bytes: int
    free_bytes: int
    each: bool = False

    def __str__(self) -> str:
        size = f"{human_size(self.limit_bytes)} for each process" if self.each else human_size(self.limit_bytes)
        return f"{self.owner} allows {size} ({self.setting})"

    def without(self, held: int) -> "MemoryLimit":
        """As if processes that hold `held` bytes had ended."""
        return self if self.each else replace(self, free_bytes=min(self.limit_bytes, self.free_bytes + held))


@dataclass(frozen=True, kw_only=True)
class Memory(Device):
    """The machine's memory in bytes.

    `available_bytes` can be allocated now without swapping or exceeding a limit that processes share; without such a
    limit it would be `machine_available_bytes`, None where it is the same. `limits` are those below the machine's
    memory, and `limit_bytes` is the lowest that processes share, None without one. `bandwidth_bytes` is what all cores
    together read per second, None if it was never measured (by the daemon, or `oprel bench memory`).
    """

    total_bytes: int
    available_bytes: int
    limit_bytes: int | None = None
    limits: tuple[MemoryLimit, ...] = ()
    machine_available_bytes: int | None = None
    swap_total_bytes: int = 0
    swap_free_bytes: int = 0
    bandwidth_bytes: int | None = None

    @property
    def usable_bytes(self) -> int:
        """Bytes that this process and its engines could use if nothing else ran."""
        return self.total_bytes if self.limit_bytes is None else min(self.total_bytes, self.limit_bytes)

    @property
    def shared_limits(self) -> tuple[MemoryLimit, ...]:
        """The limits of all processes together."""
        return tuple(limit for limit in self.limits if not limit.each)

    @property
    def process_limits(self) -> tuple[MemoryLimit, ...]:
        """The limits of every single process."""
        return tuple(limit for limit in self.limits if limit.each)

    @staticmethod
    def within(limits: tuple[MemoryLimit, ...], *, total: int, available: int, swap: tuple[int, int]) -> "Memory":
        """A machine of `total` bytes, of which `available` are free, and of `swap` bytes in all and free."""
        shared = [limit for limit in limits if not limit.each]
        return Memory(
            total_bytes=total,
            available_bytes=min([available, *(limit.free_bytes for limit in shared)]),
            limit_bytes=min((limit.limit_bytes for limit in shared), default=None),
            limits=limits,
            machine_available_bytes=available if shared else None,
            swap_total_bytes=swap[0],
            swap_free_bytes=swap[1],
        )

    def without(self, held: int) -> "Memory":
        """As if processes of this one's groups that hold `held` bytes had ended."""
        here = self.machine_available_bytes
        limits = tuple(limit.without(held) for limit in self.limits)
        machine = None if here is None else min(self.total_bytes, here + held)
        left = [self.usable_bytes, *(limit.free_bytes for limit in limits if not limit.each)]
        available = min([self.available_bytes + held if machine is None else machine, *left])
        return replace(self, available_bytes=available, machine_available_bytes=machine, limits=limits)


@dataclass(frozen=True, kw_only=True)
class GPU(Device):
    """A graphics processor. `total_bytes` and `free_bytes` are of the memory that an engine can use on it.

    An `integrated` GPU takes most or all of it from the machine's memory, so it must not be counted twice. `index`
    counts the GPUs of one vendor, for NVIDIA in PCI bus order (CUDA_DEVICE_ORDER=PCI_BUS_ID). `id` is the driver's
    identifier: a UUID or a PCI address. `architecture` is such as "8.9" or "gfx1100". `bandwidth_bytes` is the
    peak bandwidth of its memory in bytes per second, None if unknown. `device` is its name in the engine that lists it,
    "" if only a driver reports it.
    """

    vendor: Vendor
    name: str
    total_bytes: int
    free_bytes: int
    integrated: bool = False
    index: int = 0
    id: str = ""
    driver: str = ""
    architecture: str = ""
    bandwidth_bytes: int | None = None
    device: str = ""
