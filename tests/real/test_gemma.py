"""Gemma 3 270M in Q4_K_M as it is published: answers, stops, logprobs, recovery, memory and plan."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from oprel.core.config import Config
from oprel.preview.plan import recommend
from tests.conftest import alive, eventually
from tests.real.conftest import GEMMA

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]

MULTIBYTE = "日本の首都は東京です。東京は"
MOST = 16  # tokens of a usual answer
LENGTH = 32  # tokens of an answer whose engine is killed
KILLED_AT = (2, 9)  # pieces of it
MANY_BYTES = 2.0  # per character


def complete(http: httpx.Client, prompt: str, **options: object) -> dict[str, Any]:
    body = {"model": "gemma", "prompt": prompt, "raw": True, "stream": False}
    answer = http.post("/api/generate", json=body | {"options": {"temperature": 0, "num_predict": MOST, **options}})
    found: dict[str, Any] = answer.raise_for_status().json()
    return found


def test_it_completes_a_text(http: httpx.Client) -> None:
    answer = complete(http, "The capital of France is")
    assert "France" in answer["response"] and answer["eval_count"] == MOST
    assert answer["done_reason"] == "length"


def test_all_routes_complete_it_the_same(http: httpx.Client) -> None:
    prompt = "Roses are red, violets are"
    body = {"model": "gemma", "prompt": prompt, "raw": True, "temperature": 0, "max_tokens": MOST, "seed": 1}
    (choice,) = http.post("/v1/completions", json=body).raise_for_status().json()["choices"]
    assert choice["text"] == complete(http, prompt)["response"]


@pytest.mark.parametrize("at", [3, 6])
def test_a_stop_ends_the_answer_before_itself(http: httpx.Client, at: int) -> None:
    whole = complete(http, "The capital of France is")["response"]
    stop = whole.split()[at]
    answer = complete(http, "The capital of France is", stop=["nothing like it", stop])
    assert (answer["response"], answer["done_reason"]) == (whole[: whole.index(stop)], "stop")


@pytest.mark.parametrize("prompt", ["The capital of France is", MULTIBYTE, "🙂🙃🙂"])
def test_every_token_has_logprobs(http: httpx.Client, prompt: str) -> None:
    body = {"model": "gemma", "prompt": prompt, "raw": True, "stream": False, "logprobs": True, "top_logprobs": 3}
    options = {"temperature": 0, "num_predict": MOST}
    answer = http.post("/api/generate", json=body | {"options": options}).raise_for_status().json()
    entries = answer["logprobs"]
    assert len(entries) == answer["eval_count"]
    spelled = b"".join(bytes(entry["bytes"]) for entry in entries)
    assert spelled.decode(errors="ignore").startswith(answer["response"].rstrip("�"))
    for entry in entries:
        likeliest = [each["logprob"] for each in entry["top_logprobs"]]
        assert likeliest == sorted(likeliest, reverse=True) and entry["logprob"] <= 0


def pieces(http: httpx.Client, engine: int, kill_at: int) -> Iterator[dict[str, Any]]:
    """The objects of a streamed answer; the engine is killed after so many, 0 for never."""
    options = {"temperature": 0, "num_predict": LENGTH}
    body = {"model": "gemma", "prompt": MULTIBYTE, "raw": True, "options": options}
    with http.stream("POST", "/api/generate", json=body) as response:
        for number, line in enumerate(response.iter_lines(), 1):
            yield json.loads(line)
            if number == kill_at:
                os.kill(engine, signal.SIGKILL)
                eventually(lambda: not alive(engine))


def gemma(http: httpx.Client) -> dict[str, Any]:
    """What the daemon tells of gemma's engine."""
    models = http.get("/models").json()["models"]
    return next(model for model in models if model["name"].startswith("gemma"))


def engine_of(http: httpx.Client) -> int:
    """The process that runs gemma."""

    def pid() -> int:
        http.post("/load", json={"model": "gemma"})
        return int(gemma(http)["pid"] or 0)

    eventually(lambda: alive(pid()))
    return pid()


def test_an_answer_of_many_bytes_survives_its_engine(http: httpx.Client) -> None:
    calm = list(pieces(http, engine_of(http), 0))
    text = "".join(piece["response"] for piece in calm)
    assert len(text.encode()) > MANY_BYTES * len(text) and "�" not in text
    for kill_at in KILLED_AT:
        received = list(pieces(http, engine_of(http), kill_at))
        assert "".join(piece["response"] for piece in received) == text
        assert received[-1]["eval_count"] == LENGTH
        assert received[-1]["recoveries"] == 1


def test_it_takes_about_as_much_memory_as_was_planned(http: httpx.Client) -> None:
    engine_of(http)
    eventually(lambda: gemma(http)["memory_bytes"])
    engine = gemma(http)
    assert 0.4 < engine["memory_bytes"] / engine["predicted_bytes"] < 1.5


def test_the_plan_is_the_published_files(tmp_path: Path) -> None:
    plan = recommend(str(GEMMA), config=Config(home=str(tmp_path)))
    assert plan.fits and plan.quantization == "Q4_K_M" and plan.context >= 8192
