"""What the stores of other programs have in common."""

import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from oprel.core.manifests import Manifest, meant
from oprel.core.names import ModelRef

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class StoredModel:
    """A model, and the file by whose change it may have become another one."""

    manifest: Manifest
    file: Path
    version: tuple[int, int]

    @property
    def is_current(self) -> bool:
        try:
            return version_of(self.file) == self.version
        except OSError:
            return False


class Store(Protocol):
    """One folder of another program."""

    def models(self) -> Iterator[StoredModel]:
        """Every model in it that can be named; what cannot be read is left out. Blocks for a walk of the folder."""
        ...


def version_of(file: Path) -> tuple[int, int]:
    """What changes with a file's content. Raises OSError."""
    status = file.stat()
    return status.st_mtime_ns, status.st_size


def is_inside(path: Path, root: Path) -> bool:
    """Whether a file is one of `root`, wherever links lead: nothing else is read in a store's name."""
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root))


class Stores:
    """All of them. Of two models with one name the first is meant, in the order of the stores."""

    def __init__(self, stores: Sequence[Store]) -> None:
        self._stores = stores
        self._known: dict[str, StoredModel] = {}

    def all(self) -> list[Manifest]:
        """Every model there is now. Blocks for a walk of the folders."""
        found: dict[str, StoredModel] = {}
        for store in self._stores:
            try:
                for one in store.models():
                    found.setdefault(ModelRef.parse(one.manifest.name).key, one)
            except OSError as error:  # another user's, or changed while it was read
                logger.info("models of %s are not shown: %s", type(store).__name__, error)
        self._known = found
        return [one.manifest for one in found.values()]

    def find(self, ref: ModelRef) -> Manifest | None:
        """The model of that name. Walks the folders unless it is known from before and did not change."""
        known = self._known.get(ref.key)
        if known is None or not known.is_current:
            self.all()
            known = self._known.get(ref.key)
        return known.manifest if known else meant(ref, [one.manifest for one in self._known.values()])
