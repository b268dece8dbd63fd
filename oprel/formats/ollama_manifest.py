"""Manifests of models in registries, which files and texts they have: Ollama's, Docker's and ModelPack's.

They are OCI manifests with their own media types.

They come from other programs' folders and from registries, so they are untrusted: digests become file names.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from oprel.core.exceptions import InvalidModelError, UnsupportedError
from oprel.core.models.modelfile import ROLES, Parameter
from oprel.core.variants import PROJECTOR
from oprel.formats.untrusted_json import Json, parse_object

DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
MANIFEST_TYPE = "application/vnd.docker.distribution.manifest.v2+json"
CONFIG_TYPE = "application/vnd.docker.container.image.v1+json"
LAYER_TYPE = "application/vnd.ollama.image."
OCI_MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
INDEX_TYPES = ("application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json")
# Media types of Docker's models, which any image registry can store.
DOCKER_KINDS = {
    "application/vnd.docker.ai.gguf.v3": "model",
    "application/vnd.docker.ai.mmproj": "projector",
    "application/vnd.docker.ai.license": "license",
}
# CNCF's ModelPack, also by its older name: one file for each layer, whose name is an annotation.
# Source: github.com/modelpack/model-spec, docs/spec.md.
MODEL_PACK_WEIGHT = re.compile(r"application/vnd\.(?:cncf|cnai)\.model\.weight\.v1\.(?:raw|gguf)")
MODEL_PACK_TEXT = re.compile(r"application/vnd\.(?:cncf|cnai)\.model\.doc\.v1\.raw")
FILE_NAMES = ("org.cncf.model.filepath", "org.cnai.model.filepath", "org.opencontainers.image.title")
MOST_CHOICES = 8  # manifests of an index that are tried
TEXTS = ("template", "prompt", "system", "license", "params", "messages")
FILES = ("model", "projector", "adapter")
LONGEST_TEXT = 4 * 1024**2  # bytes of a text layer or of a manifest
LARGEST_LAYER = 2**50  # bytes
MOST_LAYERS = 1000


@dataclass(frozen=True)
class Layer:
    """A blob of a model. `digest` is "sha256:" and 64 hex digits; `size_bytes` is what the manifest states.

    `path`: what the file is called where the model was made, "" if the manifest does not say.
    """

    media_type: str
    digest: str
    size_bytes: int
    path: str = ""

    @property
    def kind(self) -> str:
        """Such as "model" or "template"; empty for an unknown type."""
        if self.media_type.startswith(LAYER_TYPE):
            return self.media_type.removeprefix(LAYER_TYPE)
        if MODEL_PACK_WEIGHT.fullmatch(self.media_type):
            if PROJECTOR.search(self.path):
                return "projector"
            return "model" if not self.path or self.path.lower().endswith(".gguf") else ""
        if MODEL_PACK_TEXT.fullmatch(self.media_type) and self.path.upper().startswith("LICENSE"):
            return "license"
        return DOCKER_KINDS.get(self.media_type, "")

    @property
    def file_name(self) -> str:
        """The name of the blob's file in a store."""
        return self.digest.replace(":", "-")


@dataclass(frozen=True, kw_only=True)
class Texts:
    """The texts of a model beside its weights, as in a Modelfile."""

    template: str = ""
    system: str = ""
    license: str = ""
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    messages: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class OllamaManifest:
    layers: tuple[Layer, ...]
    config: Layer | None = None

    def of(self, *kinds: str) -> tuple[Layer, ...]:
        return tuple(layer for layer in self.layers if layer.kind in kinds)


def parse(content: bytes, name: str) -> OllamaManifest:
    """The manifest of the model called `name`.

    Raises InvalidModelError for a damaged manifest or an invalid digest, UnsupportedError for a model that does not
    consist of GGUF files.
    """
    if len(content) > LONGEST_TEXT:
        raise _invalid(name, f"it is larger than {LONGEST_TEXT} bytes")
    entries = parse_object(content, Path(name))
    layers = entries.get("layers")
    if not isinstance(layers, list) or len(layers) > MOST_LAYERS:
        raise _invalid(name, "it has no list of layers")
    config = entries.get("config")
    manifest = OllamaManifest(
        tuple(_layer(entry, name) for entry in layers), _layer(config, name) if isinstance(config, dict) else None
    )
    if not manifest.of("model"):
        raise UnsupportedError(
            f"{name} does not contain a GGUF model",
            "Cloud models and models in other formats cannot be used here.",
        )
    return manifest


def choices(content: bytes, name: str) -> tuple[str, ...]:
    """The digests of the manifests in an index, those of models first; empty for a manifest.

    Raises InvalidModelError for a damaged one.
    """
    entries = parse_object(content, Path(name)).get("manifests") if len(content) <= LONGEST_TEXT else None
    if not isinstance(entries, list):
        return ()
    layers = [(_layer(entry, name), entry) for entry in entries[:MOST_LAYERS] if isinstance(entry, dict)]
    models = sorted(layers, key=lambda both: ".model." not in str(both[1].get("artifactType", both[0].media_type)))
    return tuple(layer.digest for layer, _ in models[:MOST_CHOICES])


def texts(manifest: OllamaManifest, contents: Mapping[str, bytes], name: str) -> Texts:
    """The texts of a manifest. `contents` holds the text layers by digest. Raises InvalidModelError."""

    def plain(*kinds: str) -> list[str]:
        return [contents[layer.digest].decode(errors="replace") for layer in manifest.of(*kinds)]

    return Texts(
        template="".join(plain("template", "prompt")[-1:]),
        system="".join(plain("system")[-1:]),
        license="\n".join(plain("license")),
        parameters=_parameters("".join(plain("params")[-1:]), name),
        messages=_messages("".join(plain("messages")[-1:]), name),
    )


def _layer(given: Json, name: str) -> Layer:
    match given:
        case {"mediaType": str(media_type), "digest": str(digest), "size": int(size), **rest}:
            if DIGEST.fullmatch(digest) and 0 <= size <= LARGEST_LAYER:
                return Layer(media_type, digest, size, _path(rest.get("annotations")))
    raise _invalid(name, "a layer has no usable digest and size")


def _path(annotations: object) -> str:
    names = annotations if isinstance(annotations, dict) else {}
    return next((str(names[key]) for key in FILE_NAMES if key in names), "")


def _parameters(text: str, name: str) -> dict[str, Parameter]:
    """The parameters whose type is valid; others are dropped."""
    parameters: dict[str, Parameter] = {}
    for key, value in (parse_object(text.encode(), Path(name)) if text.strip() else {}).items():
        if isinstance(value, bool | int | float | str):
            parameters[key] = [value] if key == "stop" and isinstance(value, str) else value
        elif isinstance(value, list) and value:
            parameters[key] = [str(element) for element in value]
    return parameters


def _messages(text: str, name: str) -> tuple[tuple[str, str], ...]:
    try:
        given = json.loads(text) if text.strip() else []
        messages = [(str(entry["role"]).lower(), str(entry["content"])) for entry in given]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise _invalid(name, "its messages cannot be read") from error
    return tuple((role, content) for role, content in messages if role in ROLES)


def _invalid(name: str, what: str) -> InvalidModelError:
    return InvalidModelError(f"the manifest of {name} cannot be used: {what}", "Was it made for Ollama?")
