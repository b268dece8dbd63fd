"""Gemma 3 270M has no chat template: it is a base model, which continues texts, and chats within a plain frame."""

from typing import Any

import httpx
import pytest

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]

MARKS = ("<|im_start|>", "<|im_end|>", "<start_of_turn>", "<end_of_turn>")
RUNAWAY = "na na na na na na na na"
MOST = 600  # tokens within which an answer that repeats itself has ended


def post(http: httpx.Client, path: str, **body: object) -> dict[str, Any]:
    answer: dict[str, Any] = http.post(path, json={"model": "gemma", **body}).raise_for_status().json()
    return answer


def test_a_prompt_is_sent_as_it_is(http: httpx.Client) -> None:
    options = {"temperature": 0, "num_predict": 16}
    prompt = "The capital of France is"
    plain = post(http, "/api/generate", prompt=prompt, stream=False, options=options)
    raw = post(http, "/api/generate", prompt=prompt, stream=False, options=options, raw=True)
    assert plain["response"] == raw["response"]
    assert post(http, "/api/show")["template"] == "{{ .Prompt }}"


def test_a_chat_ends_without_marks(http: httpx.Client) -> None:
    messages = [{"role": "user", "content": "What is the capital of France?"}]
    options = {"temperature": 0, "num_predict": 200}
    answer = post(http, "/api/chat", messages=messages, stream=False, options=options)
    assert answer["message"]["content"].strip()
    assert not [mark for mark in MARKS if mark in answer["message"]["content"]]


@pytest.mark.parametrize("stream", [False, True])
def test_a_runaway_answer_ends(http: httpx.Client, stream: bool) -> None:
    body = {"model": "gemma", "prompt": RUNAWAY, "raw": True, "stream": stream, "options": {"temperature": 0}}
    with http.stream("POST", "/api/generate", json=body) as response:
        last = [httpx.Response(200, text=line).json() for line in response.iter_lines()][-1]
    assert last["done"] and last["done_reason"] == "length" and last["eval_count"] <= MOST
    assert last["ended_by"] == "runaway_guard"


def test_a_runaway_answer_may_be_wanted(http: httpx.Client) -> None:
    options = {"temperature": 0, "num_predict": MOST, "runaway_guard": False}
    answer = post(http, "/api/generate", prompt=RUNAWAY, raw=True, stream=False, options=options)
    assert answer["eval_count"] == MOST
