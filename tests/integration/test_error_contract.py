"""Every error that Ollama documents, with its status and text; where oprel words one its own way, a comment says so."""

import gzip
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import DEADLINE, RunningDaemon
from tests.fixtures.fake_engine import install
from tests.fixtures.gguf_factory import write_tiny_gguf

HELLO = [{"role": "user", "content": "hello"}]
NO_DIGEST = "sha256:" + "0" * 64


@dataclass(frozen=True)
class Refusal:
    """A request and what it is answered. `text` is the whole text, or a pattern of all of it."""

    request: str
    body: Any
    status: int
    text: str | re.Pattern[str]

    def __str__(self) -> str:
        return f"{self.request}: {getattr(self.text, 'pattern', self.text)}"[:100]

    @property
    def pattern(self) -> re.Pattern[str]:
        return re.compile(re.escape(self.text)) if isinstance(self.text, str) else self.text


def tiny(**fields: object) -> dict[str, object]:
    return {"model": "tiny", "prompt": "x", "messages": HELLO, "input": "x", "stream": False, **fields}


def options(**values: object) -> dict[str, object]:
    return tiny(options=values)


NAMELESS = {"messages": HELLO, "prompt": "x", "input": "x", "max_tokens": 8}
UNKNOWN = {**NAMELESS, "model": "nonesuch"}
JSON_ROUTES = (
    *("POST /api/generate", "POST /api/chat", "POST /api/embed", "POST /api/embeddings", "POST /api/show"),
    *("POST /api/create", "POST /api/copy", "DELETE /api/delete", "POST /api/pull"),
)
NO_BODY = [Refusal(route, b"", 400, "missing request body") for route in JSON_ROUTES]
NO_JSON = [Refusal(route, b"{x", 400, re.compile("the request body is not valid JSON: .+")) for route in JSON_ROUTES]

# The texts of Go's decoder are not ours.
BAD_JSON = [
    Refusal("POST /api/chat", {"model": "tiny", "messages": "x"}, 400, re.compile("messages: .+")),
    Refusal("POST /api/generate", {"model": 5}, 400, re.compile("model: .+")),
    Refusal("POST /api/show", [1], 400, re.compile("the request must be a JSON object: .+")),
]

NO_MODEL = [
    Refusal("POST /api/chat", NAMELESS, 400, "model is required"),
    Refusal("POST /api/embeddings", NAMELESS, 400, "model is required"),
    Refusal("POST /api/show", NAMELESS, 400, "model is required"),
    Refusal("POST /api/generate", NAMELESS, 404, "model '' not found"),
    Refusal("POST /api/embed", NAMELESS, 404, "model '' not found"),
    Refusal("POST /api/create", {"from": "tiny"}, 400, "invalid model name"),
    Refusal("POST /api/create", {"from": "tiny", "model": "/../x"}, 400, "invalid model name"),
    Refusal("POST /api/pull", {}, 400, "invalid model name"),
    Refusal("POST /api/pull", {"model": "/../x"}, 400, "invalid model name"),
    Refusal("DELETE /api/delete", {"model": "/../x"}, 400, 'name "/../x" is invalid'),
    Refusal("DELETE /api/delete", {"model": ""}, 400, 'name "" is invalid'),
    Refusal("POST /api/copy", {"source": "/../x", "destination": "a"}, 400, 'source "/../x" is invalid'),
    Refusal("POST /api/copy", {"source": "tiny", "destination": "/../x"}, 400, 'destination "/../x" is invalid'),
]

UNKNOWN_MODEL = [
    Refusal("POST /api/generate", UNKNOWN, 404, "model 'nonesuch' not found"),
    Refusal("POST /api/chat", UNKNOWN, 404, "model 'nonesuch' not found"),
    Refusal("POST /api/show", UNKNOWN, 404, "model 'nonesuch:latest' not found"),
    Refusal("DELETE /api/delete", UNKNOWN, 404, "model 'nonesuch' not found"),
    Refusal("POST /api/embed", UNKNOWN, 404, 'model "nonesuch" not found, try pulling it first'),
    Refusal("POST /api/embeddings", UNKNOWN, 404, 'model "nonesuch" not found, try pulling it first'),
    Refusal("POST /api/copy", {"source": "nonesuch", "destination": "a"}, 404, 'model "nonesuch" not found'),
]

# Ollama puts its registry before the model's name in the second and third.
CANNOT = [
    Refusal("POST /api/chat", tiny(think=True), 400, '"tiny" does not support thinking'),
    Refusal("POST /api/generate", tiny(think="low"), 400, '"tiny" does not support thinking'),
    Refusal("POST /api/generate", tiny(suffix="y"), 400, "tiny:latest does not support insert"),
]

# Ollama's status is 500 for a wrong option and a wrong format.
BAD_FIELDS = [
    Refusal("POST /api/generate", options(temperature="hot"), 400, 'option "temperature" must be of type float32'),
    Refusal("POST /api/generate", options(num_ctx="many"), 400, 'option "num_ctx" must be of type integer'),
    Refusal("POST /api/generate", options(use_mmap="no"), 400, 'option "use_mmap" must be of type boolean'),
    Refusal("POST /api/generate", options(stop=[1]), 400, 'option "stop" must be of an array of strings'),
    *(
        Refusal(
            f"POST /api/{route}",
            tiny(format="xml"),
            400,
            'invalid format: "xml"; expected "json" or a valid JSON Schema object',
        )
        for route in ("generate", "chat")
    ),
    Refusal("POST /api/chat", tiny(top_logprobs=21, logprobs=True), 400, "top_logprobs must be between 0 and 20"),
    Refusal("POST /api/chat", tiny(top_logprobs=-1, logprobs=True), 400, "top_logprobs must be between 0 and 20"),
    Refusal(
        "POST /api/chat",
        tiny(think="hard"),
        400,
        'invalid think value: "hard" (must be "high", "medium", "low", "max", true, or false)',
    ),
    Refusal("POST /api/chat", tiny(keep_alive="5"), 400, 'time: missing unit in duration "5"'),
    Refusal("POST /api/chat", tiny(keep_alive="abc"), 400, 'time: invalid duration "abc"'),
    Refusal("POST /api/embed", tiny(keep_alive="abc"), 400, 'time: invalid duration "abc"'),
    Refusal("POST /api/chat", tiny(keep_alive=True), 400, re.compile("Unsupported type: .+")),
    Refusal("POST /api/chat", tiny(keep_alive=[1]), 400, re.compile("Unsupported type: .+")),
    *(
        Refusal(
            "POST /api/generate",
            tiny(raw=True, **{name: value}),
            400,
            "raw mode does not support template, system, or context",
        )
        for name, value in {"template": "x", "system": "x", "context": [1]}.items()
    ),
    Refusal("POST /api/embed", tiny(input=[1]), 400, "invalid input type"),
    Refusal("POST /api/embed", tiny(input={}), 400, "invalid input type"),
    Refusal(
        "POST /api/embed",
        tiny(input=" the sun" * 3000, truncate=False),
        400,
        "the input length exceeds the context length",
    ),
]

NEW = {"model": "new", "stream": False}
NO_REGISTRY = re.compile("the registry registry.ollama.ai cannot be reached: .+")
CREATE = [
    Refusal("POST /api/create", NEW, 400, "neither 'from' or 'files' was specified"),
    Refusal("POST /api/create", {**NEW, "files": {"a.gguf": "sha256:x"}}, 400, "invalid digest format"),
    Refusal("POST /api/create", {**NEW, "files": {"../a.gguf": NO_DIGEST}}, 400, "file path must be relative"),
    Refusal("POST /api/create", {**NEW, "files": {"a.gguf": NO_DIGEST}}, 400, f'blob "{NO_DIGEST}" does not exist'),
    Refusal("POST /api/create", {**NEW, "from": "tiny", "template": "{{ if"}, 400, re.compile("template error: .+")),
    Refusal("POST /api/pull", {"model": "nonesuch", "stream": False}, 502, NO_REGISTRY),
    Refusal("POST /api/blobs/sha256:x", b"x", 400, "invalid digest format"),
    Refusal(
        f"POST /api/blobs/{NO_DIGEST}",
        b"not that",
        400,
        re.compile(f'digest mismatch, expected "{NO_DIGEST}", got "sha256:[0-9a-f]{{64}}"'),
    ),
]

NO_SUCH_ROUTE = [
    Refusal("GET /api/nonesuch", None, 404, "404 page not found"),
    Refusal("POST /nonesuch", {}, 404, "404 page not found"),
    Refusal("GET /api/chat", None, 405, "405 method not allowed"),
    Refusal("POST /api/tags", {}, 405, "405 method not allowed"),
]

OPENAI = [
    Refusal("POST /v1/chat/completions", b"", 400, "missing request body"),
    Refusal("POST /v1/chat/completions", {"model": "tiny", "messages": []}, 400, "[] is too short - 'messages'"),
    Refusal("POST /v1/chat/completions", UNKNOWN, 404, "model 'nonesuch' not found"),
    Refusal("POST /v1/completions", UNKNOWN, 404, "model 'nonesuch' not found"),
    Refusal("POST /v1/embeddings", UNKNOWN, 404, re.compile("model .nonesuch. not found.*")),
    Refusal("POST /v1/embeddings", {"model": "tiny"}, 400, "invalid input"),
    Refusal("GET /v1/models/nonesuch", None, 404, "model 'nonesuch' not found"),
    Refusal("POST /v1/responses", UNKNOWN, 404, "model 'nonesuch' not found"),
]
OPENAI_TYPES = {400: "invalid_request_error", 404: "not_found_error"}

ANTHROPIC = [
    Refusal("POST /v1/messages", NAMELESS, 400, "model is required"),
    Refusal(
        "POST /v1/messages",
        {"model": "tiny", "messages": HELLO},
        400,
        "max_tokens is required and must be positive",
    ),
    Refusal("POST /v1/messages", {"model": "tiny", "max_tokens": 8}, 400, "messages is required"),
    Refusal("POST /v1/messages", UNKNOWN, 404, "model 'nonesuch' not found"),
]


@pytest.fixture
def http(shared_daemon: RunningDaemon) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=shared_daemon.url, timeout=DEADLINE, trust_env=False) as http:
        yield http


def named(refusals: list[Refusal]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("refusal", refusals, ids=str)


def answer(http: httpx.Client, refusal: Refusal) -> httpx.Response:
    method, path = refusal.request.split(" ", 1)
    content = refusal.body if isinstance(refusal.body, bytes) else None
    return http.request(method, path, content=content, json=refusal.body if content is None else None)


def check(refusal: Refusal, status: int, text: str) -> None:
    assert status == refusal.status, text
    assert refusal.pattern.fullmatch(text), f"{text!r} is not {refusal.text!r}"


@named(NO_BODY + NO_JSON + BAD_JSON + NO_MODEL + UNKNOWN_MODEL + CANNOT + BAD_FIELDS + CREATE)
def test_native_errors(http: httpx.Client, refusal: Refusal):
    response = answer(http, refusal)
    check(refusal, response.status_code, response.json()["error"])
    assert response.headers["content-type"] == "application/json; charset=utf-8"


def test_a_pull_that_fails_after_its_first_line_ends_in_an_error_line(http: httpx.Client):
    response = http.post("/api/pull", json={"model": "nonesuch"})
    first, last = (json.loads(line) for line in response.text.splitlines())
    assert (response.status_code, first) == (200, {"status": "pulling manifest"})
    assert NO_REGISTRY.fullmatch(last["error"])
    assert "status" not in last


@named(NO_SUCH_ROUTE)
def test_unknown_routes(http: httpx.Client, refusal: Refusal):
    response = answer(http, refusal)
    check(refusal, response.status_code, response.text)
    assert response.headers["content-type"].startswith("text/plain")


def what_happened(message: str) -> str:
    """The first sentence: in the /v1 dialects what to do next stands behind it."""
    return message.split(". ")[0]


@named(OPENAI)
def test_openai_errors(http: httpx.Client, refusal: Refusal):
    response = answer(http, refusal)
    error = response.json()["error"]
    check(refusal, response.status_code, what_happened(error["message"]))
    assert error["type"] == OPENAI_TYPES[refusal.status]


def test_a_packed_body_that_unpacks_to_too_much_is_refused(http: httpx.Client):
    content = gzip.compress(b" " * (20 * 2**20 + 1))
    response = http.post("/v1/chat/completions", content=content, headers={"content-encoding": "gzip"})
    assert (response.status_code, response.json()["error"]["type"]) == (400, "invalid_request_error")
    assert "larger than" in response.json()["error"]["message"]


@named(ANTHROPIC)
def test_anthropic_errors(http: httpx.Client, refusal: Refusal):
    response = answer(http, refusal)
    body = response.json()
    check(refusal, response.status_code, what_happened(body["error"]["message"]))
    assert (body["type"], body["error"]["type"]) == ("error", OPENAI_TYPES[refusal.status])
    assert body["request_id"].startswith("req_")


@pytest.mark.parametrize("header", [{"origin": "https://evil.example"}, {"host": "evil.example"}], ids=str)
def test_strangers_get_403_and_nothing_more(http: httpx.Client, header: dict[str, str]):
    response = http.post("/api/show", json={"model": "tiny"}, headers=header)
    assert (response.status_code, response.content) == (403, b"")


@pytest.mark.parametrize("route", ["chat", "generate"])
def test_an_embedding_model_does_not_talk(http: httpx.Client, tmp_path: Path, route: str):
    model = str(write_tiny_gguf(tmp_path / "embedder.gguf", pooling=1))
    response = http.post(f"/api/{route}", json={"model": model, "prompt": "x", "messages": HELLO})
    assert (response.status_code, response.json()["error"]) == (400, f'"{model}" does not support {route}')


def test_an_engine_that_does_not_start_is_a_load_failure(start_daemon, tiny: Path, tmp_path: Path):
    engine = install(tmp_path / "engine", exit_at_start=1, log_at_start="no memory left")
    with httpx.Client(base_url=start_daemon(engine_path=str(engine)).url, timeout=DEADLINE, trust_env=False) as http:
        response = http.post("/api/chat", json={"model": str(tiny), "messages": HELLO})
    assert response.status_code == 500
    assert "no memory left" in response.json()["error"]


def test_an_engine_that_dies_before_its_first_token_is_named_with_its_signal(start_daemon, tiny: Path, tmp_path: Path):
    engine = install(tmp_path / "engine", die_at_request=True)
    with httpx.Client(base_url=start_daemon(engine_path=str(engine)).url, timeout=DEADLINE, trust_env=False) as http:
        response = http.post("/api/chat", json={"model": str(tiny), "messages": HELLO})
    # Ollama: "model runner has unexpectedly stopped, this may be due to resource limitations or an internal error, …"
    assert (response.status_code, response.json()["error"]) == (500, "the engine died while answering: SIGKILL")
