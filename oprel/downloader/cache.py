"""Repository files on disk, in the layout of `huggingface_hub`, so that all its users can share them.

models--ORG--REPO/blobs/ETAG                       the content, stored once
models--ORG--REPO/snapshots/COMMIT/folder/name     a link to it, or where there are no links, the content itself
models--ORG--REPO/refs/main                        the latest commit at the time
"""

import errno
import os
import re
import shutil
import stat
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path

from oprel.core.exceptions import ValidationError
from oprel.downloader.source import checked_name
from oprel.utils.files import write_atomically

REPOSITORY = re.compile(r"([A-Za-z0-9_][A-Za-z0-9_.-]{0,95}/)?[A-Za-z0-9_][A-Za-z0-9_.-]{0,95}")  # some have no owner
NO_LINKS = (errno.EPERM, errno.EACCES, errno.ENOSYS, errno.ENOTSUP, errno.EINVAL)  # how file systems say so
SMALL_BYTES = 2**24  # such files are copied, as several names may have the same content
_SNAPSHOT = re.compile(r"/models--[^/]+/snapshots/")
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
        patterns = ("models--*/blobs/*", "models--*/snapshots/**/*")
        return [path for pattern in patterns for path in _contents(self.root, pattern)]

    def holds(self, path: Path) -> bool:
        """Whether a path, or what it links to, is content of the cache."""
        content = content_of(path)
        return self._repository(content) is not None and content.is_file()

    def discard(self, path: Path, may_go: Callable[[Path], bool] = lambda path: True) -> int:
        """Remove content from the cache with the links to it, given its path or such a link. Returns the bytes freed.

        Content and links that may not go stay, and with such a link its content.
        """
        content = content_of(path)
        folder = self._repository(content)
        if folder is None or not content.is_file():
            return 0
        links = [link for link in folder.glob("snapshots/**/*") if link.is_symlink() and content_of(link) == content]
        gone = [link for link in links if may_go(link)]
        freed = 0
        if may_go(content) and gone == links:
            freed = _bytes_of(content)
            gone.append(content)
        for file in gone:
            file.unlink(missing_ok=True)
        _tidy(folder, {file.relative_to(folder).parts[1] for file in gone if file.is_relative_to(folder / "snapshots")})
        return freed

    def forget(self, path: Path) -> None:
        """Remove what was made for content that never came: the folders that its download has made."""
        if folder := self._repository(content_of(path)):
            _tidy(folder, set())

    def _repository(self, content: Path) -> Path | None:
        """The folder of the repository that has this content."""
        root = Path(os.path.realpath(self.root))
        parts = content.relative_to(root).parts if content.is_relative_to(root) else ()
        return root / parts[0] if len(parts) > 2 and parts[0].startswith("models--") else None

    def _folder(self, repository: str) -> Path:
        if not REPOSITORY.fullmatch(repository) or ".." in repository or "--" in repository:
            raise ValidationError(f"{repository[:200]!r} is not a repository name", "Write it as ORG/REPO.")
        return self.root / f"models--{repository.replace('/', '--')}"


class UrlFiles:
    """Files that come from elsewhere, in the folder `root`: each version in a folder of its own."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def files(self) -> list[Path]:
        """All files, including partial ones. Blocks to walk the folder."""
        return [*_contents(self.root, "*/**/*")]

    def holds(self, path: Path) -> bool:
        target = Path(os.path.realpath(path))
        return target.is_relative_to(os.path.realpath(self.root)) and target.is_file()

    def discard(self, path: Path) -> int:
        """Remove a file, and its folder if that is empty then. Returns the bytes freed."""
        if not self.holds(path):
            return 0
        freed = _bytes_of(path)
        path.unlink()
        for folder in path.parents:
            if folder == self.root or not _remove_empty(folder):
                break
        return freed


def content_of(path: Path) -> Path:
    """Where the content of a snapshot's file is: what its link names, else the file itself; its folder is a real path.

    The content may be a link in its turn, into the store that huggingface_hub shares between repositories: then the
    link is what a repository has of it.
    """
    folder = Path(os.path.realpath(path.parent))
    if path.is_symlink() and _SNAPSHOT.search(path.as_posix()):
        target = Path(os.path.normpath(folder / os.readlink(path)))
        return Path(os.path.realpath(target.parent)) / target.name
    return folder / path.name


def _tidy(repository: Path, emptied: Collection[str]) -> None:
    """Leave no folder or branch for which there is nothing: those of the revisions `emptied` and of abandoned ones.

    While huggingface_hub fetches a file, the folders for it stay.
    """
    if any(repository.glob("blobs/*.incomplete")):
        return
    branches = {ref: _text(ref) for ref in repository.glob("refs/**/*") if ref.is_file()}
    for revision in repository.glob("snapshots/*/"):
        if revision.name in emptied or revision.name not in branches.values():
            _remove_empty_folders(revision)
    _repair({ref: commit for ref, commit in branches.items() if commit in emptied}, repository / "snapshots")
    if not any(path for path in repository.glob("**/*") if path.is_file() and path not in branches):
        for ref in branches:
            ref.unlink(missing_ok=True)
        _remove_empty_folders(repository)


def _repair(branches: Mapping[Path, str], snapshots: Path) -> None:
    """Let branches whose commit is gone name the latest that is left: huggingface_hub takes others for damage."""
    left = sorted(snapshots.glob("*/"), key=lambda folder: folder.stat().st_mtime)
    for ref, commit in branches.items():
        if (snapshots / commit).is_dir():
            continue
        if left:
            write_atomically(ref, left[-1].name.encode())
        else:
            ref.unlink(missing_ok=True)


def _text(file: Path) -> str:
    try:
        return file.read_text(errors="replace").strip()
    except OSError:
        return ""


def _remove_empty_folders(folder: Path) -> None:
    for within in sorted(folder.glob("**/"), reverse=True):
        _remove_empty(within)


def _remove_empty(folder: Path) -> bool:
    try:
        folder.rmdir()
    except OSError:  # it is not empty
        return False
    return True


def _bytes_of(file: Path) -> int:
    """What removing the file frees: nothing if it has another name elsewhere, or is a link."""
    status = file.lstat()
    return status.st_size if stat.S_ISREG(status.st_mode) and status.st_nlink == 1 else 0


def _contents(folder: Path, pattern: str) -> Iterator[Path]:
    return (path for path in folder.glob(pattern) if not path.is_symlink() and path.is_file())


def _checked_hash(text: str) -> str:
    if not _HEXADECIMAL.fullmatch(text):
        raise ValidationError(f"the server sent {text[:80]!r} as a file's hash, which is not a hash")
    return text
