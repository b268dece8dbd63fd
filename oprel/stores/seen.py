"""Which models the stores of other programs had when they were last seen: OPREL_HOME/stores.json.

A store on a disk that is away has no models; they are listed all the same.
"""

import json
import logging
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import get_args

from oprel.core.config import Config
from oprel.core.exceptions import ValidationError
from oprel.core.models.disks import Disks, is_bare
from oprel.core.models.manifests import Manifest, Manifests, Provider
from oprel.core.names import ModelRef
from oprel.utils.files import read_own, write_atomically

logger = logging.getLogger(__name__)

FILE = "stores.json"
PROVIDERS = get_args(Provider)


class SeenStores:
    """Owner of that file, or of nothing where `path` is None. Threads may share it.

    Only stores in `moved` folders are recorded: the usual folders are on the disk of the user's home, so what they lack
    is gone.
    """

    def __init__(self, path: Path | None = None, moved: Sequence[Path] = ()) -> None:
        self._path = path
        self._moved = {str(folder) for folder in moved}
        self._names = _read(path) if path else {}
        self._changing = threading.Lock()

    def away(self) -> list[Manifest]:
        """The models of stores whose folder is missing or empty now; `weights` is that folder. Blocks to look."""
        bare = sorted(folder for folder in self._names.keys() & self._moved if is_bare(Path(folder)))
        return [
            Manifest(name=name, weights=Path(folder), provider=provider)
            for folder in bare
            for name, provider in self._names[folder].items()
        ]

    def note(self, folder: Path, models: Sequence[Manifest]) -> None:
        """Record the models of a store, unless its disk seems to be away. Blocks to write."""
        key, names = str(folder), {model.name: model.provider for model in models}
        if self._path is None or key not in self._moved or (not names and is_bare(folder)):
            return
        with self._changing:
            if self._names.get(key, {}) == names:
                return
            self._names = {**self._names, key: names}
            try:
                write_atomically(self._path, json.dumps(self._names).encode())
            except OSError as error:  # a list must not fail because of this
                logger.warning("%s cannot be written: %s", self._path, error.strerror)


def away_models(config: Config) -> dict[Path, list[str]]:
    """All models that cannot be seen, by the folder that is missing or empty. Blocks to look at each file."""
    disks, models = Disks.of(config), dict[Path, list[str]]()
    for manifest in Manifests.of(config):
        if folder := next(filter(None, map(disks.away, manifest.files)), None):
            models.setdefault(folder, []).append(manifest.name)
    for manifest in SeenStores(config.home_dir / FILE, config.places.moved).away():
        models.setdefault(manifest.weights, []).append(manifest.name)
    return models


def _read(path: Path) -> Mapping[str, Mapping[str, Provider]]:
    try:
        return {
            str(folder): {
                ModelRef.parse(name).name: provider for name, provider in names.items() if provider in PROVIDERS
            }
            for folder, names in json.loads(read_own(path)).items()
        }
    except (OSError, ValueError, TypeError, AttributeError, RecursionError, ValidationError):
        return {}
