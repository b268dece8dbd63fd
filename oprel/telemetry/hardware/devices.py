"""The parts of a machine that models run on, as data. Sizes in bytes."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

if TYPE_CHECKING:
    from pydantic import ConfigDict

Vendor = Literal["nvidia", "amd", "intel", "apple"]


class Device:
    """Base of all that a file may describe. Raises ValueError where a number is negative."""

    __pydantic_config__: ClassVar["ConfigDict"] = {"extra": "forbid"}  # a misspelt name would mean another machine

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if isinstance(value, int | float) and not value >= 0:  # nor no number at all
                raise ValueError(f"{name} must not be {value}")


@dataclass(frozen=True)
class CPU(Device):
    """Counted are the cores that this process may run on.

    `performance_cores` are those of the fast kind, where there are two kinds. `quota` is how many cores' time a
    container allows, None without a limit. `features` are the instruction sets that engines can use, by their names in
    Linux.
    """

    name: str = ""
    physical_cores: int = 1
    logical_cores: int = 1
    performance_cores: int | None = None
    quota: float | None = None
    features: tuple[str, ...] = ()

    @property
    def threads(self) -> int:
        """How many should compute: a second one on a core, one on a slow core, or one without time holds all up."""
        cores = self.performance_cores or self.physical_cores
        return max(1, int(min(cores, self.quota or cores)))


@dataclass(frozen=True)
class Memory(Device):
    """`limit_bytes` is what a container allows, None when that is everything.

    `available_bytes` can be had now without swapping, the limit considered. `bandwidth_bytes` is what all cores
    together read in a second, None where nobody measured it (`oprel bench memory`).
    """

    total_bytes: int
    available_bytes: int
    limit_bytes: int | None = None
    swap_total_bytes: int = 0
    swap_free_bytes: int = 0
    bandwidth_bytes: int | None = None

    @property
    def usable_bytes(self) -> int:
        """What this process and its engines may take if nothing else runs."""
        return self.total_bytes if self.limit_bytes is None else min(self.total_bytes, self.limit_bytes)


@dataclass(frozen=True)
class GPU(Device):
    """A graphics processor. `total_bytes` and `free_bytes` are of the memory that an engine can take on it.

    An `integrated` one takes it, or most of it, from the machine's memory: it must not be counted twice. `index` counts
    the GPUs of a vendor, for NVIDIA in the order of their places on the bus (CUDA_DEVICE_ORDER=PCI_BUS_ID). `id` is
    what the driver calls it, a UUID or an address. `architecture` is "8.9", "gfx1100" and the like; `bandwidth_bytes`
    is what its memory can move in a second at most, None where that is not told.
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
