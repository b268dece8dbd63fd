"""Finds downloaded files again whose folder was moved: manifests have absolute paths, but within it nothing changes."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

# The layouts of `downloader/cache`: of a repository, and of files that come from elsewhere.
_WITHIN = re.compile(r"/(models--[^/]+/(?:snapshots|blobs)/.+|urls/[0-9a-f]{32}(?:/.+)?)", re.DOTALL)


@dataclass(frozen=True)
class MovedFiles:
    """`folders` are those in which downloaded files may be now, likeliest first."""

    folders: tuple[Path, ...] = ()

    def there(self, path: Path) -> list[Path]:
        """Where else a downloaded file may be now; nowhere if it is no such file."""
        within = _WITHIN.search(str(path))
        if within is None or ".." in path.parts:
            return []
        return [there for folder in self.folders if (there := folder / within[1]) != path]

    def resolve(self, path: Path) -> Path:
        """The path, or if nothing is there, the same file where it is now. Blocks to look at each."""
        there = self.there(path)
        return path if not there or os.path.lexists(path) else next(filter(os.path.lexists, there), path)
