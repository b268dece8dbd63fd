"""LoRA adapters on a real engine. The adapter here makes its model say one word only."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from oprel.core.models.manifests import Manifest
from tests.fixtures.daemons import daemon_with
from tests.fixtures.gguf_factory import Shape, write_tiny_gguf
from tests.fixtures.gguf_parts import write_adapter

EXACT = {"temperature": 0, "num_predict": 4}


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_adapter(tmp_path_factory.mktemp("parts") / "moon.gguf", "moon")


@pytest.fixture(scope="module")
def http(tiny: Path, adapter: Path) -> Iterator[httpx.Client]:
    wide = write_tiny_gguf(adapter.parent / "wide.gguf", shape=Shape(width=128))
    models = (
        Manifest(name="plain", weights=tiny),
        Manifest(name="adapted", weights=tiny, adapters=(adapter,)),
        Manifest(name="misfit", weights=wide, adapters=(adapter,)),
        Manifest(name="bereft", weights=tiny, adapters=(adapter.with_name("gone.gguf"),)),
    )
    with daemon_with(*models) as http:
        yield http


def ask(http: httpx.Client, model: str) -> httpx.Response:
    body = {"model": model, "prompt": "what do you see", "stream": False, "options": EXACT}
    return http.post("/api/generate", json=body)


def answer(http: httpx.Client, model: str) -> Any:
    return ask(http, model).raise_for_status().json()["response"]


def test_an_adapter_changes_the_answer(http: httpx.Client):
    assert answer(http, "adapted") == " moon" * 4 != answer(http, "plain")


def test_a_model_and_its_adapted_self_run_side_by_side(http: httpx.Client):
    for _ in range(2):
        assert answer(http, "adapted") != answer(http, "plain")
    engines = {engine["name"]: engine["pid"] for engine in http.get("/models").json()["models"]}
    assert engines["adapted:latest"] != engines["plain:latest"]


def test_an_adapter_is_uploaded_and_added_to_a_model(http: httpx.Client, adapter: Path):
    content = adapter.read_bytes()
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    http.post(f"/api/blobs/{digest}", content=content).raise_for_status()
    made = {"model": "made", "from": "plain", "adapters": {"moon.gguf": digest}, "stream": False}
    assert http.post("/api/create", json=made).json()["status"] == "success"
    assert answer(http, "made") == answer(http, "adapted")


@pytest.mark.parametrize(("model", "reason"), [("misfit", "incorrect shape"), ("bereft", "No such file")])
def test_an_adapter_that_cannot_be_used_is_told_with_the_reason(http: httpx.Client, model: str, reason: str):
    assert reason in ask(http, model).json()["error"]
    assert answer(http, "plain")
