"""Finds downloaded files again whose folder was moved: manifests have absolute paths, but within it nothing changes."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

# The layouts of `downloader/cache`: of a repository, and of files that come from elsewhere.
_WITHIN = re.compile(r"/(models--[^/]+/(?:snapshots|blobs)/.+|urls/[0-9a-f]{32}(?:/.+)?)", re.DOTALL)


@dataclass(frozen=True)
class MovedFiles:
    """`folder` is where downloaded files are now; None if that is not known."""

    folder: Path | None = None

    def there(self, path: Path) -> Path | None:
        """Where a downloaded file would be in `folder`; None if it is no such file, or that is its path."""
        if self.folder is None or path.is_relative_to(self.folder):
            return None
        within = _WITHIN.search(str(path))
        return self.folder / within[1] if within and ".." not in path.parts else None

    def resolve(self, path: Path) -> Path:
        """The path, or if nothing is there, the same file in `folder`. Blocks to look at both."""
        there = self.there(path)
        return there if there and os.path.lexists(there) and not os.path.lexists(path) else path
