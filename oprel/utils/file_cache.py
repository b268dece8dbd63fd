"""Values that were made of files, each until one of its files changes."""

import os
import threading
from collections.abc import Collection, Hashable, Iterable
from pathlib import Path
from typing import Generic, TypeVar

Value = TypeVar("Value")
FileState = tuple[int, int, int, int] | None
FileStates = tuple[tuple[str, FileState], ...]


def states_of(paths: Iterable[Path | str]) -> FileStates:
    """What tells that a file or a folder's list changed: its inode, size and times; None where there is none."""
    return tuple((path, _state(path)) for path in dict.fromkeys(map(str, paths)))


def _state(path: str) -> FileState:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


class FileCache(Generic[Value]):
    """The values of at most `limit` keys; the oldest is dropped first. Threads may share it."""

    def __init__(self, limit: int | None = None) -> None:
        self._entries: dict[Hashable, tuple[FileStates, Value]] = {}
        self._limit = limit
        self._changing = threading.Lock()

    def get(self, key: Hashable) -> Value | None:
        """The value, if all its files are as they were. Looks at each of them."""
        entry = self._entries.get(key)
        if entry is None or any(_state(path) != state for path, state in entry[0]):
            return None
        return entry[1]

    def put(self, key: Hashable, value: Value, states: FileStates) -> Value:
        """Keep and return `value`. `states` are of before its files were read: a later change then shows."""
        with self._changing:
            self._entries.pop(key, None)
            self._entries[key] = states, value
            while self._limit is not None and len(self._entries) > self._limit:
                del self._entries[next(iter(self._entries))]
        return value

    def forget(self, key: Hashable) -> None:
        """Make its value anew the next time."""
        with self._changing:
            self._entries.pop(key, None)

    def keep_only(self, keys: Collection[Hashable]) -> None:
        """Forget the others, whose files may be gone."""
        with self._changing:
            for key in self._entries.keys() - keys:
                del self._entries[key]
