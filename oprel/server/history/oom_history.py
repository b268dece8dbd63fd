"""How much memory was enough for engines that had run out of it.

An engine that runs out of memory is started with less (`telemetry.recommender.step_down`). What helped is kept in
OPREL_HOME for the same model, options, engine and machine, so that the next daemon starts with that, for a day: what
other programs took may be free again. What they take of a GPU is often not even known, so there it takes two loads in
a row that needed less.
"""

import hashlib
import logging
import time
from collections.abc import Callable
from dataclasses import astuple, dataclass
from pathlib import Path

import orjson

from oprel.runtime.binaries.engine_binaries import Binary
from oprel.telemetry.hardware.probing import memory_bytes
from oprel.utils.files import read_own, write_atomically

logger = logging.getLogger(__name__)

MOST = 256  # engines remembered; the oldest is forgotten first
LASTS = 24 * 3600.0  # s
CONFIRMED = 2  # loads that needed less of a GPU


@dataclass(frozen=True)
class Enough:
    """`bytes` sufficed: of GPUs if `on_gpus`, else of the host. `at` is in seconds since 1970; `loads` needed less."""

    bytes: int
    on_gpus: bool
    at: float
    loads: int = 1

    @property
    def is_certain(self) -> bool:
        return self.loads >= CONFIRMED or not self.on_gpus


class OomHistory:
    """Owner of the file at `path`. A damaged file is replaced: it holds nothing but experience."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._clock = clock
        self._entries: dict[str, Enough] = self._read()

    def enough(self, identity: tuple[object, ...], binary: Binary | None) -> Enough | None:
        """What such an engine started with after memory had run out; None if it did not, or if that was by chance."""
        if not self._entries:  # the key takes a look at the whole machine
            return None
        entry = self._current(_key(identity, binary))
        return entry if entry and entry.is_certain else None

    def remember(
        self, identity: tuple[object, ...], binary: Binary | None, bytes: int, *, on_gpus: bool = False
    ) -> None:
        """It started with `bytes`."""
        key = _key(identity, binary)
        before = self._current(key)
        self._entries.pop(key, None)
        again = before is not None and before.on_gpus == on_gpus
        self._entries[key] = Enough(bytes, on_gpus, self._clock(), before.loads + 1 if before and again else 1)
        while len(self._entries) > MOST:
            del self._entries[next(iter(self._entries))]
        self._write()

    def forget_chance(self, identity: tuple[object, ...], binary: Binary | None) -> None:
        """It started without giving anything up: what it lacked before was not for long."""
        if not self._entries:
            return
        entry = self._entries.get(key := _key(identity, binary))
        if entry and not entry.is_certain:
            del self._entries[key]
            self._write()

    def _current(self, key: str) -> Enough | None:
        entry = self._entries.get(key)
        return entry if entry and 0 <= self._clock() - entry.at < LASTS else None

    def _write(self) -> None:
        try:
            write_atomically(self._path, orjson.dumps({key: astuple(entry) for key, entry in self._entries.items()}))
        except OSError as error:
            logger.warning("cannot write %s: %s", self._path, error.strerror)

    def _read(self) -> dict[str, Enough]:
        try:
            return parsed(read_own(self._path))
        except (OSError, ValueError, AttributeError, TypeError):  # also a file of an older version
            return {}


def parsed(content: bytes) -> dict[str, Enough]:
    """The file's entries. Raises ValueError, TypeError or AttributeError for anything else."""
    return {str(key): _entry(*values) for key, values in orjson.loads(content).items()}


def _entry(bytes: int, on_gpus: bool, at: float, loads: int) -> Enough:
    return Enough(int(bytes), bool(on_gpus), float(at), int(loads))


def _key(identity: tuple[object, ...], binary: Binary | None) -> str:
    """Another build of the engine, or another machine, has its own experience."""
    whole = (*identity, str(binary), _changed_at(binary), memory_bytes())
    return hashlib.sha256(repr(whole).encode()).hexdigest()[:16]


def _changed_at(binary: Binary | None) -> float:
    try:
        return Path(binary.command[0]).stat().st_mtime if binary else 0.0
    except OSError:
        return 0.0
