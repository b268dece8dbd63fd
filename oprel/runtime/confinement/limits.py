"""What bounds an engine, as data. Pure."""

from dataclasses import dataclass

MIB = 1024**2
MOST_TIMES, ALLOWANCE = 1.5, 256 * MIB  # of what is reserved; and for what the estimate leaves out
DRIVER = 1024 * MIB  # what a GPU's driver and libraries may keep in the engine's process


@dataclass(frozen=True, kw_only=True)
class EngineLimits:
    """Bytes of `memory` that an engine's processes may have for themselves; 0 = any. Mapped weights do not count.

    `reserved` is what the plan expected at most. `offline`: it gets no network, where the system permits that.
    """

    reserved: int = 0
    memory: int = 0
    offline: bool = False

    def is_outgrown(self, private: int) -> bool:
        """Whether an engine with `private` bytes of its own is to be ended."""
        return 0 < self.memory < private


def most_memory(reserved: int, *, uses_gpus: bool) -> int:
    """The most bytes of an engine for which `reserved` bytes are reserved, on GPUs too.

    Software devices, and drivers that keep copies, have what is on a GPU in the engine's process.

    >>> most_memory(1024 * MIB, uses_gpus=False) // MIB
    1792
    """
    return int(MOST_TIMES * reserved) + ALLOWANCE + (DRIVER if uses_gpus else 0)
