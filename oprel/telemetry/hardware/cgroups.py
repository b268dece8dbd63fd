"""Limits of control groups (versions 1 and 2), as containers and systemd slices set them."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from oprel.telemetry.hardware.sysfs import number, table, text


@dataclass(frozen=True)
class Names:
    """The file names of a limit in one version of control groups."""

    limits: tuple[str, ...]
    used: str
    reclaimable: tuple[str, ...]  # in memory.stat: page cache, which is dropped before anything is swapped


V2 = Names(("memory.max", "memory.high"), "memory.current", ("inactive_file", "active_file"))
V1 = Names(("memory.limit_in_bytes",), "memory.usage_in_bytes", ("total_inactive_file", "total_active_file"))


def memory_limit(root: Path) -> int | None:
    """Bytes that this process and the others in its groups may use; None without a limit.

    Version 1 has no word for "unlimited" but a huge number: compare the limit with the machine's memory.
    """
    return min((limit for folder, names in _memory_groups(root) for limit in _limits(folder, names)), default=None)


def memory_left(root: Path) -> int | None:
    """Bytes that can still be allocated before a limit is reached; None without a limit."""
    left = (_left(folder, names) for folder, names in _memory_groups(root))
    return min((size for size in left if size is not None), default=None)


def cpu_quota(root: Path) -> float | None:
    """The number of cores whose time this process may use; None without a limit."""
    quotas = (_quota(folder) for folder in _groups(root, "cpu"))
    return min((quota for quota in quotas if quota is not None), default=None)


def _memory_groups(root: Path) -> Iterator[tuple[Path, Names]]:
    for folder in _groups(root, "memory"):
        yield folder, V2 if number(folder / V1.used) is None else V1


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """The folders of this process's group and of its parents, in whichever version the machine uses.

    In a container the path may be the host's. Then only its end, or only the mount itself, is visible.
    """
    mounts = root / "sys/fs/cgroup"
    for line in text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = (line.split(":", 2) + ["", ""])[:3]
        if controllers and controller not in controllers.split(","):
            continue
        mount = mounts / controller if controllers else mounts
        own = Path("/") if ".." in Path(path).parts else Path(path)
        for above in (own, *own.parents):
            yield mount / str(above).lstrip("/")
    yield mounts
    yield mounts / controller


def _limits(folder: Path, names: Names) -> Iterator[int]:
    for name in names.limits:
        if (limit := number(folder / name)) is not None:  # "max" is not a number
            yield limit


def _left(folder: Path, names: Names) -> int | None:
    limit = min(_limits(folder, names), default=None)
    if limit is None:
        return None
    counted = table(folder / "memory.stat")
    used = (number(folder / names.used) or 0) - sum(counted.get(name, 0) for name in names.reclaimable)
    return max(0, limit - max(0, used))


def _quota(folder: Path) -> float | None:
    """Version 2 has both numbers in "cpu.max", version 1 a file for each. "max" and -1 mean no limit."""
    quota, _, period = text(folder / "cpu.max").partition(" ")
    times = quota or text(folder / "cpu.cfs_quota_us"), period or text(folder / "cpu.cfs_period_us")
    if not all(time.isdecimal() and len(time) < 20 and int(time) for time in times):
        return None
    return int(times[0]) / int(times[1])
