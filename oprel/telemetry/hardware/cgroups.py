"""Limits of control groups (versions 1 and 2), as containers and systemd slices set them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from oprel.telemetry.hardware.devices import MemoryLimit
from oprel.telemetry.hardware.sysfs import number, table, text

MOUNTS_BYTES = 2**20  # enough for the mounts of a host of many containers


@dataclass(frozen=True)
class Group:
    """A control group of this process: its own, or one around it, which has a `name`. `version` is 1 or 2."""

    folder: Path
    version: int
    name: str = ""


@dataclass(frozen=True)
class _Hierarchy:
    """A mounted tree of groups: `folder` shows the group `top`. Version 2 has no `controllers`."""

    folder: Path
    top: str
    controllers: tuple[str, ...] = ()


# The limits of each version, and what counts towards each. Others bind nothing: memory.low protects, and groups may
# exceed memory.soft_limit_in_bytes while the machine has memory.
_LIMITS = {
    1: (
        ("memory.limit_in_bytes", "memory.usage_in_bytes"),
        ("memory.memsw.limit_in_bytes", "memory.memsw.usage_in_bytes"),  # memory and swap together
    ),
    2: (("memory.max", "memory.current"), ("memory.high", "memory.current")),
}
# Counted in a group's memory, but dropped before anything is swapped or killed: page cache, such as mapped weights.
_RECLAIMABLE = {
    1: ("total_inactive_file", "total_active_file"),
    2: ("inactive_file", "active_file", "slab_reclaimable"),
}
_EFFECTIVE = "hierarchical_memory_limit"  # in memory.stat of version 1: the lowest limit, with parents that are hidden


def memory_limits(root: Path, total: int) -> Iterator[MemoryLimit]:
    """The limits below `total`, the bytes of the machine's memory: without a limit, version 1 has a huge number."""
    lowest, own = total, groups(root, "memory")
    for group in own:
        for limit in _limits(group):
            if limit.limit_bytes < total:
                lowest = min(lowest, limit.limit_bytes)
                yield limit
    for group in own:
        hidden = table(group.folder / "memory.stat").get(_EFFECTIVE, total)
        if group.version == 1 and hidden < lowest:
            lowest = hidden
            yield _limit(group, hidden, "memory.usage_in_bytes", f"{_LIMITS[1][0][0]} of a group around it")


def swap_limit(root: Path) -> tuple[int, int] | None:
    """The bytes that this process and the others in its groups may swap, and those left; None without a limit."""
    limits = [limit for group in groups(root, "memory") if (limit := _swap_limit(group))]
    return (min(most for most, _ in limits), min(left for _, left in limits)) if limits else None


def cpu_quota(root: Path) -> float | None:
    """The number of cores whose time this process may use; None without a limit."""
    quotas = (_quota(group.folder) for group in groups(root, "cpu"))
    return min((quota for quota in quotas if quota is not None), default=None)


def groups(root: Path, controller: str) -> list[Group]:
    """This process's group and those around it, as far as they are visible here, in either version.

    In a container the paths may be the host's: then those of the mounts say which part of them is visible.
    """
    own, visible = dict(_memberships(root, controller)), list[Group]()
    for tree in _hierarchies(root, controller):
        version = 1 if tree.controllers else 2
        inner, *around = _visible(own.get(version, "/"), tree.top)
        visible.append(Group(tree.folder / inner, version))
        visible += (Group(tree.folder / path, version, str(PurePosixPath("/") / path)) for path in around)
    return visible


def _memberships(root: Path, controller: str) -> Iterator[tuple[int, str]]:
    """The versions that this process has groups in, and the group of each."""
    for line in text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = (line.split(":", 2) + ["", ""])[:3]
        if not controllers:
            yield 2, path
        elif controller in controllers.split(","):
            yield 1, path


def _hierarchies(root: Path, controller: str) -> list[_Hierarchy]:
    """The mounts where the controller's groups may be; the usual ones if the mounts are unknown."""
    mounted = list(_mounted(root))
    if not mounted:
        usual = root / "sys/fs/cgroup"
        mounted = [_Hierarchy(usual, "/"), _Hierarchy(usual / controller, "/", (controller,))]
    return [tree for tree in mounted if not tree.controllers or controller in tree.controllers]


def _mounted(root: Path) -> Iterator[_Hierarchy]:
    """Format: `proc_pid_mountinfo(5)`."""
    for line in text(root / "proc/self/mountinfo", MOUNTS_BYTES).splitlines():
        mount, _, source = line.partition(" - ")
        fields, (kind, _, options) = mount.split(), (source.split() + ["", "", ""])[:3]
        if kind in ("cgroup", "cgroup2") and len(fields) > 4:
            folder = root / _unescaped(fields[4]).lstrip("/")
            yield _Hierarchy(folder, _unescaped(fields[3]), tuple(options.split(",")) if kind == "cgroup" else ())


def _unescaped(path: str) -> str:
    """Blanks in mountinfo are octal numbers."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), path)


def _visible(own: str, top: str) -> list[PurePosixPath]:
    """The paths of the group `own` and of those around it below a mount of the group `top`, the innermost first."""
    whole = PurePosixPath(own)
    if ".." in whole.parts or not whole.is_relative_to(top):
        return [PurePosixPath()]
    path = whole.relative_to(top)
    return [path, *path.parents]


def _limits(group: Group) -> Iterator[MemoryLimit]:
    for setting, used in _LIMITS[group.version]:
        if (limit := number(group.folder / setting)) is not None:  # "max" is not a number
            yield _limit(group, limit, used, setting)


def _limit(group: Group, limit: int, used: str, setting: str) -> MemoryLimit:
    counted = table(group.folder / "memory.stat")
    reclaimable = sum(counted.get(name, 0) for name in _RECLAIMABLE[group.version])
    charged = max(0, (number(group.folder / used) or 0) - reclaimable)
    return MemoryLimit(
        owner=f"the control group {group.name}".rstrip(),
        setting=setting,
        limit_bytes=limit,
        free_bytes=max(0, limit - charged),
    )


def _swap_limit(group: Group) -> tuple[int, int] | None:
    if group.version == 2:
        most, used = number(group.folder / "memory.swap.max"), number(group.folder / "memory.swap.current")
        return None if most is None else (most, max(0, most - (used or 0)))
    (memory, _), (both, _) = _LIMITS[1]
    limits = number(group.folder / memory), number(group.folder / both)
    if limits[0] is None or limits[1] is None or limits[0] > limits[1]:
        return None
    most = limits[1] - limits[0]
    return most, max(0, most - table(group.folder / "memory.stat").get("total_swap", 0))


def _quota(folder: Path) -> float | None:
    """Version 2 has both numbers in "cpu.max", version 1 a file for each. "max" and -1 mean no limit."""
    quota, _, period = text(folder / "cpu.max").partition(" ")
    times = quota or text(folder / "cpu.cfs_quota_us"), period or text(folder / "cpu.cfs_period_us")
    if not all(time.isdecimal() and len(time) < 20 and int(time) for time in times):
        return None
    return int(times[0]) / int(times[1])
