"""A real engine loads random models and answers, so that its memory can be compared with estimates."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from oprel.core.models.manifests import Manifest
from tests.fixtures.daemons import daemon_with
from tests.fixtures.random_models import write_random_model

pytestmark = pytest.mark.long
SMALLEST = ("llama", "vocab-wpm-30k")


@pytest.fixture(scope="module")
def http(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    folder: Path = tmp_path_factory.mktemp("random")
    with daemon_with(*(Manifest(name=name, weights=write_random_model(folder, name)) for name in SMALLEST)) as http:
        yield http


@pytest.mark.parametrize("name", SMALLEST)
def test_it_answers_with_its_tokens(http: httpx.Client, name: str) -> None:
    options = {"num_predict": 8, "num_ctx": 512, "temperature": 0}
    body = {"model": name, "prompt": "the old dog", "stream": False, "options": options}
    answer = http.post("/api/generate", json=body).raise_for_status().json()
    assert answer["eval_count"] == 8 and answer["response"].strip()
