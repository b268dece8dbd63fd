"""How much of a machine's memory engines may take: one rule, for the daemon and for who only asks. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from oprel.telemetry.hardware.devices import GPU
from oprel.telemetry.hardware.probing import Hardware
from oprel.telemetry.memory.estimator import DEVICE_MARGIN

RESERVE_SHARE, RESERVE_BYTES = 0.1, 1024**3  # of all that there is, for everything else that runs on the machine
FREE_SHARE = 0.9  # of what nobody uses now: the others take some more


@dataclass(frozen=True)
class Reservation:
    """What a loaded model has of the budgets, in bytes: of the machine's memory, and of each GPU by its number.

    `stays`: it is pinned, so that it does not go for another.
    """

    host: int
    devices: Mapping[int, int] = field(default_factory=dict)
    stays: bool = False


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

    def beside(self, taken: Iterable[Reservation]) -> "Budgets":
        """What those leave."""
        host, devices = self.host, list(self.devices)
        for one in taken:
            host -= one.host
            for device, size in one.devices.items():
                if device < len(devices) and not self.shared:
                    devices[device] -= size
        return replace(self, host=max(0, host), devices=tuple(max(0, one) for one in devices))


def budgets_of(hardware: Hardware, limit: int | None = None) -> Budgets:
    """What all engines together may take of a machine on which none runs now.

    Of its memory that is `limit`, or else most of what others leave, and never all but a reserve. GPUs of one kind work
    together: separate ones rather than one that is integrated, of the vendor that has most memory here.
    """
    memory = hardware.memory
    reserve = max(RESERVE_BYTES, round(memory.usable_bytes * RESERVE_SHARE))
    most = max(memory.usable_bytes // 2, memory.usable_bytes - reserve)
    host = min(most, int(memory.available_bytes * FREE_SHARE)) if limit is None else limit
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
