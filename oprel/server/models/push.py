"""Pushes models to a registry, for `POST /api/push`."""

import hashlib
import json
import re
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import anyio.to_thread

from oprel.api_models import ProgressResponse
from oprel.core.config import Config
from oprel.core.exceptions import OprelError, UnsupportedError, ValidationError
from oprel.core.models.blobs import BLOB_NAME, with_colon
from oprel.core.names import OLLAMA_HOST, ModelRef, RegistryOrigin, origins
from oprel.downloader.network.clients import open_client
from oprel.downloader.network.public_only import PublicOnly, exempt_hosts
from oprel.downloader.registry.client import Access, Registry
from oprel.downloader.registry.push import push
from oprel.downloader.registry.uploads import Blob
from oprel.formats.ollama_manifest import CONFIG_TYPE, LAYER_TYPE, Layer
from oprel.server.models.installed_model import InstalledModel
from oprel.utils.text import human_count


def destination(ref: ModelRef, *, insecure: bool) -> RegistryOrigin:
    """The registry in a name, accessed over http if `insecure`.

    Raises UnsupportedError for a name without a registry that accepts pushes from oprel.
    """
    registry = next((origin for origin in origins(ref) if isinstance(origin, RegistryOrigin)), None)
    if registry is None or registry.host == OLLAMA_HOST:
        raise UnsupportedError(
            f"{ref.text} is no name of a registry that oprel can push to",
            f"Give the model such a name first: `oprel cp {ref.text} HOST/NAMESPACE/MODEL`.",
            "Ollama's own registry accepts models only from `ollama push`, Hugging Face from `hf upload`.",
        )
    return replace(registry, insecure=insecure)


async def push_model(
    model: InstalledModel, origin: RegistryOrigin, config: Config, *, public_only: bool = False
) -> AsyncGenerator[ProgressResponse, None]:
    """Push the model and yield each step; "success" is the last. `public_only`: connect to public addresses only.

    Raises DownloadError, UnsupportedError for a folder of safetensors.
    """
    if model.converted or not model.is_gguf:
        raise UnsupportedError(f"{model.name} is not a GGUF model", "Upload the folder with `hf upload`.")
    yield ProgressResponse(status="retrieving manifest")
    try:
        blobs = await anyio.to_thread.run_sync(lambda: list(_blobs(model)))
        network = PublicOnly(exempt_hosts(config)) if public_only else None
        async with await anyio.to_thread.run_sync(open_client, network) as client:  # it reads all certificates
            registry = Registry(origin, client, Access.of(config), actions="pull,push")
            async with aclosing(
                push(registry, _config(model, blobs), blobs, _repository_beside(model, origin))
            ) as steps:
                async for step in steps:
                    digest = step.layer.digest
                    yield ProgressResponse(
                        status=f"pushing {digest.removeprefix('sha256:')[:12]}"
                        if not step.waiting
                        else f"waiting for the registry: {step.waiting}",
                        digest=digest,
                        total=step.layer.size_bytes,
                        completed=step.done_bytes,
                    )
    except OSError as error:
        raise OprelError(
            f"a file of {model.name} cannot be read: {error.strerror}", "Check that it still exists."
        ) from error
    for status in ("pushing manifest", "success"):
        yield ProgressResponse(status=status)


def _repository_beside(model: InstalledModel, origin: RegistryOrigin) -> str:
    """The repository of the same registry that the model came from; "" without one."""
    try:
        sources = origins(ModelRef.parse(model.source))
    except ValidationError:  # a path that is gone, or a program's name
        return ""
    repositories = (
        source.repository for source in sources if isinstance(source, RegistryOrigin) and source.host == origin.host
    )
    return next((name for name in repositories if name != origin.repository), "")


def _blobs(model: InstalledModel) -> Iterator[Blob]:
    """The model's layers. Blocks to hash files that are not named by their digest. Raises OSError."""
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
    """The config blob, which Ollama displays before it has read the model."""
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
