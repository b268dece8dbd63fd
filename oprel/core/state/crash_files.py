"""Reads the reports of engine crashes; this needs no daemon."""

from pathlib import Path
from typing import TypeVar

import pydantic

from oprel.core.exceptions import ValidationError
from oprel.utils.files import read_own
from oprel.wire import daemon as wire

Entry = TypeVar("Entry", bound=wire.CrashEntry)


class CrashFiles:
    """The crash reports in `folder`. An ID begins with a time, so IDs sort by time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def paths(self) -> list[Path]:
        """Oldest first."""
        return sorted(self.folder.glob("[0-9]*.json"))

    def entries(self) -> list[wire.CrashEntry]:
        """Newest first; unreadable files are skipped."""
        entries = (_read(path, wire.CrashEntry) for path in reversed(self.paths()))
        return [entry for entry in entries if entry]

    def damaged(self) -> list[Path]:
        """The files that cannot be read."""
        return [path for path in self.paths() if _read(path, wire.CrashEntry) is None]

    def find(self, text: str) -> wire.Crash:
        """The newest crash whose ID contains `text`. Raises ValidationError without a match."""
        for path in reversed(self.paths()):
            if text in path.stem and (crash := _read(path, wire.Crash)):
                return crash
        raise ValidationError(f"there is no crash {text!r}", "`oprel crash ls` lists all crashes.")


def _read(path: Path, kind: type[Entry]) -> Entry | None:
    """None for a damaged or deleted file."""
    try:
        return kind.model_validate_json(read_own(path))
    except (OSError, pydantic.ValidationError):
        return None
