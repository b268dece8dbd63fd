"""Answers in characters of several tokens each, by a real engine: recovery, and logprobs."""

import json
import os
import random
import signal
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.conftest import DEADLINE, RunningDaemon, alive, eventually
from tests.fixtures.multibyte_model import CHARACTERS, write_multibyte_gguf

LENGTH = 400  # tokens: long enough for the kill to come in time
STEADY = (
    "--ubatch-size 1"  # prefill as decoding does it, or the last bits differ, and at times a token of a random model
)
LATEST = 40  # the last piece at which an engine is killed


@pytest.fixture(scope="session")
def multibyte(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_multibyte_gguf(tmp_path_factory.mktemp("models") / "multibyte.gguf")


def engine_of(http: httpx.Client, model: Path) -> int:
    """The process that answers now; not one that is dead and has not been missed yet."""

    def pid() -> int:
        http.post("/load", json={"model": str(model)})
        (engine,) = http.get("/models").json()["models"]
        return int(engine["pid"] or 0)

    eventually(lambda: alive(pid()))
    return pid()


def answer(http: httpx.Client, model: Path, prompt: str, kill_at: int = -1) -> tuple[str, dict[str, object]]:
    """The text and the last object of an answer; the engine is killed after so many pieces."""
    options = {"temperature": 0, "num_predict": LENGTH}
    body = {"model": str(model), "prompt": prompt, "raw": True, "options": options}
    engine, text, piece = engine_of(http, model), "", {}
    with http.stream("POST", "/api/generate", json=body) as response:
        for number, line in enumerate(response.iter_lines(), 1):
            piece = json.loads(line)
            text += piece.get("response", "")
            if number == kill_at:
                os.kill(engine, signal.SIGKILL)
                eventually(lambda: not alive(engine))
    return text, piece


def check_kills(daemon: RunningDaemon, model: Path, count: int) -> None:
    """Kill the engine of so many answers at a random piece of each: their texts are those of undisturbed ones."""
    chance, calm, survived = random.Random(7), dict[str, str](), 0
    with httpx.Client(base_url=daemon.url, timeout=DEADLINE) as http:
        for attempt in range(20 * count):
            prompt = f"hello {attempt % 10}"
            if prompt not in calm:
                calm[prompt], _ = answer(http, model, prompt)
            text, end = answer(http, model, prompt, chance.randrange(1, LATEST))
            assert text == calm[prompt]
            assert end["eval_count"] == LENGTH
            survived += end.get("recoveries") == 1  # on a busy machine the answer is at times whole before the kill
            if survived == count:
                return
    raise AssertionError(f"only {survived} kills came in time")


def test_a_kill_at_any_piece_changes_no_text(start_daemon: Callable[..., RunningDaemon], multibyte: Path) -> None:
    check_kills(start_daemon(engine_args=STEADY), multibyte, 3)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_200_kills_change_no_text(start_daemon: Callable[..., RunningDaemon], multibyte: Path) -> None:
    check_kills(start_daemon(engine_args=STEADY), multibyte, 200)


# Logprobs


def entries_of(http: httpx.Client, model: Path, path: str, body: dict[str, object]) -> tuple[list[dict], str, int]:
    """The entries of an answer's logprobs, its text, and how many tokens it has."""
    answer = http.post(path, json={"model": str(model), "stream": False, **body}).json()
    if "choices" not in answer:
        return answer["logprobs"], answer.get("response", ""), answer["eval_count"]
    (choice,) = answer["choices"]
    entries = choice["logprobs"]["content"]
    return entries, choice["message"]["content"], answer["usage"]["completion_tokens"]


OLLAMA = {"options": {"temperature": 0, "num_predict": 60}, "logprobs": True}
CHAT = {"messages": [{"role": "user", "content": "hello"}], "temperature": 0, "max_tokens": 60, "logprobs": True}
ROUTES = {
    "generate": ("/api/generate", {"prompt": "hello", **OLLAMA}),
    "raw": ("/api/generate", {"prompt": "hello", "raw": True, **OLLAMA}),
    "v1": ("/v1/chat/completions", CHAT),
}


@pytest.mark.parametrize("alternatives", [0, 3])
@pytest.mark.parametrize(("path", "body"), ROUTES.values(), ids=ROUTES.keys())
def test_every_token_has_an_entry_with_its_own_bytes(
    shared_daemon: RunningDaemon, multibyte: Path, path: str, body: dict[str, object], alternatives: int
) -> None:
    asked = body | ({"top_logprobs": alternatives} if alternatives else {})
    with httpx.Client(base_url=shared_daemon.url, timeout=DEADLINE) as http:
        entries, text, count = entries_of(http, multibyte, path, asked)
    assert b"".join(bytes(entry["bytes"]) for entry in entries).decode() == text
    assert all(len(entry["bytes"]) == 1 for entry in entries)
    assert count - 3 < len(entries) <= count  # the last character may have been cut off
    for entry in entries:
        is_last = entry["bytes"][0] in {character.encode()[-1] for character in CHARACTERS}
        assert entry.get("merged", False) is not is_last
        assert len(entry.get("top_logprobs") or ()) == (alternatives if is_last else 0)


def test_the_columns_of_completions_say_what_was_merged(shared_daemon: RunningDaemon, multibyte: Path) -> None:
    body = {"model": str(multibyte), "prompt": "hello", "temperature": 0, "max_tokens": 60, "logprobs": 2}
    with httpx.Client(base_url=shared_daemon.url, timeout=DEADLINE) as http:
        (choice,) = http.post("/v1/completions", json=body).json()["choices"]
    columns = choice["logprobs"]
    assert len({len(column) for column in columns.values()}) == 1
    assert any(columns["merged"]) and not all(columns["merged"])
    assert {len(top) for top in columns["top_logprobs"]} <= {0, 1, 2}


def test_a_prompts_own_logprobs_are_refused(shared_daemon: RunningDaemon, multibyte: Path) -> None:
    body = {"model": str(multibyte), "prompt": "hello", "echo": True, "logprobs": 1, "max_tokens": 1}
    with httpx.Client(base_url=shared_daemon.url, timeout=DEADLINE) as http:
        refusal = http.post("/v1/completions", json=body)
        assert refusal.status_code == 400 and "echo with logprobs" in refusal.json()["error"]["message"]
        assert (
            http.post("/v1/completions", json=body | {"logprobs": None})
            .json()["choices"][0]["text"]
            .startswith("hello")
        )
