"""What an engine that ran out of memory is started with the next time: remembering it.

First its idle neighbours go, then it gets less (`telemetry.ladder`). How much helped is kept in OPREL_HOME for the same
model, options, engine and machine, so that the next daemon starts with that.
"""

import hashlib
import logging
from pathlib import Path

import orjson

from oprel.runtime.binaries.engine_binaries import Binary
from oprel.server.pool.loaded_model import LoadedModel
from oprel.telemetry.hardware.probing import memory_bytes
from oprel.utils.files import write_atomically

logger = logging.getLogger(__name__)

MOST = 256  # engines remembered; the oldest goes first


class OomHistory:
    """Owner of the file at `path`. A damaged one is begun anew: it holds nothing but experience."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._sufficed: dict[str, int] = self._read()

    def of(self, loaded: LoadedModel, binary: Binary | None) -> int | None:
        """The bytes that such an engine started with, where memory had run out; None if it never did."""
        return self._sufficed.get(_key(loaded, binary))

    def remember(self, loaded: LoadedModel, binary: Binary | None, bytes: int) -> None:
        """It started with so much."""
        self._sufficed.pop(_key(loaded, binary), None)
        self._sufficed[_key(loaded, binary)] = bytes
        while len(self._sufficed) > MOST:
            del self._sufficed[next(iter(self._sufficed))]
        try:
            write_atomically(self._path, orjson.dumps(self._sufficed))
        except OSError as error:
            logger.warning("cannot write %s: %s", self._path, error.strerror)

    def _read(self) -> dict[str, int]:
        try:
            found = orjson.loads(self._path.read_bytes())
            return {str(key): int(bytes) for key, bytes in found.items()}
        except (OSError, ValueError, AttributeError, TypeError):
            return {}


def _key(loaded: LoadedModel, binary: Binary | None) -> str:
    """What decides how much memory is needed and there."""
    identity = (
        loaded.spec.parts,
        loaded.spec.mode,
        loaded.wanted,
        loaded.asked.num_ctx is None,  # else it is not shortened
        loaded.model.modified.isoformat(),
        str(binary),
        _changed(binary),
        memory_bytes(),
    )
    return hashlib.sha256(repr(identity).encode()).hexdigest()[:16]


def _changed(binary: Binary | None) -> float:
    try:
        return Path(binary.command[0]).stat().st_mtime if binary else 0.0
    except OSError:
        return 0.0
