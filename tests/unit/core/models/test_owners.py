"""Whose a model is, and where its origin is."""

from pathlib import Path

import pytest

from oprel.core.models.manifests import Manifest, Provider
from oprel.core.models.owners import origin_of, owned_by
from oprel.core.names import HubOrigin, RegistryOrigin, origins


def model(name: str, provider: Provider) -> Manifest:
    return Manifest(name=name, weights=Path("/m.gguf"), provider=provider)


LIBRARY = RegistryOrigin(host="registry.ollama.ai", namespace="library", model="tiny", tag="1b")


@pytest.mark.parametrize(
    ("name", "provider", "origin", "words"),
    [
        ("tiny:1b", "ollama", LIBRARY, "belongs to Ollama: `ollama pull tiny:1b` updates it"),
        (
            "user/tiny:1b",
            "ollama",
            RegistryOrigin(host="registry.ollama.ai", namespace="user", model="tiny", tag="1b"),
            "belongs to Ollama: `ollama pull user/tiny:1b` updates it",
        ),
        (
            "box:5000/user/tiny:1b",
            "ollama",
            RegistryOrigin(host="box:5000", namespace="user", model="tiny", tag="1b"),
            "belongs to Ollama: `ollama pull box:5000/user/tiny:1b` updates it",
        ),
        (
            "hf.co/o/r:Q8_0",
            "ollama",
            HubOrigin("o/r", "Q8_0"),
            "belongs to Ollama: `ollama pull hf.co/o/r:Q8_0` updates it",
        ),
        (
            "hf.co/o/r:Q8_0",
            "huggingface",
            HubOrigin("o/r", "Q8_0"),
            "belongs to Hugging Face's programs: `hf download o/r` updates it",
        ),
        ("o/r:Q8_0", "lmstudio", HubOrigin("o/r", "Q8_0"), "belongs to LM Studio: it is updated there"),
        (
            "hf.co/o/r:Q8_0",
            "llama.cpp",
            HubOrigin("o/r", "Q8_0"),
            "belongs to llama.cpp: `llama-server -hf o/r` updates it",
        ),
        ("loose:latest", "llama.cpp", None, "belongs to llama.cpp, which has no origin for it"),
        ("mine:latest", "oprel", None, ""),
        ("guide:latest", "bundled", None, ""),
    ],
)
def test_owner_and_origin(name: str, provider: Provider, origin: HubOrigin | RegistryOrigin | None, words: str) -> None:
    ref = origin_of(model(name, provider))
    assert (origins(ref) if ref else (None,)) == (origin,)
    assert owned_by(model(name, provider)) == words
