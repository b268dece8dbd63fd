"""How much of a machine's memory engines may use: one rule for the daemon and for `recommend`. Pure."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from oprel.telemetry.hardware.devices import GPU, Memory, MemoryLimit
from oprel.telemetry.hardware.probing import Hardware
from oprel.telemetry.memory.estimator import DEVICE_MARGIN

GIB = 1024**3
# What budgets leave of the memory that is free, at most the first of these bytes, on small machines the share: below a
# limit that only oprel's processes fill, and on the machine, where other programs will need some more.
LIMIT_SLACK, LIMIT_SHARE = GIB, 1 / 16
MACHINE_SLACK, MACHINE_SHARE = GIB, 1 / 8
OTHERS_SHARE = 0.1  # of the machine's free memory: the least that is left to other programs on a large one
STEADY_SHARE = 0.5  # of a limit's slack: budgets stay as they are while they would change by less
# What `bandwidth.measure` finds of the core that the constants of `speed` are for, in bytes per second.
REFERENCE_SCAN = 45e9
SLOWEST_CORE, FASTEST_CORE = 0.5, 2.0  # beyond these the scan says nothing of arithmetic


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

    `shared`: the GPU uses the machine's memory, so `host` limits both together. `each` is the most that one engine can
    use of `host`, None where that is all. `limits` say in words which limits lie behind both, if any are below the
    machine's memory. `host_bandwidth` is the bandwidth of the machine's memory in bytes per second, None if it was
    never measured. The CPU has `cores` that engines may use, each `core_speed` times as fast as the core that the
    constants of `speed` were measured on; other programs keep `busy` of them busy.
    """

    host: int
    each: int | None = None
    limits: tuple[str, ...] = ()
    gpus: tuple[GPU, ...] = ()
    devices: tuple[int, ...] = ()
    shared: bool = False
    host_bandwidth: int | None = None
    cores: int = 1
    busy: float = 0.0
    core_speed: float = 1.0

    @property
    def for_one(self) -> int:
        """The most of `host` that one engine can use."""
        return self.host if self.each is None else min(self.host, self.each)

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

    The host budget is `limit` bytes, whatever the machine has, or without a limit the least that its free memory and
    each limit allow, less a slack. Swap does not count. Only GPUs of one vendor work together, or those that one engine
    lists: the discrete GPUs of the vendor with most free memory, or else the first integrated GPU.
    """
    host, limits = _host(hardware.memory) if limit is None else (limit, ())
    each = min(hardware.memory.process_limits, key=_free, default=None) if limit is None else None
    gpus = _usable(hardware.gpus)
    shared = bool(gpus) and gpus[0].integrated
    memory = Budgets(
        host=host,
        each=None if each is None else each.free_bytes,
        limits=(*limits, *([str(each)] if each and each.free_bytes < host else [])),
        gpus=gpus,
        devices=tuple(_of_gpu(gpu, host, shared=shared) for gpu in gpus),
        shared=shared,
    )
    return with_rates(memory, hardware)


def _of_gpu(gpu: GPU, host: int, *, shared: bool) -> int:
    """Bytes that engines may use on it. One that places its layers itself leaves a margin on any device."""
    free = gpu.free_bytes if shared and not gpu.device else max(0, gpu.free_bytes - DEVICE_MARGIN)
    return min(free, host) if shared else free


def _host(memory: Memory) -> tuple[int, tuple[str, ...]]:
    """The bytes that engines may use together, and the limit behind it, if there is one."""
    free = memory.available_bytes if memory.machine_available_bytes is None else memory.machine_available_bytes
    reserve = max(round(free * OTHERS_SHARE), min(MACHINE_SLACK, int(free * MACHINE_SHARE)))
    machine = min(memory.usable_bytes, free - reserve)
    tightest = min(memory.shared_limits, key=_free, default=None)
    if tightest is None or machine < (within := tightest.free_bytes - limit_slack(tightest.free_bytes)):
        return machine, ()
    return within, (str(tightest),)


def _free(limit: MemoryLimit) -> int:
    return limit.free_bytes


def limit_slack(free: int) -> int:
    """The bytes that budgets leave of `free` bytes below a limit of all engines."""
    return min(LIMIT_SLACK, int(free * LIMIT_SHARE))


def unoccupied(hardware: Hardware, held: Reservation, numbered: Sequence[GPU]) -> Hardware:
    """The machine as if engines that hold `held` had ended. `numbered` are the GPUs that its numbers stand for."""
    back = {_identity(numbered[device]): size for device, size in held.devices.items()}
    gpus = (
        replace(gpu, free_bytes=min(gpu.total_bytes, gpu.free_bytes + back.get(_identity(gpu), 0)))
        for gpu in hardware.gpus
    )
    return replace(hardware, memory=hardware.memory.without(held.host), gpus=tuple(gpus))


def steadied(before: Budgets, now: Budgets, *, devices: bool = True) -> Budgets:
    """The budgets while engines run: `now`, but figures that differ little stay as they were `before`.

    What other programs take and give back all the time must not evict engines in turns. The slack makes up for it. The
    GPUs stay the same, as engines know them by their numbers; without `devices` so does the memory that GPUs use.
    """
    is_same = [*map(_identity, before.gpus)] == [*map(_identity, now.gpus)]
    pairs = zip(before.devices, now.devices, strict=True) if devices and is_same else ()
    steady = replace(
        now,
        host=before.host if before.shared and not devices else _steady(before.host, now.host),
        gpus=before.gpus,
        devices=tuple(_steady(*pair) for pair in pairs) if pairs else before.devices,
        shared=before.shared,
    )
    return replace(steady, limits=before.limits) if steady.host == before.host else steady


def _steady(before: int, now: int) -> int:
    return before if abs(before - now) <= limit_slack(now) * STEADY_SHARE else now


def _identity(gpu: GPU) -> tuple[str, int]:
    return gpu.vendor, gpu.index


def with_rates(budgets: Budgets, hardware: Hardware) -> Budgets:
    """The same memory, read and computed on as fast as `hardware` does it."""
    return replace(
        budgets,
        host_bandwidth=hardware.memory.bandwidth_bytes,
        cores=hardware.cpu.threads,
        busy=hardware.cpu.busy_cores,
        core_speed=core_speed(hardware.cpu.scan_bytes),
    )


def core_speed(scan_bytes: int | None) -> float:
    """How fast a core computes, in units of the reference, by what it scans in its cache; 1 if it was not measured.

    The root of it: a scan varies more than arithmetic does, between cores and from one time to the next.
    """
    return min(FASTEST_CORE, max(SLOWEST_CORE, math.sqrt(scan_bytes / REFERENCE_SCAN))) if scan_bytes else 1.0


def _usable(gpus: Sequence[GPU]) -> tuple[GPU, ...]:
    discrete = [gpu for gpu in gpus if not gpu.integrated]
    if not discrete:
        return tuple(gpus[:1])
    if all(gpu.device for gpu in discrete):
        return tuple(discrete)
    free = {vendor: sum(gpu.free_bytes for gpu in discrete if gpu.vendor == vendor) for vendor in _vendors(discrete)}
    most = max(free, key=free.__getitem__)
    return tuple(gpu for gpu in discrete if gpu.vendor == most)


def _vendors(gpus: Sequence[GPU]) -> list[str]:
    return list(dict.fromkeys(gpu.vendor for gpu in gpus))
