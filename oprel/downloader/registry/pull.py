"""Models of Ollama's registry, and of others that speak OCI's protocol and serve such manifests (hf.co is one)."""

import hashlib
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from pathlib import Path

import httpx

from oprel.core.blobs import Blobs
from oprel.core.exceptions import DownloadError, ModelNotFoundError
from oprel.core.manifests import Manifest
from oprel.core.names import RegistryOrigin
from oprel.downloader.offers import Offer, Target
from oprel.downloader.registry.client import USUAL_ACCESS, Access, Registry, RegistryReply
from oprel.downloader.source import RemoteFile
from oprel.formats import ollama_manifest
from oprel.formats.ollama_manifest import (
    LONGEST_TEXT,
    MANIFEST_TYPE,
    OCI_MANIFEST_TYPE,
    TEXTS,
    Layer,
    OllamaManifest,
    Texts,
)


@dataclass(frozen=True)
class RemoteModel:
    """What a registry has under a name: files to fetch, and the texts, which are here already.

    The files' names are those of blobs: "sha256-" and 64 hex digits.
    """

    origin: RegistryOrigin
    weights: tuple[RemoteFile, ...]
    projector: RemoteFile | None
    adapters: tuple[RemoteFile, ...]
    texts: Texts

    @property
    def files(self) -> tuple[RemoteFile, ...]:
        return (*self.weights, *self.adapters, *([self.projector] if self.projector else []))


class Registries:
    """All registries as one source, whose files go into the folder of blobs."""

    def __init__(self, client: httpx.AsyncClient, blobs: Path, access: Access) -> None:
        self._client = client
        self._blobs = blobs
        self._access = access

    async def offer(self, origin: RegistryOrigin) -> Offer:
        """The model that `origin` names. Raises as `manifest`."""
        found = await manifest(origin, self._client, self._access)
        targets = tuple(Target(file, self._blobs / file.name) for file in found.files)
        return Offer(found.origin.title, targets, partial(self._manifest, found))

    def _manifest(self, found: RemoteModel, name: str) -> Manifest:
        paths = [self._blobs / file.name for file in found.weights]
        return Manifest(
            name,
            paths[0] if len(paths) == 1 else Blobs(self._blobs).join(paths),
            parts=tuple(paths) if len(paths) > 1 else (),
            projector=self._blobs / found.projector.name if found.projector else None,
            adapters=tuple(self._blobs / file.name for file in found.adapters),
            template=found.texts.template,
            system=found.texts.system,
            license=found.texts.license,
            parameters=found.texts.parameters,
            messages=found.texts.messages,
            source=found.origin.title,
        )


async def manifest(origin: RegistryOrigin, client: httpx.AsyncClient, access: Access = USUAL_ACCESS) -> RemoteModel:
    """The model that the registry has there.

    Raises ModelNotFoundError, DownloadError, InvalidModelError for a manifest that is none, UnsupportedError for a
    model that is not made of GGUF files.
    """
    registry = Registry(origin, client, access)
    answer = await registry.ask(
        "GET",
        registry.url(f"manifests/{origin.tag}"),
        headers={"Accept": f"{MANIFEST_TYPE}, {OCI_MANIFEST_TYPE}"},
        follow_redirects=True,
    )
    if answer.status == HTTPStatus.NOT_FOUND:
        raise ModelNotFoundError(
            f"the registry {origin.host} has no {origin.repository}:{origin.tag}",
            "`oprel list-models` shows short names that there are, and `oprel search` finds others.",
        )
    _check(answer, registry)
    found = ollama_manifest.parse(answer.content, origin.title)
    contents = {layer.digest: await _text(registry, layer) for layer in found.of(*TEXTS)}
    projectors = _files(registry, found, "projector")
    return RemoteModel(
        origin,
        _files(registry, found, "model"),
        projectors[0] if projectors else None,
        _files(registry, found, "adapter"),
        ollama_manifest.texts(found, contents, origin.title),
    )


def _files(registry: Registry, found: OllamaManifest, kind: str) -> tuple[RemoteFile, ...]:
    return tuple(
        RemoteFile(
            layer.file_name,
            str(registry.url(f"blobs/{layer.digest}")),
            layer.size_bytes,
            layer.digest.removeprefix("sha256:"),
            headers=dict(registry.headers),
        )
        for layer in found.of(kind)
    )


async def _text(registry: Registry, layer: Layer) -> bytes:
    """The content of a small blob. Raises DownloadError when it is not what its digest says."""
    if layer.size_bytes > LONGEST_TEXT:
        raise DownloadError(f"the {layer.kind} of {registry.origin.repository} takes {layer.size_bytes} bytes")
    answer = await registry.ask("GET", registry.url(f"blobs/{layer.digest}"), follow_redirects=True)
    _check(answer, registry)
    if f"sha256:{hashlib.sha256(answer.content).hexdigest()}" != layer.digest:
        raise DownloadError(
            f"{registry.origin.host} sent another {layer.kind} of {registry.origin.repository} than was asked for",
            "Try again; if it stays so, the registry's copy is damaged.",
        )
    return answer.content


def _check(answer: RegistryReply, registry: Registry) -> None:
    if not answer.is_success:
        raise DownloadError(
            f"{registry.origin.host} answered HTTP {answer.status} about {registry.origin.repository}",
            "Try again later.",
        )
