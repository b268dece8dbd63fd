"""How much memory was enough for engines that had run out of it.

An engine that runs out of memory is started with less (`telemetry.recommender.step_down`). What helped is kept in
OPREL_HOME for the same model, options, engine and machine, so that the next daemon starts with that.
"""

import hashlib
import logging
from pathlib import Path

import orjson

from oprel.runtime.binaries.engine_binaries import Binary
from oprel.telemetry.hardware.probing import memory_bytes
from oprel.utils.files import read_own, write_atomically

logger = logging.getLogger(__name__)

MOST = 256  # engines remembered; the oldest is forgotten first


class OomHistory:
    """Owner of the file at `path`. A damaged file is replaced: it holds nothing but experience."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._enough: dict[str, int] = self._read()

    def enough(self, identity: tuple[object, ...], binary: Binary | None) -> int | None:
        """The bytes that such an engine started with after memory had run out; None if it never did."""
        if not self._enough:  # the key takes a look at the whole machine
            return None
        return self._enough.get(_key(identity, binary))

    def remember(self, identity: tuple[object, ...], binary: Binary | None, bytes: int) -> None:
        """It started with `bytes`."""
        key = _key(identity, binary)
        self._enough.pop(key, None)
        self._enough[key] = bytes
        while len(self._enough) > MOST:
            del self._enough[next(iter(self._enough))]
        try:
            write_atomically(self._path, orjson.dumps(self._enough))
        except OSError as error:
            logger.warning("cannot write %s: %s", self._path, error.strerror)

    def _read(self) -> dict[str, int]:
        try:
            content = orjson.loads(read_own(self._path))
            return {str(key): int(bytes) for key, bytes in content.items()}
        except (OSError, ValueError, AttributeError, TypeError):
            return {}


def _key(identity: tuple[object, ...], binary: Binary | None) -> str:
    """Another build of the engine, or another machine, has its own experience."""
    whole = (*identity, str(binary), _changed_at(binary), memory_bytes())
    return hashlib.sha256(repr(whole).encode()).hexdigest()[:16]


def _changed_at(binary: Binary | None) -> float:
    try:
        return Path(binary.command[0]).stat().st_mtime if binary else 0.0
    except OSError:
        return 0.0
