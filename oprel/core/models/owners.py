"""Whose the files of a model are, who updates and removes them, and where its origin is. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from oprel.core.models.manifests import Manifest
from oprel.core.names import HUB_HOST, OLLAMA_HOST, OLLAMA_NAMESPACE, ModelRef, hub_origin, is_hub_name


@dataclass(frozen=True, kw_only=True)
class Owner:
    """A program whose models are used in place. `update` and `remove` say how that program does it.

    In both, {name} is the model's name and {repository} its repository.
    """

    title: str
    update: str
    remove: str


OWNERS: Mapping[str, Owner] = {
    "ollama": Owner(title="Ollama", update="`ollama pull {name}` updates it", remove="Remove it with `ollama rm`."),
    "huggingface": Owner(
        title="Hugging Face's programs",
        update="`hf download {repository}` updates it",
        remove="Remove it with `hf cache rm`.",
    ),
    "lmstudio": Owner(title="LM Studio", update="it is updated there", remove="Remove it in LM Studio."),
    "llama.cpp": Owner(
        title="llama.cpp",
        update="`llama-server -hf {repository}` updates it",
        remove="Delete it from llama.cpp's cache.",
    ),
}


def owned_by(model: Manifest) -> str:
    """Which program keeps the files of a model, and how it is updated; "" if that is oprel.

    >>> from pathlib import Path
    >>> owned_by(Manifest(name="tiny:1b", weights=Path("/b"), provider="ollama"))
    'belongs to Ollama: `ollama pull tiny:1b` updates it'
    """
    owner = OWNERS.get(model.provider)
    if owner is None:
        return ""
    origin = hub_origin(ModelRef.parse(model.name)) if is_hub_name(model.name) else None
    needs_repository = "{repository}" in owner.update
    if needs_repository and origin is None:
        return f"belongs to {owner.title}, which has no origin for it"
    update = owner.update.format(name=model.name, repository=origin.repository if origin else "")
    return f"belongs to {owner.title}: {update}"


def origin_of(model: Manifest) -> ModelRef | None:
    """By which name the origin of another program's model knows it; None if it cannot be known."""
    match model.provider:
        case "ollama" if not is_hub_name(model.name):  # its own registry, whatever else has such a name
            before = {0: f"{OLLAMA_HOST}/{OLLAMA_NAMESPACE}/", 1: f"{OLLAMA_HOST}/"}.get(model.name.count("/"), "")
            return ModelRef.parse(f"{before}{model.name}")
        case "lmstudio":
            return ModelRef.parse(f"{HUB_HOST}/{model.name}")
        case _:
            return ModelRef.parse(model.name) if is_hub_name(model.name) else None
