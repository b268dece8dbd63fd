"""Whether files that are not there are gone, or on a disk that is away: then nothing is deleted or forgotten."""

import errno
import os
from dataclasses import dataclass
from pathlib import Path

from oprel.core.config import Config
from oprel.core.exceptions import ModelAwayError
from oprel.core.models.manifests import Manifest

MADE_WITH_THE_DISK = ("lost+found", ".Trash-1000")  # they do not tell that a folder was ever used
UNSEEN = "which is missing, empty or not readable"


@dataclass(frozen=True)
class Disks:
    """`home` is on the disk that is always there. `cache`: the folder of fetched files, if it may be on another one.

    `fstab` lists the folders that disks are mounted on.
    """

    home: Path
    cache: Path | None = None
    fstab: Path = Path("/etc/fstab")

    @classmethod
    def of(cls, config: Config) -> "Disks":
        moved = config.cache_dir or config.hub_dir.is_symlink()
        return cls(config.home_dir, config.hub_dir if moved else None)

    def away(self, file: Path) -> Path | None:
        """The folder that a file cannot be seen in: it is missing, or a mount point without its disk; a cache is empty.

        None if the file is there, or if its folder is there without it: then it is gone. Blocks to look.
        """
        try:
            file.stat()
            return None
        except (FileNotFoundError, NotADirectoryError):
            pass
        except OSError as error:  # no right to look, or a disk or network that fails
            return None if error.errno == errno.ENAMETOOLONG else file.parent
        real = _real(file)
        if self.cache and real.is_relative_to(_real(self.cache)):
            return self.cache if is_bare(self.cache) else None
        if real.is_relative_to(_real(self.home)):
            return None
        is_mount_point = real.parent in self._mount_points() and is_bare(real.parent)
        return real.parent if is_mount_point or not real.parent.is_dir() else None

    def _mount_points(self) -> list[Path]:
        """See fstab(5): the second field, in which blanks are written in octal."""
        try:
            lines = self.fstab.read_text(errors="replace").splitlines()
        except OSError:
            return []
        fields = (line.split() for line in lines if not line.lstrip().startswith("#"))
        return [Path(field[1].replace("\\040", " ")) for field in fields if len(field) > 1]


def is_bare(folder: Path) -> bool:
    """Whether a folder is missing, empty or not to be read."""
    try:
        return not any(name not in MADE_WITH_THE_DISK for name in os.listdir(folder))
    except OSError:
        return True


def away_error(model: Manifest, folder: Path) -> ModelAwayError:
    """The error for a model whose files would be in that folder."""
    forget = (
        f"remove its name too: `oprel rm {model.name}`"
        if model.provider == "oprel"
        else f"tell {model.provider} and oprel the new folder"
    )
    error = ModelAwayError(
        f"the files of model '{model.name}' cannot be seen: {folder} is missing, empty or not readable",
        "Mount its disk: the model is then there again.",
        f"If the files were deleted, {forget}.",
    )
    error.folder, error.is_elsewhere = str(folder), model.provider != "oprel"
    return error


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))
