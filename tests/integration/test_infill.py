"""Text for a gap (`suffix`), by a model that has tokens for it, on a real engine."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from oprel.core.models.manifests import Manifest
from tests.fixtures.daemons import daemon_with
from tests.fixtures.gguf_factory import write_tiny_gguf

EXACT = {"temperature": 0, "num_predict": 6}
BEFORE, AFTER = "the old", "near the sea"


@pytest.fixture(scope="module")
def http(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    coder = write_tiny_gguf(tmp_path_factory.mktemp("models") / "coder.gguf", infills=True)
    with daemon_with(Manifest(name="coder", weights=coder), Manifest(name="tiny", weights=tiny)) as http:
        yield http


def generate(http: httpx.Client, **fields: object) -> Any:
    body = {"model": "coder", "prompt": BEFORE, "stream": False, "options": EXACT, **fields}
    return http.post("/api/generate", json=body).raise_for_status().json()


def complete(http: httpx.Client, **fields: object) -> httpx.Response:
    """As OpenAI's clients ask."""
    body = {"model": "coder", "prompt": BEFORE, "temperature": 0, "top_p": 0.9, "max_tokens": 6, **fields}
    return http.post("/v1/completions", json=body)


def test_show_tells_which_model_can(http: httpx.Client):
    found = {name: http.post("/api/show", json={"model": name}).json()["capabilities"] for name in ("coder", "tiny")}
    assert found == {"coder": ["completion", "insert"], "tiny": ["completion"]}


def test_the_model_gets_both_sides_of_the_gap_between_its_own_tokens(http: httpx.Client):
    by_hand = f"<|fim_prefix|>{BEFORE}<|fim_suffix|>{AFTER}<|fim_middle|>"
    filled = generate(http, suffix=AFTER)
    assert filled["response"] == generate(http, prompt=by_hand, raw=True)["response"]
    assert filled["prompt_eval_count"] == generate(http, prompt=by_hand, raw=True)["prompt_eval_count"]


def test_what_follows_the_gap_matters(http: httpx.Client):
    answers = [generate(http, suffix=suffix)["response"] for suffix in ("", AFTER, "a cold night")]
    assert len(set(answers)) == 3


def test_openai_clients_get_the_same(http: httpx.Client):
    reply = complete(http, suffix=AFTER).raise_for_status().json()
    assert reply["choices"][0]["text"] == generate(http, suffix=AFTER)["response"]


def test_nothing_need_be_before_the_gap(http: httpx.Client):
    reply = complete(http, prompt="", suffix=AFTER).raise_for_status().json()
    by_hand = complete(http, prompt=f"<|fim_prefix|><|fim_suffix|>{AFTER}<|fim_middle|>", raw=True).json()
    assert reply["choices"][0]["text"] == by_hand["choices"][0]["text"]


def test_a_model_without_such_tokens_refuses(http: httpx.Client):
    refused = http.post("/api/generate", json={"model": "tiny", "prompt": BEFORE, "suffix": AFTER})
    assert (refused.status_code, refused.json()["error"]) == (400, "tiny:latest does not support insert")
    by_openai = complete(http, model="tiny", suffix=AFTER)
    assert by_openai.status_code == 400
    assert by_openai.json()["error"]["message"].startswith("tiny:latest does not support insert")
