"""Ollama's wire contract on the bytes: what clients in any language rely on."""

import json
import math
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.conftest import DEADLINE, RunningDaemon

SHORT = {"num_predict": 8, "seed": 7}


@pytest.fixture
def http(shared_daemon: RunningDaemon) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=shared_daemon.url, timeout=DEADLINE, trust_env=False) as http:
        yield http


def generate(http: httpx.Client, **body: object) -> httpx.Response:
    return http.post("/api/generate", json={"model": "tiny", "stream": False, "options": SHORT, **body})


def lines(response: httpx.Response) -> list[dict[str, object]]:
    return [json.loads(line) for line in response.text.splitlines()]


def test_the_root_says_what_clients_look_for(http: httpx.Client):
    assert http.get("/").text == "Ollama is running"
    assert http.get("/").headers["content-type"].startswith("text/plain")


@pytest.mark.parametrize("path", ["/", "/api/version", "/api/tags", "/api/ps"])
def test_head_has_the_status_and_no_body(http: httpx.Client, path: str):
    response = http.head(path)
    assert (response.status_code, response.content) == (200, b"")


def test_unknown_paths_and_methods_answer_in_plain_text(http: httpx.Client):
    assert (http.get("/api/nonesuch").status_code, http.get("/api/nonesuch").text) == (404, "404 page not found")
    assert (http.get("/api/chat").status_code, http.get("/api/chat").text) == (405, "405 method not allowed")


def test_a_stream_is_ndjson_that_ends_with_done(http: httpx.Client):
    response = generate(http, prompt="hello", stream=True)
    assert response.headers["content-type"] == "application/x-ndjson"
    assert response.text.endswith("\n") and "\n\n" not in response.text
    assert [line["done"] for line in lines(response)][-2:] == [False, True]


def test_created_at_is_utc_and_the_name_is_echoed_as_sent(http: httpx.Client):
    reply = generate(http, model="TINY", prompt="hello").json()
    assert reply["created_at"].endswith("Z")
    assert reply["model"] == "TINY"


def test_the_body_is_json_whatever_it_claims_to_be(http: httpx.Client):
    body = b'{"model": "tiny", "prompt": "a", "STREAM": false, "nonesuch": 1, "format": null} and more'
    response = http.post("/api/generate", content=body, headers={"content-type": "application/x-www-form-urlencoded"})
    assert response.json()["done"] is True


def test_name_serves_for_model(http: httpx.Client):
    assert http.post("/api/show", json={"name": "tiny"}).json()["capabilities"] == ["completion"]


def test_the_same_seed_gives_the_same_text(http: httpx.Client):
    first, second = (generate(http, prompt="hello").json()["response"] for _ in range(2))
    other = generate(http, prompt="hello", options={**SHORT, "seed": 8}).json()["response"]
    assert first == second != other


def test_stop_text_ends_the_answer_and_is_not_in_it(http: httpx.Client):
    whole = generate(http, prompt="hello").json()["response"]
    word = whole.split()[3]
    reply = generate(http, prompt="hello", options={**SHORT, "stop": [word]}).json()
    assert reply["done_reason"] == "stop"
    assert reply["response"] == whole[: whole.index(word)]


def test_format_makes_the_answer_json(http: httpx.Client):
    schema = {"type": "object", "properties": {"n": {"enum": [1, 2]}}, "required": ["n"], "additionalProperties": False}
    body = {"model": "tiny", "stream": False, "messages": [{"role": "user", "content": "x"}], "format": schema}
    answer = http.post("/api/chat", json=body | {"options": {"temperature": 0, "num_predict": 200}}).json()
    assert json.loads(answer["message"]["content"])["n"] in (1, 2)


def test_raw_takes_the_prompt_as_it_is(http: httpx.Client):
    raw, templated = (generate(http, prompt="the sun", raw=raw).json() for raw in (True, False))
    assert raw["prompt_eval_count"] < templated["prompt_eval_count"]
    assert "context" in templated and "context" not in raw


def test_an_empty_prompt_loads_and_keep_alive_zero_unloads(start_daemon, tiny: Path):
    with httpx.Client(base_url=start_daemon().url, timeout=DEADLINE, trust_env=False) as http:
        loaded = http.post("/api/generate", json={"model": str(tiny)}).json()
        assert (loaded["done_reason"], loaded["response"], loaded["done"]) == ("load", "", True)
        assert len(http.get("/api/ps").json()["models"]) == 1
        unloaded = http.post("/api/chat", json={"model": str(tiny), "keep_alive": 0}).json()
        assert (unloaded["done_reason"], unloaded["message"]["content"]) == ("unload", "")
        assert http.get("/api/ps").json() == {"models": []}


def test_dimensions_cut_a_vector_and_make_it_whole_again(http: httpx.Client):
    full, cut = (
        http.post("/api/embed", json={"model": "tiny", "input": "the sun", "dimensions": size}).json()["embeddings"][0]
        for size in (0, 16)
    )
    assert len(cut) == 16 and math.isclose(math.hypot(*cut), 1.0, abs_tol=1e-5)
    assert math.isclose(cut[0] / cut[1], full[0] / full[1], rel_tol=1e-3)


def test_a_batch_keeps_its_order(http: httpx.Client):
    def vectors(texts: list[str]) -> list[list[float]]:
        return http.post("/api/embed", json={"model": "tiny", "input": texts}).json()["embeddings"]

    pair = vectors(["the sun and the moon", "stone"])
    assert pair[1] == pytest.approx(vectors(["stone"])[0], abs=1e-3)
    assert pair[0] == pytest.approx(vectors(["the sun and the moon"])[0], abs=1e-3)


def test_an_input_longer_than_the_context_is_cut_or_refused(http: httpx.Client):
    body = {"model": "tiny", "input": " the sun" * 3000}
    assert len(http.post("/api/embed", json=body).json()["embeddings"][0]) == 64
    refused = http.post("/api/embed", json=body | {"truncate": False})
    assert (refused.status_code, refused.json()["error"]) == (400, "the input length exceeds the context length")


@pytest.mark.parametrize("nothing", [None, "", []])
def test_nothing_to_embed_gives_no_vectors(http: httpx.Client, nothing: object):
    assert http.post("/api/embed", json={"model": "tiny", "input": nothing}).json() == {
        "model": "tiny",
        "embeddings": [],
    }


def test_a_prompt_that_may_not_be_cut_is_refused_in_words(http: httpx.Client):
    response = generate(http, prompt=" the sun" * 3000, truncate=False)
    assert response.status_code == 400
    assert "longer than the context length" in response.json()["error"]


BAD_REQUESTS = {
    "empty body": (b"", "missing request body"),
    "no JSON": (b"hello", "not valid JSON"),
    "half JSON": (b'{"model": "tiny"', "not valid JSON"),
    "deep JSON": (b"[" * 100_000, "not valid JSON"),
    "not UTF-8": (b'{"model": "\xff"}', "not valid JSON"),
    "a list": (b"[1]", "must be a JSON object"),
    "a number for text": (b'{"model": "tiny", "prompt": 5}', "prompt: input should be a valid string"),
    "text for an option": (
        b'{"model": "tiny", "prompt": "x", "options": {"temperature": "hot"}}',
        'option "temperature" must be of type float32',
    ),
    "text for a whole number": (
        b'{"model": "tiny", "prompt": "x", "options": {"num_ctx": "many"}}',
        'option "num_ctx" must be of type integer',
    ),
    "numbers to stop at": (b'{"model": "tiny", "prompt": "x", "options": {"stop": [1]}}', "array of strings"),
    "a unit too few": (b'{"model": "tiny", "prompt": "x", "keep_alive": "5"}', 'time: missing unit in duration "5"'),
    "no duration": (b'{"model": "tiny", "prompt": "x", "keep_alive": "abc"}', 'time: invalid duration "abc"'),
    "no format": (b'{"model": "tiny", "prompt": "x", "format": "xml"}', 'invalid format: "xml"'),
    "no thinking": (b'{"model": "tiny", "prompt": "x", "think": true}', '"tiny" does not support thinking'),
    "odd thinking": (b'{"model": "tiny", "prompt": "x", "think": "hard"}', 'invalid think value: "hard"'),
    "raw with system": (b'{"model": "tiny", "prompt": "x", "raw": true, "system": "y"}', "raw mode does not support"),
    "a picture": (b'{"model": "tiny", "prompt": "x", "images": ["aGk="]}', '"tiny" does not support images'),
}


@pytest.mark.parametrize(("body", "complaint"), BAD_REQUESTS.values(), ids=BAD_REQUESTS.keys())
def test_a_bad_request_is_refused_in_words_and_the_daemon_goes_on(http: httpx.Client, body: bytes, complaint: str):
    response = http.post("/api/generate", content=body)
    assert response.status_code == 400
    assert complaint in response.json()["error"]
    assert http.get("/api/version").status_code == 200


@pytest.mark.parametrize("path", ["/api/chat", "/api/show", "/api/embeddings", "/load", "/generate"])
def test_a_model_is_required(http: httpx.Client, path: str):
    response = http.post(path, json={})
    assert response.status_code == 400
    assert "model is required" in response.text


def test_unknown_options_are_ignored(http: httpx.Client):
    options = {**SHORT, "mirostat": 1, "tfs_z": 0.5, "nonesuch": {}}
    assert generate(http, prompt="hello", options=options).status_code == 200


def test_a_path_is_a_model_for_the_own_user_but_for_no_web_page(http: httpx.Client, tiny: Path):
    body = {"model": str(tiny)}
    assert http.post("/api/show", json=body).status_code == 200
    page = http.post("/api/show", json=body, headers={"origin": "http://localhost:3000"})
    assert (page.status_code, page.json()["error"]) == (404, f"model '{tiny}' not found")


def test_the_answer_tells_nothing_about_files_that_are_no_models(http: httpx.Client, tmp_path: Path):
    secret = tmp_path / "secret"
    secret.write_text("hunter2")
    answers = [http.post("/api/show", json={"model": str(path)}) for path in (secret, tmp_path / "nothing", tmp_path)]
    assert [answer.status_code for answer in answers] == [404] * 3
    assert {answer.json()["error"].replace("secret", "nothing").split("'")[2] for answer in answers} == {" not found"}


def test_strange_origins_and_hosts_are_refused(http: httpx.Client):
    evil = http.get("/api/tags", headers={"origin": "https://evil.example"})
    rebound = http.get("/api/tags", headers={"host": "evil.example"})
    assert [(one.status_code, one.content) for one in (evil, rebound)] == [(403, b"")] * 2


def test_a_local_page_gets_its_cors_headers(http: httpx.Client):
    response = http.get("/api/tags", headers={"origin": "http://localhost:3000"})
    assert response.headers["access-control-allow-origin"] == "http://localhost:3000"
