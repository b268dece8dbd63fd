"""The files that are kept of engines that ended unasked: reading them, which needs no daemon."""

from pathlib import Path
from typing import TypeVar

import pydantic

from oprel.core.exceptions import ValidationError
from oprel.wire import daemon as wire

Entry = TypeVar("Entry", bound=wire.CrashEntry)


class CrashFiles:
    """Those in `folder`. An ID begins with its time, so that IDs sort by time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def paths(self) -> list[Path]:
        """Oldest first."""
        return sorted(self.folder.glob("[0-9]*.json"))

    def entries(self) -> list[wire.CrashEntry]:
        """Newest first, without files that cannot be read."""
        found = (_read(path, wire.CrashEntry) for path in reversed(self.paths()))
        return [entry for entry in found if entry]

    def find(self, text: str) -> wire.Crash:
        """The newest crash that has `text` in its ID. Raises ValidationError when there is none."""
        for path in reversed(self.paths()):
            if text in path.stem and (crash := _read(path, wire.Crash)):
                return crash
        raise ValidationError(f"there is no crash {text!r}", "`oprel crash ls` shows those there are.")


def _read(path: Path, kind: type[Entry]) -> Entry | None:
    """None for a file that is damaged, or gone by now."""
    try:
        return kind.model_validate_json(path.read_bytes())
    except (OSError, pydantic.ValidationError):
        return None
