"""What the stores of other programs have in common, and a lookup over all of them."""

import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from oprel.core.models.known_names import resolve_in_repository
from oprel.core.models.manifests import Manifest
from oprel.core.names import ModelRef
from oprel.stores.seen import SeenStores

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class StoredModel:
    """A model, and the file whose version tells whether the model has changed."""

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
    """A folder of models that belongs to another program."""

    @property
    def folder(self) -> Path: ...

    def models(self) -> Iterator[StoredModel]:
        """All models with a valid name; unreadable ones are skipped. Blocks to walk the folder."""
        ...


def version_of(file: Path) -> tuple[int, int]:
    """The file's mtime and size, which change with its content. Raises OSError."""
    status = file.stat()
    return status.st_mtime_ns, status.st_size


def is_inside(path: Path, root: Path) -> bool:
    """Whether a file, with links resolved, is inside `root`: a store must not refer to files outside."""
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root))


class Stores:
    """All stores. If two models have the same name, the first store wins."""

    def __init__(self, stores: Sequence[Store], seen: SeenStores | None = None) -> None:
        self._stores = stores
        self._seen = seen or SeenStores()
        self._models: dict[str, StoredModel] = {}

    def all(self) -> list[Manifest]:
        """All models. Blocks to walk the folders."""
        models: dict[str, StoredModel] = {}
        for store in self._stores:
            try:
                own = list(store.models())
                self._seen.note(store.folder, [model.manifest for model in own])
                for model in own:
                    models.setdefault(model.manifest.key, model)
            except OSError as error:  # another user's folder, or changed while it was read
                logger.info("skipped the models of %s: %s", type(store).__name__, error)
        self._models = models
        return [model.manifest for model in models.values()]

    def away(self) -> list[Manifest]:
        """Models that were seen in folders that are missing or empty now, which are their weights. Blocks to look."""
        return self._seen.away()

    def find(self, ref: ModelRef) -> Manifest | None:
        """The model of that name. Walks the folders unless the model was seen before and has not changed."""
        model = self._models.get(ref.key)
        if model is None or not model.is_current:
            self.all()
            model = self._models.get(ref.key)
        if model:
            return model.manifest
        return resolve_in_repository(ref, [other.manifest for other in self._models.values()])
