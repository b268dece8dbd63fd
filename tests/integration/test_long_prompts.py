"""Prompts and answers that outgrow the context: what is left out is always told."""

import json

import httpx
import pytest

from tests.conftest import DEADLINE, RunningDaemon

PAST = [
    {"role": role, "content": text}
    for number in range(40)
    for role, text in (("user", f"My colour number {number} is blue. " * 3), ("assistant", "I will remember that."))
]
SYSTEM = {"role": "system", "content": "You are guide."}
LAST = {"role": "user", "content": "What is your name?"}
BRIEF = {"temperature": 0, "num_predict": 4}


@pytest.fixture
def http(shared_daemon: RunningDaemon):
    with httpx.Client(base_url=shared_daemon.url, timeout=DEADLINE) as client:
        yield client


def chat(http: httpx.Client, **fields: object) -> httpx.Response:
    body = {"model": "guide", "messages": [SYSTEM, *PAST, LAST], "stream": False, "think": False, "options": BRIEF}
    return http.post("/api/chat", json=body | fields)


def test_the_oldest_messages_go_and_the_reply_says_how_many(http: httpx.Client):
    response = chat(http)
    told = response.json()["truncated"]
    assert 0 < told["messages"] < len(PAST)
    assert (told["tokens"], told["shifted"]) == (0, False)
    assert response.headers["x-oprel-truncated"] == f"messages={told['messages']}; tokens=0"


def test_what_is_cut_is_the_oldest_and_no_more_than_must_be(http: httpx.Client):
    dropped = chat(http).json()["truncated"]["messages"]
    short = [SYSTEM, *PAST[dropped:], LAST]
    assert "truncated" not in chat(http, messages=short).json(), "what was kept fits"
    assert chat(http, messages=short).json()["message"] == chat(http).json()["message"]


def test_a_stream_says_it_in_its_header_and_in_its_last_line(http: httpx.Client):
    response = chat(http, stream=True)
    *lines, last = [json.loads(line) for line in response.text.splitlines()]
    assert response.headers["x-oprel-truncated"].startswith("messages=")
    assert last["truncated"]["messages"] > 0
    assert not any("truncated" in line for line in lines)


def test_a_prompt_that_fits_is_not_cut(http: httpx.Client):
    response = chat(http, messages=[SYSTEM, LAST])
    assert "x-oprel-truncated" not in response.headers
    assert "truncated" not in response.json()


def test_a_last_message_that_is_too_long_alone_loses_its_middle(http: httpx.Client):
    response = chat(http, messages=[SYSTEM, {"role": "user", "content": "first " + "hello there " * 2000 + "last"}])
    told = response.json()["truncated"]
    assert told["messages"] == 0
    assert told["tokens"] > 1000


@pytest.mark.parametrize("raw", [True, False])
def test_a_prompt_of_generate_loses_its_middle(http: httpx.Client, raw: bool):
    body = {"model": "guide", "prompt": "hello there " * 2000, "raw": raw, "stream": False, "options": BRIEF}
    assert http.post("/api/generate", json=body).json()["truncated"]["tokens"] > 1000


def test_without_truncate_it_is_refused(http: httpx.Client):
    response = chat(http, truncate=False)
    assert response.status_code == 400
    assert "longer than the context length" in response.json()["error"]


def test_a_system_message_that_leaves_no_room_is_refused_in_words(http: httpx.Client):
    response = chat(http, messages=[{"role": "system", "content": "be nice " * 2000}, LAST])
    assert response.status_code == 400
    assert "even without its oldest messages" in response.json()["error"]


def test_openai_clients_get_an_error_unless_they_ask_for_the_cut(http: httpx.Client):
    body = {"model": "guide", "messages": [SYSTEM, *PAST, LAST], "max_tokens": 4}
    refused = http.post("/v1/chat/completions", json=body)
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "context_length_exceeded")
    cut = http.post("/v1/chat/completions", json=body | {"truncate": True})
    assert (cut.status_code, "x-oprel-truncated" in cut.headers) == (200, True)
