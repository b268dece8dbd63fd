"""How much of a machine's memory engines may take. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from oprel.telemetry.hardware import Hardware
from oprel.telemetry.memory import DEVICE_MARGIN
from oprel.telemetry.parts import GPU

HOST_MARGIN = 0.1  # of what is free: for what other programs take next
RESERVE_SHARE, RESERVE_BYTES = 0.1, 1024**3  # of all that there is, for everything else that runs on the machine


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


def budgets_of(hardware: Hardware) -> Budgets:
    """What may be taken now."""
    return _budgets(hardware, int(hardware.memory.available_bytes * (1 - HOST_MARGIN)))


def daemon_budgets(hardware: Hardware, limit: int | None = None) -> Budgets:
    """What a daemon's engines may take together: of the machine's memory `limit`, or all but a reserve."""
    total = hardware.memory.usable_bytes
    host = max(total // 2, total - max(RESERVE_BYTES, round(total * RESERVE_SHARE))) if limit is None else limit
    return _budgets(hardware, host)


def _budgets(hardware: Hardware, host: int) -> Budgets:
    """GPUs of one kind work together: separate ones rather than one that is integrated, of the vendor that has most
    memory here.
    """
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
