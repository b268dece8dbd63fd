"""What of an Ollama store can be used, and that nothing outside it is read in its name."""

import json
import os
from pathlib import Path

import pytest

from oprel.core.models.manifests import Manifest
from oprel.core.names import ModelRef
from oprel.stores.base import Stores
from oprel.stores.ollama import OllamaStore
from tests.fixtures.model_stores import add_to_ollama, digest_of

LIBRARY = "registry.ollama.ai/library"
WEIGHTS = b"GGUF weights"


def manifests(store: Path) -> dict[str, Manifest]:
    return {manifest.name: manifest for manifest in Stores([OllamaStore(store)]).all()}


def blob(store: Path, content: bytes) -> Path:
    return store / "blobs" / digest_of(content).replace(":", "-")


@pytest.mark.parametrize(
    ("place", "name"),
    [
        (f"{LIBRARY}/llama3.2/1b", "llama3.2:1b"),
        ("registry.ollama.ai/user/x/latest", "user/x:latest"),
        ("hf.co/u/r/Q4_K_M", "hf.co/u/r:Q4_K_M"),
        ("huggingface.co/u/r/q4_k_m", "hf.co/u/r:Q4_K_M"),
        ("box:5000/user/x/q4", "box:5000/user/x:q4"),
    ],
)
def test_a_model_goes_by_the_name_that_ollama_shows(tmp_path: Path, place: str, name: str):
    add_to_ollama(tmp_path, place, [("model", WEIGHTS)])
    found = manifests(tmp_path)[name]
    assert (found.weights, found.provider) == (blob(tmp_path, WEIGHTS), "ollama")


def test_blobs_of_early_versions_have_a_colon(tmp_path: Path):
    add_to_ollama(tmp_path, f"{LIBRARY}/old/latest", [("model", WEIGHTS), ("system", b"Be kind.")])
    for file in (tmp_path / "blobs").iterdir():
        file.rename(file.with_name(file.name.replace("-", ":")))
    found = manifests(tmp_path)["old:latest"]
    assert (found.weights, found.system) == (tmp_path / "blobs" / digest_of(WEIGHTS), "Be kind.")


def test_every_layer_is_honoured(tmp_path: Path):
    layers = [
        ("model", WEIGHTS),
        ("projector", b"GGUF eyes"),
        ("adapter", b"GGUF lora"),
        ("template", b"{{ .Prompt }}"),
        ("system", b"Be kind."),
        ("params", b'{"temperature": 0.5, "stop": ["a", "b"], "num_ctx": 4096, "odd": {"a": 1}, "none": null}'),
        ("messages", b'[{"role": "User", "content": "hi"}, {"role": "odd", "content": "?"}]'),
        ("license", b"MIT"),
        ("license", b"and more"),
    ]
    add_to_ollama(tmp_path, f"{LIBRARY}/all/latest", layers)
    found = manifests(tmp_path)["all:latest"]
    assert (found.template, found.system, found.license) == ("{{ .Prompt }}", "Be kind.", "MIT\nand more")
    assert found.parameters == {"temperature": 0.5, "stop": ["a", "b"], "num_ctx": 4096}
    assert found.messages == (("user", "hi"),)
    assert (found.projector, found.adapters) == (blob(tmp_path, b"GGUF eyes"), (blob(tmp_path, b"GGUF lora"),))


def test_a_name_is_found_in_any_case_and_again_when_its_manifest_changed(tmp_path: Path):
    stores, ref = Stores([OllamaStore(tmp_path)]), ModelRef.parse("TINY")
    assert stores.find(ref) is None
    file = add_to_ollama(tmp_path, f"{LIBRARY}/tiny/latest", [("model", WEIGHTS)])
    first = stores.find(ref)
    assert first and stores.find(ref) is first
    add_to_ollama(tmp_path, f"{LIBRARY}/tiny/latest", [("model", WEIGHTS), ("system", b"Be brief.")])
    os.utime(file, ns=(1, 1))
    again = stores.find(ref)
    assert again and again.system == "Be brief."
    file.unlink()
    assert stores.find(ref) is None


def test_a_model_is_the_same_object_until_one_of_its_files_goes(tmp_path: Path):
    add_to_ollama(tmp_path, f"{LIBRARY}/tiny/latest", [("model", WEIGHTS)])
    store = OllamaStore(tmp_path)
    (first,) = store.models()
    assert [model is first for model in store.models()] == [True]
    blob(tmp_path, WEIGHTS).unlink()
    assert list(store.models()) == []


def rewritten(file: Path, **layer: object) -> None:
    content = json.loads(file.read_text())
    content["layers"][0] |= layer
    file.write_text(json.dumps(content))


@pytest.mark.parametrize(
    "digest",
    [
        "sha256:../../../../etc/passwd",
        "/etc/passwd",
        "sha256:" + "0" * 64,
        "sha256:" + "A" * 64,
        "sha256:" + "0" * 63,
        "sha256:" + "0" * 10_000,
        "sha256:\0" + "0" * 63,
        "",
        7,
    ],
    ids=lambda digest: str(digest)[:20],
)
def test_a_digest_that_is_none_or_leads_nowhere_hides_its_model_alone(tmp_path: Path, digest: object):
    file = add_to_ollama(tmp_path, f"{LIBRARY}/bad/latest", [("model", WEIGHTS)])
    add_to_ollama(tmp_path, f"{LIBRARY}/good/latest", [("model", WEIGHTS)])
    rewritten(file, digest=digest)
    assert list(manifests(tmp_path)) == ["good:latest"]


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b'{"layers": 1}', b'{"layers": []}', b'{"layers": [1]}', b"[" * 100_000, b'{"a":' * 20_000],
    ids=range(8),
)
def test_a_manifest_that_is_none_hides_itself_alone(tmp_path: Path, content: bytes):
    add_to_ollama(tmp_path, f"{LIBRARY}/bad/latest", [("model", WEIGHTS)]).write_bytes(content)
    add_to_ollama(tmp_path, f"{LIBRARY}/good/latest", [("model", WEIGHTS)])
    assert list(manifests(tmp_path)) == ["good:latest"]


def test_what_lies_outside_is_not_followed(tmp_path: Path):
    store, outside = tmp_path / "store", tmp_path / "outside"
    secret = outside / "secret.gguf"
    secret.parent.mkdir()
    secret.write_bytes(WEIGHTS)
    linked = add_to_ollama(store, f"{LIBRARY}/blob/latest", [("model", WEIGHTS)])
    blob(store, WEIGHTS).unlink()
    blob(store, WEIGHTS).symlink_to(secret)
    elsewhere = outside / "manifest"
    linked.rename(elsewhere)
    linked.symlink_to(elsewhere)
    assert manifests(store) == {}
    elsewhere.replace(linked)
    assert manifests(store) == {}
    blob(store, WEIGHTS).unlink()
    blob(store, WEIGHTS).write_bytes(WEIGHTS)
    assert list(manifests(store)) == ["blob:latest"]


def test_a_store_may_itself_be_a_link(tmp_path: Path):
    add_to_ollama(tmp_path / "disk", f"{LIBRARY}/tiny/latest", [("model", WEIGHTS)])
    (tmp_path / "link").symlink_to("disk")
    assert list(manifests(tmp_path / "link")) == ["tiny:latest"]


@pytest.mark.parametrize("place", [f"{LIBRARY}/-bad/latest", f"{LIBRARY}/a b/latest", f"{LIBRARY}/m/{'t' * 81}"])
def test_what_nobody_could_ask_for_is_left_out(tmp_path: Path, place: str):
    add_to_ollama(tmp_path, place, [("model", WEIGHTS)])
    assert manifests(tmp_path) == {}


def test_a_model_of_other_files_is_left_out(tmp_path: Path):
    add_to_ollama(tmp_path, f"{LIBRARY}/cloud/latest", [("system", b"far away")])
    add_to_ollama(tmp_path, f"{LIBRARY}/tensors/latest", [("tensor", b"numbers")])
    assert manifests(tmp_path) == {}
