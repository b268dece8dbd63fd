"""Files of repositories on disk, laid out as `huggingface_hub` does, so that it and all who use it find them.

models--ORG--REPO/blobs/ETAG                       the content, once
models--ORG--REPO/snapshots/COMMIT/folder/name     a link to it
models--ORG--REPO/refs/main                        the commit that was the newest
"""

import contextlib
import os
import re
from pathlib import Path

from oprel.core.exceptions import ValidationError
from oprel.downloader.source import checked_name
from oprel.utils.files import write_atomically

REPOSITORY = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,95}/[A-Za-z0-9_][A-Za-z0-9_.-]{0,95}")
URLS = "urls"  # folder of files that are in no repository of the hub's
_HEXADECIMAL = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


class HubCache:
    """The cache in the folder `root`. What servers call things is checked before it becomes a path."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def blob(self, repository: str, etag: str) -> Path:
        """Where the content goes whose SHA-256 or git hash that is. Raises ValidationError."""
        return self._folder(repository) / "blobs" / _checked_hash(etag)

    def snapshot(self, repository: str, commit: str) -> Path:
        """The folder of a commit's files. Raises ValidationError."""
        return self._folder(repository) / "snapshots" / _checked_hash(commit)

    def link(self, repository: str, commit: str, name: str, etag: str) -> Path:
        """The path of a file as its repository calls it, leading to its content. Raises ValidationError, OSError."""
        path = self.snapshot(repository, commit) / checked_name(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        target = os.path.relpath(self.blob(repository, etag), path.parent)
        if not path.is_symlink() or os.readlink(path) != target:
            temporary = path.with_name(f".{path.name[:200]}.{os.getpid()}")
            temporary.unlink(missing_ok=True)
            temporary.symlink_to(target)
            temporary.replace(path)
        return path

    def set_ref(self, repository: str, revision: str, commit: str) -> None:
        """Remember which commit a branch stands for. Raises ValidationError, OSError."""
        path = self._folder(repository) / "refs" / checked_name(revision)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, _checked_hash(commit).encode())

    def files(self) -> list[Path]:
        """All content in the cache, that of unfinished transfers too. Blocks for a walk."""
        found = (*self.root.glob("models--*/blobs/*"), *self.root.glob(f"{URLS}/*/**/*"))
        return [path for path in found if path.is_file() and not path.is_symlink()]

    def discard(self, path: Path) -> int:
        """Remove content of the cache, by its own path or by a link to it; how many bytes the disk has more."""
        target, root = Path(os.path.realpath(path)), Path(os.path.realpath(self.root))
        if not target.is_relative_to(root) or not target.is_file():
            return 0
        status = target.stat()
        target.unlink()
        top = root / target.relative_to(root).parts[0]
        for link in top.glob("snapshots/**/*"):
            if link.is_symlink() and not link.exists():
                link.unlink(missing_ok=True)
        if not any(top.glob("blobs/*")):
            for ref in top.glob("refs/*"):  # of a repository of which nothing is left
                ref.unlink(missing_ok=True)
        for folder in sorted(top.glob("**/"), reverse=True):
            with contextlib.suppress(OSError):  # it is not empty
                folder.rmdir()
        return status.st_size if status.st_nlink == 1 else 0

    def _folder(self, repository: str) -> Path:
        if not REPOSITORY.fullmatch(repository) or ".." in repository or "--" in repository:
            raise ValidationError(f"{repository[:200]!r} is no repository's name", "It looks like ORG/REPO.")
        return self.root / f"models--{repository.replace('/', '--')}"


def _checked_hash(text: str) -> str:
    if not _HEXADECIMAL.fullmatch(text):
        raise ValidationError(f"the server names its files by {text[:80]!r}, which is no hash")
    return text
