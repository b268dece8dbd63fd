"""GGUF files that oprel makes of models in Hugging Face's layout: a cache, OPREL_HOME/models/converted.

A file's name tells the folder that it is made of, and the state of that folder. It is made when an engine needs it, and
can be made again.
"""

import hashlib
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

from oprel.core.exceptions import not_stored
from oprel.formats.checks.validation import require_sound
from oprel.formats.gguf import GGUFFile
from oprel.formats.hugging_face.conversion.bert import conversion
from oprel.utils.files import written_atomically

DIGITS = 24  # hexadecimal, of each half of a name

Version = tuple[tuple[int, int], ...]  # mtime in ns and size of each file


class Conversions:
    """Owner of those files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, source: Path, version: Version) -> Path:
        """Where the file for a folder in that state belongs, whether it exists or not."""
        return self._folder / f"{_hash(str(source))}-{_hash(repr(version))}.gguf"

    def header(self, source: Path, version: Version) -> GGUFFile:
        """The header of that file. Blocks to read the folder. Raises UnsupportedError, InvalidModelError."""
        return conversion(source).header(self.path(source, version))

    def prune(self, sources: Callable[[], Iterable[Path] | None], used: Collection[Path]) -> None:
        """Remove the files of other folders than `sources`, except `used` ones. Blocks to list folders.

        `sources` is None where folders may be missing from it: then all files stay.
        """
        files = list(self._folder.glob("*.gguf"))
        if not files or (folders := sources()) is None:
            return
        kept = {_hash(str(source)) for source in folders}
        for file in files:
            if file not in used and file.name.partition("-")[0] not in kept:
                file.unlink(missing_ok=True)


def convert(source: Path, target: Path) -> None:
    """Make the file of a folder if it does not exist, and remove those of its earlier states.

    Blocks to copy the weights. Raises UnsupportedError, InvalidModelError, OprelError if it cannot be written.
    """
    if target.exists():
        return
    require_sound(source)
    plan = conversion(source)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with written_atomically(target) as file:
            plan.write(file)
    except (OSError, EOFError) as error:
        cause = error if isinstance(error, OSError) else OSError(str(error))
        raise not_stored(f"{source} cannot be converted to GGUF", cause, target.parent) from error
    for other in target.parent.glob(f"{_hash(str(source))}-*.gguf"):
        if other != target:
            other.unlink(missing_ok=True)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:DIGITS]
