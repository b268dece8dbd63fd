"""Pushes a model to a registry: first the blobs that the registry lacks, then the manifest."""

import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from oprel.downloader.registry.client import Registry
from oprel.downloader.registry.uploads import Blob, Pushed, checked, upload
from oprel.formats.ollama_manifest import MANIFEST_TYPE, Layer


async def push(
    registry: Registry, config: Blob, blobs: Sequence[Blob], other: str = ""
) -> AsyncGenerator[Pushed, None]:
    """Push a model made of these blobs, yielding each step. `other`: a repository of the same registry that may have
    them. Raises DownloadError, OSError.
    """
    for blob in (*blobs, config):
        async with aclosing(upload(registry, blob, other)) as steps:
            async for step in steps:
                yield step
    entries = [_entry(blob.layer) for blob in blobs]
    manifest = {"schemaVersion": 2, "mediaType": MANIFEST_TYPE, "config": _entry(config.layer), "layers": entries}
    answer = await registry.ask(
        "PUT",
        registry.url(f"manifests/{registry.origin.tag}"),
        headers={"Content-Type": MANIFEST_TYPE},
        content=json.dumps(manifest).encode(),
    )
    checked(answer, registry, "the manifest")


def _entry(layer: Layer) -> dict[str, str | int]:
    return {"mediaType": layer.media_type, "digest": layer.digest, "size": layer.size_bytes}
