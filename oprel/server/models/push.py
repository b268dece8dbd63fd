"""Models given to a registry: what is behind `POST /api/push`."""

import hashlib
import json
import re
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import anyio.to_thread
import httpx

from oprel.api_models import ProgressResponse
from oprel.core.blobs import BLOB_NAME, with_colon
from oprel.core.config import Config
from oprel.core.exceptions import OprelError, UnsupportedError
from oprel.core.names import OLLAMA_HOST, ModelRef, RegistryOrigin, origins
from oprel.downloader.registry.client import Access, Registry
from oprel.downloader.registry.push import Blob, push
from oprel.formats.ollama_manifest import CONFIG_TYPE, LAYER_TYPE, Layer
from oprel.server.models.library import InstalledModel
from oprel.utils.text import human_count


def destination(ref: ModelRef, *, insecure: bool) -> RegistryOrigin:
    """The registry that a name is of, to be spoken to over http if that is `insecure`.

    Raises UnsupportedError for names that are of none that takes models from us.
    """
    found = next((one for one in origins(ref) if isinstance(one, RegistryOrigin)), None)
    if found is None or found.host == OLLAMA_HOST:
        raise UnsupportedError(
            f"{ref.text} is no name of a registry that oprel can push to",
            f"Give the model one first: `oprel cp {ref.text} HOST/NAMESPACE/MODEL`.",
            "Ollama's own registry takes models only from `ollama push`, and Hugging Face from `hf upload`.",
        )
    return replace(found, insecure=insecure)


async def pushed(
    model: InstalledModel, origin: RegistryOrigin, config: Config
) -> AsyncGenerator[ProgressResponse, None]:
    """Push the model and tell of each step; "success" is the last. Raises DownloadError,
    UnsupportedError for a folder of safetensors.
    """
    if not model.is_gguf:
        raise UnsupportedError(f"{model.name} is no GGUF model", "`hf upload` takes such a folder.")
    yield ProgressResponse(status="retrieving manifest")
    try:
        blobs = await anyio.to_thread.run_sync(lambda: list(_blobs(model)))
        async with httpx.AsyncClient() as client:
            registry = Registry(origin, client, Access.of(config), actions="pull,push")
            async with aclosing(push(registry, _config(model, blobs), blobs)) as steps:
                async for step in steps:
                    digest = step.layer.digest
                    yield ProgressResponse(
                        status=f"pushing {digest.removeprefix('sha256:')[:12]}",
                        digest=digest,
                        total=step.layer.size_bytes,
                        completed=step.done_bytes,
                    )
    except OSError as error:
        raise OprelError(f"a file of {model.name} cannot be read: {error.strerror}", "Is it still there?") from error
    for status in ("pushing manifest", "success"):
        yield ProgressResponse(status=status)


def _blobs(model: InstalledModel) -> Iterator[Blob]:
    """The model's layers. Blocks for the reading of files whose digest their name does not tell. Raises OSError."""
    manifest = model.manifest
    files = [("model", path) for path in manifest.parts or (manifest.weights,)]
    files += [("projector", manifest.projector)] if manifest.projector else []
    files += [("adapter", path) for path in manifest.adapters]
    for kind, path in files:
        yield Blob(Layer(f"{LAYER_TYPE}{kind}", _digest(path), path.stat().st_size), path)
    messages = [{"role": role, "content": text} for role, text in manifest.messages]
    texts = {
        "template": manifest.template,
        "system": manifest.system,
        "params": json.dumps(dict(manifest.parameters)) if manifest.parameters else "",
        "messages": json.dumps(messages) if messages else "",
        "license": manifest.license,
    }
    for kind, text in texts.items():
        if text:
            yield _blob(f"{LAYER_TYPE}{kind}", text.encode())


def _digest(path: Path) -> str:
    if re.fullmatch(BLOB_NAME, path.name):
        return with_colon(path.name)
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


def _blob(media_type: str, content: bytes) -> Blob:
    return Blob(Layer(media_type, f"sha256:{hashlib.sha256(content).hexdigest()}", len(content)), content)


def _config(model: InstalledModel, blobs: list[Blob]) -> Blob:
    """What Ollama shows of a model before it has read it."""
    header = model.header
    content = {
        "model_format": "gguf",
        "model_family": header.architecture,
        "model_families": [header.architecture],
        "model_type": human_count(header.parameter_count),
        "file_type": header.quantization,
        "architecture": "amd64",
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [blob.layer.digest for blob in blobs]},
    }
    return _blob(CONFIG_TYPE, json.dumps(content).encode())
