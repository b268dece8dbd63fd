"""How much of a machine's memory engines may use: one rule for the daemon and for `recommend`. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from oprel.telemetry.hardware.devices import GPU
from oprel.telemetry.hardware.probing import Hardware
from oprel.telemetry.memory.estimator import DEVICE_MARGIN

RESERVE_SHARE, RESERVE_BYTES = 0.1, 1024**3  # of the whole memory, left to the rest of the system
FREE_SHARE = 0.9  # of the memory that is free now: other programs will need some more of it


@dataclass(frozen=True)
class Reservation:
    """Bytes of the budgets that a loaded model holds: `host` memory, and memory of each GPU by its number.

    `stays`: the model is pinned and cannot be evicted.
    """

    host: int
    devices: Mapping[int, int] = field(default_factory=dict)
    stays: bool = False


@dataclass(frozen=True, kw_only=True)
class Budgets:
    """Bytes that engines may use: `host` memory, and `devices`, one entry for each of the `gpus`.

    `shared`: the GPU uses the machine's memory, so `host` limits both together. `host_bandwidth` is the bandwidth of
    the machine's memory in bytes per second, None if it was never measured.
    """

    host: int
    gpus: tuple[GPU, ...] = ()
    devices: tuple[int, ...] = ()
    shared: bool = False
    host_bandwidth: int | None = None

    def without_gpus(self) -> "Budgets":
        """The same machine for an engine that does not use GPUs."""
        return replace(self, gpus=(), devices=(), shared=False)

    def shrunk(self, share: float) -> "Budgets":
        """Every budget times `share`."""
        return replace(self, host=int(self.host * share), devices=tuple(int(size * share) for size in self.devices))

    def beside(self, reservations: Iterable[Reservation]) -> "Budgets":
        """What is left beside `reservations`; never below zero."""
        host, devices = self.host, list(self.devices)
        for reservation in reservations:
            host -= reservation.host
            for device, size in reservation.devices.items():
                if device < len(devices) and not self.shared:
                    devices[device] -= size
        return replace(self, host=max(0, host), devices=tuple(max(0, size) for size in devices))


def budgets_of(hardware: Hardware, limit: int | None = None) -> Budgets:
    """What all engines together may use of a machine on which none runs yet.

    The host budget is `limit` bytes, or without a limit `FREE_SHARE` of the free memory, but never so much that the
    reserve (`RESERVE_SHARE`, at least `RESERVE_BYTES`) is touched. Only GPUs of one vendor work together: the
    discrete GPUs of the vendor with most free memory, or else the first integrated GPU.
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
    discrete = [gpu for gpu in gpus if not gpu.integrated]
    if not discrete:
        return tuple(gpus[:1])
    free = {vendor: sum(gpu.free_bytes for gpu in discrete if gpu.vendor == vendor) for vendor in _vendors(discrete)}
    most = max(free, key=free.__getitem__)
    return tuple(gpu for gpu in discrete if gpu.vendor == most)


def _vendors(gpus: Sequence[GPU]) -> list[str]:
    return list(dict.fromkeys(gpu.vendor for gpu in gpus))
