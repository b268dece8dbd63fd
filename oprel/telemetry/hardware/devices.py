"""The parts of a machine that models run on. Sizes in bytes."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

if TYPE_CHECKING:
    from pydantic import ConfigDict

Vendor = Literal["nvidia", "amd", "intel", "apple"]


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
    """

    name: str = ""
    physical_cores: int = 1
    logical_cores: int = 1
    performance_cores: int | None = None
    quota: float | None = None
    features: tuple[str, ...] = ()

    @property
    def threads(self) -> int:
        """How many threads should compute. A second one on a core, or one on a slow core, holds up all others."""
        cores = self.performance_cores or self.physical_cores
        return max(1, int(min(cores, self.quota or cores)))


@dataclass(frozen=True, kw_only=True)
class Memory(Device):
    """The machine's memory in bytes. `limit_bytes` is a container's limit, None without one.

    `available_bytes` can be allocated now without swapping or exceeding the limit. `bandwidth_bytes` is what all cores
    together read per second, None if it was never measured (`oprel bench memory`).
    """

    total_bytes: int
    available_bytes: int
    limit_bytes: int | None = None
    swap_total_bytes: int = 0
    swap_free_bytes: int = 0
    bandwidth_bytes: int | None = None

    @property
    def usable_bytes(self) -> int:
        """Bytes that this process and its engines could use if nothing else ran."""
        return self.total_bytes if self.limit_bytes is None else min(self.total_bytes, self.limit_bytes)


@dataclass(frozen=True, kw_only=True)
class GPU(Device):
    """A graphics processor. `total_bytes` and `free_bytes` are of the memory that an engine can use on it.

    An `integrated` GPU takes most or all of it from the machine's memory, so it must not be counted twice. `index`
    counts the GPUs of one vendor, for NVIDIA in PCI bus order (CUDA_DEVICE_ORDER=PCI_BUS_ID). `id` is the driver's
    identifier: a UUID or a PCI address. `architecture` is such as "8.9" or "gfx1100". `bandwidth_bytes` is the
    peak bandwidth of its memory in bytes per second, None if unknown.
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
