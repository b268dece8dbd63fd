"""Repository files on disk, in the layout of `huggingface_hub`, so that all its users can share them.

models--ORG--REPO/blobs/ETAG                       the content, stored once
models--ORG--REPO/snapshots/COMMIT/folder/name     a link to it, or where there are no links, the content itself
models--ORG--REPO/refs/main                        the latest commit at the time
"""

import contextlib
import errno
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from oprel.core.exceptions import ValidationError
from oprel.downloader.source import checked_name
from oprel.utils.files import write_atomically

REPOSITORY = re.compile(r"([A-Za-z0-9_][A-Za-z0-9_.-]{0,95}/)?[A-Za-z0-9_][A-Za-z0-9_.-]{0,95}")  # some have no owner
URLS = "urls"  # folder of files that come from elsewhere
NO_LINKS = (errno.EPERM, errno.EACCES, errno.ENOSYS, errno.ENOTSUP, errno.EINVAL)  # how file systems say so
SMALL_BYTES = 2**24  # such files are copied, as several names may have the same content
_HEXADECIMAL = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


class HubCache:
    """The cache in the folder `root`. Names from servers are checked before they become paths."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def blob(self, repository: str, etag: str) -> Path:
        """The path for content with that SHA-256 or git hash. Raises ValidationError."""
        return self._folder(repository) / "blobs" / _checked_hash(etag)

    def snapshot(self, repository: str, commit: str) -> Path:
        """The folder of a commit's files. Raises ValidationError."""
        return self._folder(repository) / "snapshots" / _checked_hash(commit)

    def link(self, repository: str, commit: str, name: str, etag: str) -> Path:
        """Create and return the link to a file's content under its repository path. Raises ValidationError, OSError.

        On a file system without symbolic links the content moves there, as huggingface_hub does.
        """
        path = self.snapshot(repository, commit) / checked_name(name)
        blob = self.blob(repository, etag)
        path.parent.mkdir(parents=True, exist_ok=True)
        target = os.path.relpath(blob, path.parent)
        is_placed = os.readlink(path) == target if path.is_symlink() else path.is_file() and not blob.exists()
        if not is_placed:
            temporary = path.with_name(f".{path.name[:200]}.{os.getpid()}")
            temporary.unlink(missing_ok=True)
            try:
                temporary.symlink_to(target)
            except OSError as error:
                if error.errno not in NO_LINKS:
                    raise
                temporary = shutil.copyfile(blob, temporary) if blob.stat().st_size < SMALL_BYTES else blob
            temporary.replace(path)
        return path

    def content(self, repository: str, commit: str, name: str, etag: str, size_bytes: int) -> Path:
        """Where a file's content is or belongs: the blob, or the file that `link` made of it.

        Raises ValidationError.
        """
        path, blob = self.snapshot(repository, commit) / checked_name(name), self.blob(repository, etag)
        is_file = not blob.exists() and path.is_file() and not path.is_symlink()
        return path if is_file and path.stat().st_size == size_bytes else blob

    def set_ref(self, repository: str, revision: str, commit: str) -> None:
        """Record the commit of a branch. Raises ValidationError, OSError."""
        path = self._folder(repository) / "refs" / checked_name(revision)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, _checked_hash(commit).encode())

    def files(self) -> list[Path]:
        """All content in the cache, including partial files. Blocks to walk the folder."""
        patterns = ("models--*/blobs/*", "models--*/snapshots/**/*", f"{URLS}/*/**/*")
        return [path for pattern in patterns for path in _contents(self.root, pattern)]

    def holds(self, path: Path) -> bool:
        """Whether a path, or what it links to, is content of the cache."""
        target = Path(os.path.realpath(path))
        return target.is_relative_to(os.path.realpath(self.root)) and target.is_file()

    def discard(self, path: Path) -> int:
        """Remove content from the cache, given its path or a link to it. Returns the bytes freed."""
        if not self.holds(path):
            return 0
        target, root = Path(os.path.realpath(path)), Path(os.path.realpath(self.root))
        status = target.stat()
        target.unlink()
        top = root / target.relative_to(root).parts[0]
        for link in top.glob("snapshots/**/*"):
            if link.is_symlink() and not link.exists():
                link.unlink(missing_ok=True)
        if not any(top.glob("blobs/*")) and not any(_contents(top, "snapshots/**/*")):
            for ref in top.glob("refs/*"):  # of a repository without content
                ref.unlink(missing_ok=True)
        for folder in sorted(top.glob("**/"), reverse=True):
            with contextlib.suppress(OSError):  # it is not empty
                folder.rmdir()
        return status.st_size if status.st_nlink == 1 else 0

    def _folder(self, repository: str) -> Path:
        if not REPOSITORY.fullmatch(repository) or ".." in repository or "--" in repository:
            raise ValidationError(f"{repository[:200]!r} is not a repository name", "Write it as ORG/REPO.")
        return self.root / f"models--{repository.replace('/', '--')}"


def _contents(folder: Path, pattern: str) -> Iterator[Path]:
    return (path for path in folder.glob(pattern) if not path.is_symlink() and path.is_file())


def _checked_hash(text: str) -> str:
    if not _HEXADECIMAL.fullmatch(text):
        raise ValidationError(f"the server sent {text[:80]!r} as a file's hash, which is not a hash")
    return text
