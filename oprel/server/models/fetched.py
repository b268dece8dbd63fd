"""Downloaded files, and which of them are oprel's own: OPREL_HOME/fetched.json.

All files of the home are. In a folder elsewhere (`cache_dir`), such as the cache of Hugging Face's programs, a file is
oprel's if a download of this home made it, and no other program has replaced it since.
"""

import json
import logging
import os
import threading
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from oprel.core.config import Config
from oprel.downloader.cache import HubCache, UrlFiles, content_of
from oprel.downloader.transfer.disk import PART
from oprel.utils.files import read_own, write_atomically

if TYPE_CHECKING:
    from oprel.downloader.offers import Offer

logger = logging.getLogger(__name__)

FILE = "fetched.json"


class FetchedFiles:
    """The owner of that file. Threads may share it.

    It maps paths within the folder to the time at which each was changed last, in ns; None: it is on its way. Relative
    paths are right after the folder was moved, and the time tells a file that another program wrote since.
    """

    def __init__(self, config: Config) -> None:
        self._file = config.home_dir / FILE
        self._shared = None if _is_within(config.hub_dir, config.home_dir) else config.hub_dir
        folders = config.fetched_dirs
        self._hubs = [HubCache(folder) for folder in folders]
        self._urls = [UrlFiles(folder / "urls") for folder in folders]
        self._all: Sequence[HubCache | UrlFiles] = (*self._hubs, *self._urls)
        self._changed = _read(self._file) if self._shared else {}
        self._links: set[str] = set()
        self._changing = threading.Lock()

    def holds(self, path: Path) -> bool:
        """Whether the path, or what it links to, is a downloaded file, also one of another program."""
        return any(folder.holds(path) for folder in self._all)

    def owns(self, path: Path) -> bool:
        """Whether a downloaded file, or a link to one, is oprel's own. Blocks to look at it."""
        within = self._within(path)
        if within is None:
            return True
        whole = within.removesuffix(".json").removesuffix(PART)
        if whole not in self._changed:
            return within.startswith("urls/")  # an earlier version made that folder
        changed = self._changed[whole]
        return changed is None or whole != within or _changed_at(path) == changed

    def files(self) -> list[Path]:
        """All of oprel's own, also partial ones. Blocks to walk the folders."""
        files = [file for folder in self._all for file in folder.files()]
        return [file for file in files if self.owns(file)]

    def discard(self, path: Path) -> int:
        """Remove a file if it is oprel's own, with its links. Returns the bytes freed.

        Content stays while other programs have links to it. A link of ours to their content goes, unless they put that
        content in the place of ours: then they use our link too.
        """
        content = content_of(path)
        if self._within(content) in self._changed and not self.owns(content):
            return 0
        freed = sum(hub.discard(path, self.owns) for hub in self._hubs) + sum(urls.discard(path) for urls in self._urls)
        if self._shared:
            self._forget_gone()
        return freed

    def abandon(self, destination: Path) -> None:
        """Remove the folders that were made for a file that does not come."""
        for hub in self._hubs:
            hub.forget(destination)
        if (within := self._within(destination)) and self._is_coming(within):
            self._note({}, without=[within])

    def begin(self, offer: "Offer") -> None:
        """What is missing of an offer will be ours: its download makes it. Raises OSError.

        Contents come one by one, perhaps through several daemons; links are all made at the end.
        """
        self._links |= set(self._missing(offer.links))
        self._note(dict.fromkeys(self._missing(target.destination for target in offer.targets)))

    def finish(self, offer: "Offer") -> None:
        """The download is over: what it was to make is ours. Raises OSError."""
        contents = (target.destination for target in offer.targets)
        begun = {within: path for path in contents if (within := self._within(path)) and self._is_coming(within)}
        made = {within: path for path in offer.links if (within := self._within(path)) and within in self._links}
        changed = {within: _changed_at(path) for within, path in (begun | made).items()}
        # On a file system without links, the content is where its link would be.
        self._note(
            {within: at for within, at in changed.items() if at}, [within for within, at in changed.items() if not at]
        )
        self._links -= made.keys()

    def _missing(self, paths: Iterable[Path]) -> list[str]:
        return [within for path in paths if (within := self._within(path)) and not os.path.lexists(path)]

    def _is_coming(self, within: str) -> bool:
        return within in self._changed and self._changed[within] is None

    def _within(self, path: Path) -> str | None:
        """The path within the shared folder; None for one that is elsewhere."""
        if self._shared is None:
            return None
        real = Path(os.path.realpath(path.parent)) / path.name
        root = os.path.realpath(self._shared)
        return real.relative_to(root).as_posix() if real.is_relative_to(root) else None

    def _note(self, changed: Mapping[str, int | None], without: Collection[str] = ()) -> None:
        if changed or without:
            with self._changing:
                kept = {name: at for name, at in self._changed.items() if name not in without}
                self._write({**kept, **changed})

    def _forget_gone(self) -> None:
        root = Path(os.path.realpath(self._shared or ""))
        with self._changing:
            kept = {name: at for name, at in self._changed.items() if at is None or os.path.lexists(root / name)}
            try:
                if kept != self._changed:
                    self._write(kept)
            except OSError as error:  # a model can be removed all the same
                logger.warning("%s cannot be written: %s", self._file, error.strerror)

    def _write(self, changed: dict[str, int | None]) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self._file, json.dumps(changed, indent=1).encode())
        self._changed = changed


def parsed(content: bytes) -> dict[str, int | None]:
    """Raises ValueError, TypeError or AttributeError for a damaged file."""
    return {str(name): None if at is None else int(at) for name, at in json.loads(content).items()}


def _read(file: Path) -> dict[str, int | None]:
    try:
        return parsed(read_own(file))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        logger.warning("%s cannot be read, so files in cache_dir count as another program's: %s", file, error)
        return {}


def _changed_at(path: Path) -> int | None:
    try:
        return path.lstat().st_mtime_ns
    except OSError:
        return None


def _is_within(folder: Path, home: Path) -> bool:
    return Path(os.path.realpath(folder)).is_relative_to(os.path.realpath(home))
