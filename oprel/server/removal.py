"""Models taken away, and the files that were theirs alone."""

import time

import anyio.to_thread

from oprel.core.blobs import BLOB_NAME, SPLIT_NAME
from oprel.core.exceptions import InvalidModelError
from oprel.core.names import ModelRef
from oprel.server.library import Library
from oprel.server.manager import ModelManager


async def remove(manager: ModelManager, library: Library, name: str) -> None:
    """Forget the model called `name`; its engine goes with its last answer, unless the weights have another name too.

    Raises ModelNotFoundError, UnsupportedError for a bundled model.
    """
    ref = ModelRef.parse(name)
    try:
        model = await library.find(name, may_use_paths=False)
    except InvalidModelError:  # all the more reason to let it go
        model = None
    library.manifests.delete(ref)
    if model and model.weights not in {manifest.weights for manifest in library.manifests}:
        await manager.unload(model)
    await prune(manager, library)


async def prune(manager: ModelManager, library: Library) -> None:
    """Remove the blobs that neither a manifest nor an engine uses any more."""
    running = [loaded.model.manifest for loaded in manager.loaded]
    used = {file.name for manifest in running for file in manifest.files}
    used |= {manifest.weights.parent.name for manifest in running if manifest.parts}

    def prune() -> None:
        used.update(library.manifests.mentions(f"{BLOB_NAME}|{SPLIT_NAME}"))
        library.blobs.prune(used, time.time())

    await anyio.to_thread.run_sync(prune)
