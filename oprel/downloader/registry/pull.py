"""Models in Ollama's registry and in other OCI registries with such manifests, such as hf.co."""

import contextlib
import hashlib
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from pathlib import Path

import httpx

from oprel.core.exceptions import DownloadError, ModelNotFoundError, UnsupportedError
from oprel.core.models.blobs import Blobs
from oprel.core.models.manifests import Manifest
from oprel.core.names import RegistryOrigin
from oprel.downloader.backoff import Unreachable
from oprel.downloader.network.described import LOGIN_PAGE
from oprel.downloader.offers import Offer, Target
from oprel.downloader.registry.client import USUAL_ACCESS, Access, Registry, RegistryReply
from oprel.downloader.source import RemoteFile
from oprel.formats import ollama_manifest
from oprel.formats.ollama_manifest import (
    INDEX_TYPES,
    LONGEST_TEXT,
    MANIFEST_TYPE,
    OCI_MANIFEST_TYPE,
    TEXTS,
    Layer,
    OllamaManifest,
    Texts,
)


@dataclass(frozen=True, kw_only=True)
class RemoteModel:
    """A model in a registry: the files to download, and the texts, which are already loaded.

    Files are named like blobs: "sha256-" and 64 hex digits.
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
    """All registries as one source; downloads go into the folder `blobs`."""

    def __init__(self, client: httpx.AsyncClient, blobs: Path, access: Access) -> None:
        self._client = client
        self._blobs = blobs
        self._access = access

    async def offer(self, origin: RegistryOrigin) -> Offer:
        """The model that `origin` names. Raises the same as `manifest`."""
        model = await manifest(origin, self._client, self._access)
        targets = tuple(Target(file, self._blobs / file.name) for file in model.files)
        return Offer(model.origin.title, targets, partial(self._manifest, model))

    def _manifest(self, model: RemoteModel, name: str) -> Manifest:
        paths = [self._blobs / file.name for file in model.weights]
        return Manifest(
            name=name,
            weights=paths[0] if len(paths) == 1 else Blobs(self._blobs).join(paths),
            parts=tuple(paths) if len(paths) > 1 else (),
            projector=self._blobs / model.projector.name if model.projector else None,
            adapters=tuple(self._blobs / file.name for file in model.adapters),
            template=model.texts.template,
            system=model.texts.system,
            license=model.texts.license,
            parameters=model.texts.parameters,
            messages=model.texts.messages,
            source=model.origin.title,
        )


async def manifest(origin: RegistryOrigin, client: httpx.AsyncClient, access: Access = USUAL_ACCESS) -> RemoteModel:
    """Fetch the description of a model from its registry.

    Raises ModelNotFoundError, DownloadError, InvalidModelError for an invalid manifest, and UnsupportedError for a
    model that does not consist of GGUF files.
    """
    registry = Registry(origin, client, access)
    parsed = await _parsed(registry, await _manifest(registry, origin.tag))
    contents = {layer.digest: await _text(registry, layer) for layer in parsed.of(*TEXTS)}
    projectors = _files(registry, parsed, "projector")
    return RemoteModel(
        origin=origin,
        weights=_files(registry, parsed, "model"),
        projector=projectors[0] if projectors else None,
        adapters=_files(registry, parsed, "adapter"),
        texts=ollama_manifest.texts(parsed, contents, origin.title),
    )


async def _parsed(registry: Registry, content: bytes) -> OllamaManifest:
    """The manifest, of an index the first one with a model. Raises the same as `manifest`."""
    title = registry.origin.title
    *others, last = ollama_manifest.choices(content, title) or ("",)
    for digest in others:
        with contextlib.suppress(UnsupportedError, ModelNotFoundError):
            return ollama_manifest.parse(await _manifest(registry, digest), title)
    return ollama_manifest.parse(await _manifest(registry, last) if last else content, title)


async def _manifest(registry: Registry, reference: str) -> bytes:
    """The manifest or index with that tag or digest. Raises ModelNotFoundError, DownloadError."""
    origin = registry.origin
    accepted = ", ".join((MANIFEST_TYPE, OCI_MANIFEST_TYPE, *INDEX_TYPES))
    url = registry.url(f"manifests/{reference}")
    answer = await registry.ask("GET", url, headers={"Accept": accepted}, follow_redirects=True)
    if answer.status == HTTPStatus.NOT_FOUND:
        raise ModelNotFoundError(
            f"the registry {origin.host} has no {origin.repository}:{origin.tag}",
            "`oprel list-models` shows short names, and `oprel search` finds other models.",
        )
    _check(answer, registry)
    if answer.is_page:
        raise Unreachable(f"{origin.host} answered with a web page instead of a manifest", LOGIN_PAGE)
    if reference != origin.tag:
        _check_digest(registry, "manifest", answer.content, reference)
    return answer.content


def _files(registry: Registry, parsed: OllamaManifest, kind: str) -> tuple[RemoteFile, ...]:
    return tuple(
        RemoteFile(
            name=layer.file_name,
            url=str(registry.url(f"blobs/{layer.digest}")),
            size_bytes=layer.size_bytes,
            sha256=layer.digest.removeprefix("sha256:"),
            headers=dict(registry.headers),
        )
        for layer in parsed.of(kind)
    )


async def _text(registry: Registry, layer: Layer) -> bytes:
    """The content of a small blob. Raises DownloadError if it does not match its digest."""
    if layer.size_bytes > LONGEST_TEXT:
        raise DownloadError(f"the {layer.kind} of {registry.origin.repository} is too large: {layer.size_bytes} bytes")
    answer = await registry.ask("GET", registry.url(f"blobs/{layer.digest}"), follow_redirects=True)
    _check(answer, registry)
    if answer.is_page:
        raise Unreachable(f"{registry.origin.host} answered with a web page instead of a {layer.kind}", LOGIN_PAGE)
    _check_digest(registry, layer.kind, answer.content, layer.digest)
    return answer.content


def _check_digest(registry: Registry, kind: str, content: bytes, digest: str) -> None:
    if f"sha256:{hashlib.sha256(content).hexdigest()}" != digest:
        raise DownloadError(
            f"{registry.origin.host} sent a {kind} of {registry.origin.repository} with a wrong digest",
            "Try again. If it happens again, the registry's copy is damaged.",
        )


def _check(answer: RegistryReply, registry: Registry) -> None:
    if not answer.is_success:
        raise DownloadError(
            f"{registry.origin.host} answered HTTP {answer.status} for {registry.origin.repository}",
            "Try again later.",
        )
