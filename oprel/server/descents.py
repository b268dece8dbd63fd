"""What an engine that ran out of memory is started with the next time, and remembering it.

First its idle neighbours go, then it gets less, one step after the other (`runtime.ladder`). The steps that helped are
kept in OPREL_HOME for the same model, options, engine and machine, so that the next daemon starts with them.
"""

import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path

import orjson

from oprel.runtime.binaries.shelf import Binary
from oprel.runtime.ladder import Step
from oprel.server.loaded import LoadedModel
from oprel.telemetry.hardware import memory_bytes
from oprel.utils.files import write_atomically

logger = logging.getLogger(__name__)

MOST = 256  # engines remembered; the oldest goes first


class Descents:
    """Owner of the file at `path`. A damaged one is begun anew: it holds nothing but experience."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._steps: dict[str, list[str]] = self._read()

    def of(self, loaded: LoadedModel, binary: Binary | None) -> Sequence[Step]:
        """The steps such an engine took before."""
        known = {step.name: step for step in Step}
        return [known[name] for name in self._steps.get(_key(loaded, binary), ()) if name in known]

    def remember(self, loaded: LoadedModel, binary: Binary | None) -> None:
        """It started with the steps it took."""
        self._steps.pop(_key(loaded, binary), None)
        self._steps[_key(loaded, binary)] = [step.name for step in loaded.steps]
        while len(self._steps) > MOST:
            del self._steps[next(iter(self._steps))]
        try:
            write_atomically(self._path, orjson.dumps(self._steps))
        except OSError as error:
            logger.warning("cannot write %s: %s", self._path, error.strerror)

    def _read(self) -> dict[str, list[str]]:
        try:
            found = orjson.loads(self._path.read_bytes())
            return {str(key): [str(name) for name in names] for key, names in found.items()}
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
