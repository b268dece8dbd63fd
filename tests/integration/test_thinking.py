"""Thinking, and answers that break their template's form, with the real engine and templates of many kinds."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from oprel.core.models.manifests import Manifest
from oprel.formats.templates.template_names import names_of
from oprel.formats.templates.thinking import EFFORTS
from oprel.server.api.common.streaming import UNPARSED
from tests.fixtures.daemons import daemon_with
from tests.fixtures.gguf_factory import WORDS, write_tiny_gguf
from tests.fixtures.thinking_templates import TEMPLATES, Think, source

SOME = ("deepseek-v3.1", "gpt-oss", "hy3", "nemotron-nano-2", "seed-oss")
ALL = [name if name in SOME else pytest.param(name, marks=pytest.mark.slow) for name in TEMPLATES]
HELLO = [{"role": "user", "content": "hi"}]
CALLS = (
    "{% for t in tools or [] %}{{ t.function.name }}{% endfor %}{% for m in messages %}{{ m.role }}: {{ m.content }}"
    "{% for c in m.tool_calls or [] %}{% for name, value in c.function.arguments.items() %}{{ name }}={{ value }}"
    "{% endfor %}{% endfor %}<|im_end|>{% endfor %}"
)
TOOL = {"type": "object", "properties": {"city": {"type": "string"}}}
CUT = '{"city": "Os'


@pytest.fixture(scope="module")
def http(tmp_path_factory: pytest.TempPathFactory, tiny: Path) -> Iterator[httpx.Client]:
    """Two models have their templates in the header, the others in their manifests."""
    folder, in_header = tmp_path_factory.mktemp("models"), ("gpt-oss", "seed-oss")
    models = [
        Manifest(name=name, weights=write_tiny_gguf(folder / f"{name}.gguf", template=source(name)))
        for name in in_header
    ]
    models += [Manifest(name=name, weights=tiny, template=source(name)) for name in TEMPLATES if name not in in_header]
    with daemon_with(*models, Manifest(name="calls", weights=tiny, template=CALLS)) as http:
        yield http


def chat(http: httpx.Client, model: str, **fields: object) -> Any:
    body = {"model": model, "messages": HELLO, "stream": False, **fields}
    return http.post("/api/chat", json=body).raise_for_status().json()


@pytest.mark.parametrize("name", ALL)
def test_the_engine_renders_what_is_requested(http: httpx.Client, name: str):
    def prompt(think: Think) -> str:
        text: str = chat(http, name, think=think, _debug_render_only=True)["_debug_info"]["rendered_template"]
        return text

    assert "thinking" in http.post("/api/show", json={"model": name}).json()["capabilities"]
    wrong = {think: prompt(think) for think, text in TEMPLATES[name].prompts.items() if text not in prompt(think)}
    assert wrong == {}


@pytest.mark.parametrize("name", ALL)
def test_the_table_agrees_with_the_engine_s_own_capabilities(http: httpx.Client, name: str):
    chat(http, name, options={"num_predict": 1})
    engine = next(model for model in http.get("/models").json()["models"] if model["name"] == f"{name}:latest")
    with httpx.Client(transport=httpx.HTTPTransport(uds=engine["address"].removeprefix("unix:"))) as direct:
        capabilities = direct.get("http://engine/props").json()["chat_template_caps"]
    levels = {*EFFORTS[:2]} & names_of(source(name)).variables  # those of which the engine knows
    assert capabilities["supports_reasoning_effort"] is bool(levels)


def answers(http: httpx.Client, stream: bool) -> list[httpx.Response]:
    options = {"num_predict": 20, "seed": 3}
    usual = {"model": "gpt-oss", "stream": stream, "options": options}
    bodies: dict[str, dict[str, Any]] = {
        "/api/chat": {"messages": HELLO},
        "/api/generate": {"prompt": "hi"},
        "/generate": {"prompt": "hi"},
        "/v1/chat/completions": {"messages": HELLO},
        "/v1/completions": {"prompt": "hi"},
        "/v1/responses": {"input": "hi"},
        "/v1/messages": {"messages": HELLO, "max_tokens": 20},
    }
    return [http.post(path, json=usual | body) for path, body in bodies.items()]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_an_answer_that_breaks_its_form_comes_as_text(http: httpx.Client, stream: bool):
    for response in answers(http, stream):
        assert response.status_code == 200, (response.url, response.text)
        assert "unparsed" in response.text or response.headers[UNPARSED] == "true", response.url
        assert re.search(rf" ({'|'.join(re.escape(word) for word in WORDS)})\b", response.text), response.text


def test_it_is_the_same_text_streamed_and_whole(http: httpx.Client):
    usual = {"options": {"num_predict": 20, "seed": 3}}
    whole = chat(http, "gpt-oss", **usual)
    body = {"model": "gpt-oss", "messages": HELLO, **usual}
    lines = [json.loads(line) for line in http.post("/api/chat", json=body).text.splitlines()]
    assert whole["message"]["content"] == "".join(line["message"]["content"] for line in lines) != ""
    assert whole["unparsed"] == lines[-1]["unparsed"]


def test_a_call_that_was_cut_is_sent_back(http: httpx.Client):
    function = {"name": "weather", "parameters": TOOL}
    call = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": CUT}}
    bodies: dict[str, dict[str, Any]] = {
        "/v1/chat/completions": {
            "messages": [*HELLO, {"role": "assistant", "tool_calls": [call]}, *HELLO],
            "tools": [{"type": "function", "function": function}],
        },
        "/v1/responses": {
            "input": [*HELLO, {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": CUT}, *HELLO],
            "tools": [{"type": "function", **function}],
        },
        "/v1/messages": {
            "messages": [
                *HELLO,
                {"role": "assistant", "content": [{"type": "tool_use", "id": "c1", "name": "weather", "input": CUT}]},
                *HELLO,
            ],
            "tools": [{"name": "weather", "input_schema": TOOL}],
            "max_tokens": 4,
        },
    }
    for path, body in bodies.items():
        response = http.post(path, json={"model": "calls", "options": {"num_predict": 4}, **body})
        assert response.status_code == 200, (path, response.text)
