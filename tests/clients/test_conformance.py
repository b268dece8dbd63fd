"""Ollama's routes as its clients write the requests: in Go with a zero value for each field that is not set.

The bodies of Go have every field that is without `omitempty` in Ollama's `api/types.go`; those of JavaScript and Python
are what the packages send. Older releases send the model's name as `name`, and Go sends both. The answers are judged by
what the clients read.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from oprel.core.names import GUIDE
from tests.clients.questions import LIST, LIST_ANSWER, TOOL, TOOL_PARAMETERS
from tests.clients.table import cell

GO, JS, PYTHON = "ollama-go", "ollama-js", "ollama-python"
HEADERS = {
    GO: {"user-agent": "ollama/0.34.1 (amd64 linux) Go/go1.26", "accept": "application/json"},
    JS: {"user-agent": "ollama-js/0.6.3 (x64 linux Node.js/v22)", "accept": "application/json"},
    PYTHON: {"user-agent": "ollama-python/0.6.2 (x86_64 linux) Python/3.11", "accept": "application/json"},
}
MADE = "conformance"  # a model with a system message, its own at the start of each test
SYSTEM = "You only know lists."
MESSAGES = [{"role": "user", "content": LIST}]
EXACT = {"temperature": 0}
TINY_LENGTH = 64  # of its vectors

Body = Mapping[str, Any]
Check = Callable[[list[dict[str, Any]]], bool]


@dataclass(frozen=True, kw_only=True)
class Row:
    """`check` gets the lines of the answer; an answer without any is right if the status is."""

    client: str
    path: str
    body: Body | None = None
    method: str = "POST"
    check: Check = lambda lines: lines == []

    @property
    def name(self) -> str:
        return f"{self.client} {self.method} {self.path}"


def has(*names: str, **values: object) -> Check:
    """The last line has these fields, some with these values."""
    return lambda lines: all(name in lines[-1] for name in names) and values.items() <= lines[-1].items()


def answers(lines: list[dict[str, Any]]) -> bool:
    texts = [line.get("response") or line.get("message", {}).get("content", "") for line in lines]
    return LIST_ANSWER in "".join(texts) and lines[-1]["done"] is True and lines[-1]["eval_count"] > 0


def renders(lines: list[dict[str, Any]]) -> bool:
    return SYSTEM in lines[0]["_debug_info"]["rendered_template"]


def embeds(count: int) -> Check:
    def check(lines: list[dict[str, Any]]) -> bool:
        return [len(vector) for vector in lines[0]["embeddings"]] == [TINY_LENGTH] * count

    return check


def shows(lines: list[dict[str, Any]]) -> bool:
    (shown,) = lines
    needed = ("modelfile", "parameters", "template", "details", "model_info", "capabilities", "modified_at")
    return shown["system"] == SYSTEM and all(name in shown for name in needed)


def go(path: str, check: Check = lambda lines: lines == [], method: str = "POST", **body: Any) -> Row:
    return Row(client=GO, path=path, body=body or None, method=method, check=check)


def js(path: str, check: Check = lambda lines: lines == [], method: str = "POST", **body: Any) -> Row:
    return Row(client=JS, path=path, body=body or None, method=method, check=check)


def python(path: str, check: Check = lambda lines: lines == [], method: str = "POST", **body: Any) -> Row:
    return Row(client=PYTHON, path=path, body=body or None, method=method, check=check)


Fields = dict[str, Any]
FROM: Fields = {"from": GUIDE}
NAMED: tuple[Fields, ...] = ({"model": "", "name": MADE}, {"model": MADE, "name": ""}, {"model": MADE, "name": MADE})
STREAMS: tuple[Fields, ...] = ({}, {"stream": False})
CREATES: tuple[Fields, ...] = (
    {"stream": False, "quantize": "", "quantization": ""},
    {"template": "", "license": "", "system": "", "parameters": None, "messages": None, "files": None},
)
SHOW: Fields = {"system": "", "template": "", "verbose": False, "options": None}
LOGIN: Fields = {"username": "", "password": ""}
GENERATE: Fields = {"suffix": "", "system": "", "template": "", "options": None}
GO_TOOL = {"type": "function", "function": {"name": TOOL, "description": "", "parameters": TOOL_PARAMETERS}}
GO_ASKS: Fields = {"think": False, "options": EXACT}
LOADED, UNLOADED = has(done=True, done_reason="load"), has(done=True, done_reason="unload")
SUCCESS = has(status="success")

ROWS = (
    go("/", method="HEAD"),
    go("/api/version", has("version"), "GET"),
    go("/api/tags", has("models"), "GET"),
    go("/api/ps", has("models"), "GET"),
    *(go("/api/show", shows, **SHOW, **named) for named in NAMED),
    go("/api/copy", source=MADE, destination=f"{MADE}-copy"),
    *(go("/api/delete", method="DELETE", **named) for named in NAMED),
    *(go("/api/pull", SUCCESS, **LOGIN, **named, **stream) for named in NAMED for stream in STREAMS),
    *(go("/api/create", SUCCESS, **FROM, **named, **more) for named in NAMED for more in CREATES),
    go("/api/generate", answers, model=MADE, prompt=LIST, **{**GENERATE, **GO_ASKS}),
    go("/api/generate", renders, model=MADE, prompt=LIST, _debug_render_only=True, **GENERATE),
    go("/api/generate", LOADED, model=MADE, prompt="", **GENERATE),
    go("/api/generate", UNLOADED, model=MADE, prompt="", keep_alive="0s", **GENERATE),
    go("/api/chat", answers, model=MADE, messages=MESSAGES, **GO_ASKS),
    go("/api/chat", answers, model=MADE, messages=MESSAGES, tools=[], format=None, **GO_ASKS),
    go("/api/chat", has("message", done=True), model=MADE, messages=MESSAGES, tools=[GO_TOOL], **GO_ASKS),
    go("/api/chat", renders, model=MADE, messages=MESSAGES, options=None, _debug_render_only=True),
    go("/api/chat", has("message", done=True), model=MADE, messages=[{"role": "", "content": LIST}], **GO_ASKS),
    go("/api/chat", LOADED, model=MADE, messages=None, options=None),
    go("/api/chat", UNLOADED, model=MADE, messages=None, options=None, keep_alive="0s"),
    go("/api/embed", embeds(1), model="tiny", input="the sun", options=None),
    go("/api/embed", embeds(3), model="tiny", input=["the sun", "", "the moon"], options=None),
    go("/api/embed", embeds(0), model="tiny", input=None, options=None),
    go("/api/embeddings", has("embedding"), model="tiny", prompt="the sun", options=None),
    go("/api/embeddings", has(embedding=[]), model="tiny", prompt="", options=None),
    js("/api/version", has("version"), "GET"),
    js("/api/tags", has("models"), "GET"),
    js("/api/ps", has("models"), "GET"),
    js("/api/show", shows, model=MADE),
    js("/api/copy", source=MADE, destination=f"{MADE}-copy"),
    js("/api/delete", method="DELETE", name=MADE),
    js("/api/pull", SUCCESS, name=MADE, stream=False),
    js("/api/pull", SUCCESS, name=MADE, stream=True),
    js("/api/create", SUCCESS, model=MADE, stream=False, **FROM),
    js("/api/generate", answers, model=MADE, prompt=LIST, stream=False, think=False, options=EXACT),
    js("/api/generate", UNLOADED, model=MADE, keep_alive=0),
    js("/api/chat", answers, model=MADE, messages=MESSAGES, stream=True, think=False, options=EXACT),
    js("/api/embed", embeds(1), model="tiny", input="the sun"),
    js("/api/embeddings", has("embedding"), model="tiny", prompt="the sun"),
    python("/api/tags", has("models"), "GET"),
    python("/api/ps", has("models"), "GET"),
    python("/api/show", shows, model=MADE),
    python("/api/copy", source=MADE, destination=f"{MADE}-copy"),
    python("/api/delete", method="DELETE", model=MADE),
    python("/api/pull", SUCCESS, model=MADE, stream=False),
    python("/api/create", SUCCESS, model=MADE, stream=False, **FROM),
    python("/api/generate", answers, model=MADE, prompt=LIST, stream=False, think=False, options=EXACT),
    python("/api/generate", LOADED, model=MADE, stream=False),
    python("/api/chat", answers, model=MADE, messages=MESSAGES, tools=[], stream=False, think=False, options=EXACT),
    python("/api/embed", embeds(2), model="tiny", input=["the sun", "the moon"]),
    python("/api/embeddings", has("embedding"), model="tiny", prompt="the sun"),
)


@pytest.fixture
def made(http: httpx.Client) -> Iterator[None]:
    create(http)
    yield
    for name in (MADE, f"{MADE}-copy"):
        http.request("DELETE", "/api/delete", json={"model": name})


def create(http: httpx.Client) -> None:
    made = http.post("/api/create", json={"model": MADE, "from": GUIDE, "system": SYSTEM, "stream": False})
    assert made.status_code == 200, made.text


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_request_of_a_client_is_answered(row: Row, made: None, http: httpx.Client, record_property) -> None:
    record_property(*cell(row.path, row.client))
    content = None if row.body is None else json.dumps(row.body, separators=(",", ":"))
    response = http.request(row.method, row.path, content=content, headers=HEADERS[row.client])
    lines = [json.loads(line) for line in response.text.splitlines()] if response.text[:1] == "{" else []
    assert response.status_code == 200, response.text
    assert row.check(lines), lines


def test_a_push_reads_the_older_name(http: httpx.Client, record_property) -> None:
    record_property(*cell("/api/push", GO))
    pushed = http.post("/api/push", json={"model": "", "name": GUIDE, "username": "", "password": ""})
    assert "model is required" not in pushed.text and "no name of a registry" in pushed.text


def test_gos_blobs_are_uploaded_in_chunks(http: httpx.Client, tiny: Path, record_property) -> None:
    record_property(*cell("/api/blobs", GO))
    content = tiny.read_bytes() + b"go"
    blob = f"/api/blobs/sha256:{hashlib.sha256(content).hexdigest()}"
    assert http.head(blob, headers=HEADERS[GO]).status_code == 404
    pieces = (content[at : at + 32_768] for at in range(0, len(content), 32_768))
    assert http.post(blob, content=pieces, headers=HEADERS[GO]).status_code == 201
    assert http.head(blob, headers=HEADERS[GO]).status_code == 200


# Bodies without a model, all fields zero: the status and the words of each route (facts of 4.1).
ZERO: dict[str, tuple[str, Body, int, str]] = {
    "show": ("POST", {"model": "", "name": "", **SHOW}, 400, "model is required"),
    "push": ("POST", {"model": "", "name": "", **LOGIN}, 400, "model is required"),
    "chat": ("POST", {"model": "", "messages": None, "options": None}, 400, "model is required"),
    "embeddings": ("POST", {"model": "", "prompt": "", "options": None}, 400, "model is required"),
    "generate": ("POST", {"model": "", "prompt": "", **GENERATE}, 404, "model '' not found"),
    "embed": ("POST", {"model": "", "input": None, "options": None}, 404, "model '' not found"),
    "pull": ("POST", {"model": "", "name": "", **LOGIN}, 400, "invalid model name"),
    "create": ("POST", {"model": "", "name": ""}, 400, "invalid model name"),
    "delete": ("DELETE", {"model": "", "name": ""}, 400, 'name "" is invalid'),
    "copy": ("POST", {"source": "", "destination": ""}, 400, 'source "" is invalid'),
}


@pytest.mark.parametrize("route", ZERO)
def test_a_request_of_zero_values_only_is_refused_in_ollamas_words(http: httpx.Client, route: str) -> None:
    method, body, status, words = ZERO[route]
    response = http.request(method, f"/api/{route}", json=body)
    assert (response.status_code, response.json()["error"]) == (status, words)


LONG_NAMES = (f"library/{MADE}", f"registry.ollama.ai/library/{MADE}", f"registry.ollama.ai/library/{MADE}:latest")


@pytest.mark.parametrize("name", [*LONG_NAMES, f"https://registry.ollama.ai/library/{MADE}", MADE.upper()])
def test_a_long_name_means_the_installed_model(http: httpx.Client, made: None, name: str) -> None:
    assert http.post("/api/show", json={"model": name}).json()["system"] == SYSTEM
    asked = {"model": name, "messages": MESSAGES, "think": False, "stream": False, "options": {"num_predict": 1}}
    answer = http.post("/api/chat", json=asked).json()
    assert (answer["model"], answer["done"]) == (name, True)
    running = {model["model"] for model in http.get("/api/ps").json()["models"]}
    assert f"{MADE}:latest" in running
    assert http.request("DELETE", "/api/delete", json={"model": name}).status_code == 200
    running = {model["model"] for model in http.get("/api/ps").json()["models"]}
    assert f"{MADE}:latest" not in running
    assert http.post("/api/show", json={"model": MADE}).status_code == 404


@pytest.mark.parametrize("name", ["a b", "x:y:z", "model@sha256:00", "host/", "m" * 200])
def test_what_is_no_name_is_refused_in_ollamas_words(http: httpx.Client, name: str) -> None:
    for route in ("show", "pull", "create"):
        response = http.post(f"/api/{route}", json={"model": name, "from": GUIDE})
        assert (response.status_code, response.json()["error"]) == (400, "invalid model name"), route


LENIENT: dict[str, Body] = {
    "seeds of 63 bits": {"seed": 2**63 - 1},
    "a negative seed": {"seed": -(2**62)},
    "a context of nothing": {"num_ctx": 0},
    "a context below the least": {"num_ctx": 1},
    "a negative context": {"num_ctx": -1},
    "no batch": {"num_batch": 0},
    "a batch of one token": {"num_batch": 1},
    "a batch of three tokens": {"num_batch": 3},
    "all layers": {"num_gpu": -1},
    "no threads": {"num_thread": 0},
    "the whole context": {"repeat_last_n": -1, "repeat_penalty": 1.1},
    "an empty stop": {"stop": ""},
    "empty stops": {"stop": ["", ""]},
    "nulls": dict.fromkeys(("num_ctx", "stop", "seed", "temperature")),
}


@pytest.mark.parametrize("options", LENIENT.values(), ids=LENIENT.keys())
def test_options_are_read_as_leniently_as_by_ollama(http: httpx.Client, options: Body) -> None:
    body = {"model": GUIDE, "think": False, "stream": False, "options": {"temperature": 0, "num_predict": 8, **options}}
    generated = http.post("/api/generate", json={**body, "prompt": LIST})
    assert (generated.status_code, bool(generated.json().get("response"))) == (200, True), generated.text
    chatted = http.post("/api/chat", json={**body, "messages": [{"content": LIST}]})
    assert (chatted.status_code, bool(chatted.json()["message"]["content"])) == (200, True), chatted.text


def test_the_spoken_level_is_reported_beside_oprels_own_version(http: httpx.Client) -> None:
    version = http.get("/api/version").json()
    assert tuple(map(int, version["version"].split("."))) >= (0, 34, 0)
    assert version["oprel"]
