"""The builds of llama.cpp that oprel installed: `binary_dir/llama.cpp/BUILD/`, and which one is used (`state.json`).

A folder gets its name when it is complete. `state.json` is replaced as a whole: at any moment the old engine is used or
the new one. The engine that was used before stays, for `oprel engines rollback`.
"""

import itertools
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import orjson

from oprel.utils.files import read_own, write_atomically

FOLDER, STATE, RECORD = "llama.cpp", "state.json", "engine.json"
NEW = ".new-"  # prefix of folders that are not complete


@dataclass(frozen=True, kw_only=True)
class InstalledEngine:
    """An installed build: `id` is its folder's name, `program` the path of llama-server in it, `build` llama.cpp's."""

    id: str
    title: str
    build: int
    api: str
    program: str
    sha256: str

    def __str__(self) -> str:
        return f"{self.title} (b{self.build}, {self.api})"


@dataclass(frozen=True)
class UsedEngines:
    """The IDs of the engine that is used and of the one before, "" for those that oprel did not install.

    `previous` is None if no engine was used before.
    """

    active: str = ""
    previous: str | None = None


class InstalledEngines:
    """Owner of those folders and of the choice among them. Writers hold the lock of `binary_dir`."""

    def __init__(self, binary_dir: Path) -> None:
        self.folder = binary_dir / FOLDER

    @property
    def active(self) -> InstalledEngine | None:
        """The engine that is used, unless a setting names another."""
        return self.find(self._used().active)

    @property
    def previous(self) -> InstalledEngine | None:
        return self.find(self._used().previous or "")

    @property
    def can_roll_back(self) -> bool:
        previous = self._used().previous
        return previous is not None and (not previous or self.find(previous) is not None)

    def find(self, id: str) -> InstalledEngine | None:
        """The installed engine with this ID, None if there is none or its record is damaged."""
        try:
            record = orjson.loads(read_own(self.folder / id / RECORD)) if id else {}
            engine = InstalledEngine(id=id, **record)
        except (OSError, ValueError, TypeError):
            return None
        return engine if self.program_of(engine).is_file() else None

    def program_of(self, engine: InstalledEngine) -> Path:
        return self.folder / engine.id / engine.program

    @contextmanager
    def unfinished(self) -> Iterator[Path]:
        """A new folder for an engine, which is removed unless `keep` took it. Removes those of interrupted attempts."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for left in self.folder.glob(f"{NEW}*"):
            shutil.rmtree(left, ignore_errors=True)
        folder = Path(tempfile.mkdtemp(prefix=NEW, dir=self.folder))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def same(self, title: str, api: str, sha256: str) -> InstalledEngine | None:
        """An installed engine that was made of the same file, for the same API."""
        folders = [folder.name for folder in self.folder.glob("*/") if not folder.name.startswith(NEW)]
        engines = [engine for engine in map(self.find, folders) if engine]
        wanted = (title, api, sha256)
        return next((engine for engine in engines if (engine.title, engine.api, engine.sha256) == wanted), None)

    def keep(self, folder: Path, engine: InstalledEngine) -> InstalledEngine:
        """Give the complete `folder` the name of the engine, with a number if there is one. It is not used yet."""
        record = {name: value for name, value in asdict(engine).items() if name != "id"}
        write_atomically(folder / RECORD, orjson.dumps(record, option=orjson.OPT_INDENT_2))
        for file in filter(Path.is_file, folder.rglob("*")):  # `state.json` must name no half-written one
            _sync(file)
        names = itertools.chain([engine.id], (f"{engine.id}-{number}" for number in itertools.count(2)))
        kept = replace(engine, id=next(name for name in names if not (self.folder / name).exists()))
        folder.chmod(0o755)
        folder.rename(self.folder / kept.id)
        return kept

    def activate(self, engine: InstalledEngine) -> None:
        """Use the engine from now on. Only the one before it stays beside it."""
        used = self._used()
        if used.active != engine.id:
            self._write(UsedEngines(engine.id, used.active))
        kept = self._used()
        for folder in self.folder.iterdir():
            if folder.is_dir() and folder.name not in (kept.active, kept.previous):
                shutil.rmtree(folder, ignore_errors=True)

    def roll_back(self) -> InstalledEngine | None:
        """Use the engine before again, None for one that oprel did not install. The other becomes the one before."""
        used = self._used()
        self._write(UsedEngines(used.previous or "", used.active))
        return self.active

    def discard(self, engine: InstalledEngine) -> None:
        """Remove an engine that is not used."""
        shutil.rmtree(self.folder / engine.id, ignore_errors=True)

    def remove_all(self) -> None:
        """Remove all of them; first the choice, so that none is used while its files go."""
        (self.folder / STATE).unlink(missing_ok=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _used(self) -> UsedEngines:
        try:
            return UsedEngines(**orjson.loads(read_own(self.folder / STATE)))
        except (OSError, ValueError, TypeError):
            return UsedEngines()

    def _write(self, used: UsedEngines) -> None:
        write_atomically(self.folder / STATE, orjson.dumps(asdict(used), option=orjson.OPT_INDENT_2))


def _sync(file: Path) -> None:
    descriptor = os.open(file, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
