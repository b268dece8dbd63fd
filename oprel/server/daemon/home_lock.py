"""The right to be the daemon of a home."""

import os
from collections.abc import Sequence
from pathlib import Path

from oprel.utils.files import is_same_file, locked, open_lock
from oprel.utils.process import systems


class HomeLock:
    """Kernel locks on all of `paths`, which contain the daemon's process ID. The kernel releases them however it ends.

    There are two, in the run folder and in the home: with one of them removed, clients and other daemons see the other.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = paths
        self._held: dict[Path, int] = {}
        self.holder = ""  # the process ID of the daemon that holds what `take` did not get

    @property
    def is_whole(self) -> bool:
        """Whether the locks are still on the files at `paths`."""
        return all(path in self._held and is_same_file(path, self._held[path]) for path in self._paths)

    def take(self) -> bool:
        """Take the locks that are missing, in order; False when another daemon has one. Raises OSError."""
        return all(self._take(path) for path in self._paths)

    def release(self) -> None:
        for descriptor in self._held.values():
            os.close(descriptor)
        self._held.clear()

    def _take(self, path: Path) -> bool:
        if path in self._held and is_same_file(path, self._held[path]):
            return True
        descriptor = open_lock(path)
        if not locked(descriptor) or not is_same_file(path, descriptor):  # or it was removed meanwhile
            self.holder = systems.read_at(descriptor, 32, 0).decode(errors="replace") or "unknown"
            os.close(descriptor)
            return False
        # Write, then truncate: `oprel stop` may read the file at any time, and must never find it empty.
        os.ftruncate(descriptor, systems.write_at(descriptor, [str(os.getpid()).encode()], 0))
        if path in self._held:
            os.close(self._held[path])
        self._held[path] = descriptor
        return True
