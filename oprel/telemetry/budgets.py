"""How much of a machine's memory engines may take. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from oprel.telemetry.hardware import Hardware
from oprel.telemetry.memory import DEVICE_MARGIN
from oprel.telemetry.parts import GPU

HOST_MARGIN = 0.1  # of what is free: for what other programs take next


@dataclass(frozen=True)
class Budgets:
    """Bytes. `devices` are those of the `gpus`, in the same order; `host` is of the machine's memory.

    `shared`: the GPU takes its memory from the machine's, so that both together may take `host`. `host_bandwidth` is
    what the machine's memory moves in a second, None where nobody measured it.
    """

    host: int
    gpus: tuple[GPU, ...] = ()
    devices: tuple[int, ...] = ()
    shared: bool = False
    host_bandwidth: int | None = None

    def without_gpus(self) -> "Budgets":
        return replace(self, gpus=(), devices=(), shared=False)

    def shrunk(self, share: float) -> "Budgets":
        """Less of everything."""
        return replace(self, host=int(self.host * share), devices=tuple(int(one * share) for one in self.devices))


def budgets_of(hardware: Hardware, host_bytes: int | None = None, held: int = 0) -> Budgets:
    """What may be taken now, and `held` by engines that would go for it.

    `host_bytes` is a limit of the user's for the machine's memory, in place of what is free. GPUs of one kind work
    together: separate ones rather than one that is integrated, of the vendor that has most memory here.
    """
    free = hardware.memory.available_bytes + held
    host = host_bytes if host_bytes is not None else int(free * (1 - HOST_MARGIN))
    gpus = _usable(hardware.gpus)
    shared = bool(gpus) and gpus[0].integrated
    return Budgets(
        host=host,
        gpus=gpus,
        devices=tuple(min(gpu.free_bytes, host) if shared else max(0, gpu.free_bytes - DEVICE_MARGIN) for gpu in gpus),
        shared=shared,
        host_bandwidth=hardware.memory.bandwidth_bytes,
    )


def _usable(gpus: Sequence[GPU]) -> tuple[GPU, ...]:
    separate = [gpu for gpu in gpus if not gpu.integrated]
    if not separate:
        return tuple(gpus[:1])
    free = {vendor: sum(gpu.free_bytes for gpu in separate if gpu.vendor == vendor) for vendor in _vendors(separate)}
    most = max(free, key=free.__getitem__)
    return tuple(gpu for gpu in separate if gpu.vendor == most)


def _vendors(gpus: Sequence[GPU]) -> list[str]:
    return list(dict.fromkeys(gpu.vendor for gpu in gpus))
