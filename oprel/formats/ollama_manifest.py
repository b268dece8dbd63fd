"""Ollama's manifests, which are OCI manifests with their own media types: which files and texts a model has.

They come from other programs' folders and from registries, so they are untrusted: digests become file names.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from oprel.core.exceptions import InvalidModelError, UnsupportedError
from oprel.core.models.modelfile import ROLES, Parameter
from oprel.formats.untrusted_json import Json, parse_object

DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
MANIFEST_TYPE = "application/vnd.docker.distribution.manifest.v2+json"
CONFIG_TYPE = "application/vnd.docker.container.image.v1+json"
LAYER_TYPE = "application/vnd.ollama.image."
OCI_MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
# Media types of Docker's models, which any image registry can store.
DOCKER_KINDS = {
    "application/vnd.docker.ai.gguf.v3": "model",
    "application/vnd.docker.ai.mmproj": "projector",
    "application/vnd.docker.ai.license": "license",
}
TEXTS = ("template", "prompt", "system", "license", "params", "messages")
FILES = ("model", "projector", "adapter")
LONGEST_TEXT = 4 * 1024**2  # bytes of a text layer or of a manifest
LARGEST_LAYER = 2**50  # bytes
MOST_LAYERS = 1000


@dataclass(frozen=True)
class Layer:
    """A blob of a model. `digest` is "sha256:" and 64 hex digits; `size_bytes` is what the manifest states."""

    media_type: str
    digest: str
    size_bytes: int

    @property
    def kind(self) -> str:
        """Such as "model" or "template"; empty for an unknown type."""
        if self.media_type.startswith(LAYER_TYPE):
            return self.media_type.removeprefix(LAYER_TYPE)
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
        case {"mediaType": str(media_type), "digest": str(digest), "size": int(size)} if 0 <= size <= LARGEST_LAYER:
            if DIGEST.fullmatch(digest):
                return Layer(media_type, digest, size)
    raise _invalid(name, "a layer has no usable digest and size")


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
