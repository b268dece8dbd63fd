"""A control group for each engine, where groups were given to us: there the kernel bounds the engine's memory.

The daemon looks at an engine twice a second, and some grow faster. systemd says by an attribute that the group of a
service is its own to divide (`Delegate=`). The daemon moves to a leaf of it, as a group with processes cannot bound
others, and makes the groups of engines beside that. Version 2 only: in version 1 no group is given away safely.
"""

import contextlib
import os
import secrets
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from oprel.telemetry.hardware.cgroups import groups
from oprel.telemetry.hardware.sysfs import table

LEAF = "daemon"
DELEGATED = "user.delegate"  # the attribute: systemd.io/CGROUP_DELEGATION
PREFIX = "engine-"
PAGE_CACHE = 2  # times the bound of an engine's own memory: mapped weights count here


@dataclass(frozen=True)
class ControlGroup:
    """The group of one engine."""

    folder: Path

    @property
    def members(self) -> Path:
        """A process that writes 0 to this file is in the group from then on."""
        return self.folder / "cgroup.procs"

    @property
    def has_killed(self) -> bool:
        """Whether the kernel has ended a process of it for lack of memory."""
        return table(self.folder / "memory.events").get("oom_kill", 0) > 0

    def remove(self) -> None:
        """Remove it, unless processes are left in it."""
        with contextlib.suppress(OSError):
            self.folder.rmdir()


def settle(root: Path = Path("/")) -> None:
    """Move this process to a leaf of its group, if that was given to us."""
    for group in groups(root, "memory"):
        if group.version == 2 and not group.name and is_delegated(group.folder):
            with contextlib.suppress(OSError):  # engines then run without groups
                leaf = group.folder / LEAF
                leaf.mkdir(exist_ok=True)
                (leaf / "cgroup.procs").write_text("0")


def is_delegated(folder: Path) -> bool:
    """Whether a manager says that the group is its processes' to divide."""
    try:
        return sys.platform == "linux" and os.getxattr(folder, DELEGATED) == b"1"
    except OSError:
        return False


def make(memory: int, root: Path = Path("/")) -> ControlGroup | None:
    """A group whose processes may have `memory` bytes of their own; None where none can be made."""
    for parent in _given(root):
        group = ControlGroup(parent / f"{PREFIX}{secrets.token_hex(4)}")
        try:
            with contextlib.suppress(OSError):  # the controller was not given to us: the group only holds the engine
                (parent / "cgroup.subtree_control").write_text("+memory")
            group.folder.mkdir()
        except OSError:
            return None
        for file, value in (("memory.max", PAGE_CACHE * memory), ("memory.oom.group", 1)):
            with contextlib.suppress(OSError):
                (group.folder / file).write_text(str(value))
        return group
    return None


def sweep(root: Path = Path("/")) -> None:
    """Remove the groups of engines that a killed daemon left."""
    for parent in _given(root):
        for folder in parent.glob(f"{PREFIX}*"):
            ControlGroup(folder).remove()


def _given(root: Path) -> Iterator[Path]:
    """The group around ours, if it is ours to divide."""
    for group in groups(root, "memory"):
        if group.version == 2 and group.folder.name == LEAF and is_delegated(group.folder.parent):
            yield group.folder.parent
            return
