"""A model without a chat template: it continues texts, and its chats get a plain frame."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from oprel.core.models.manifests import Manifest
from tests.fixtures.daemons import daemon_with
from tests.fixtures.gguf_factory import write_tiny_gguf

EXACT = {"temperature": 0, "num_predict": 6}


@pytest.fixture(scope="module")
def http(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    base = write_tiny_gguf(tmp_path_factory.mktemp("models") / "base.gguf", template="")
    models = (
        Manifest(name="base", weights=base),
        Manifest(name="with-system", weights=base, system="the sea"),
        Manifest(name="with-messages", weights=base, messages=(("user", "hi"), ("assistant", "ho"))),
        Manifest(name="prompt-only", weights=tiny, template="{{ .Prompt }}"),
    )
    with daemon_with(*models) as http:
        yield http


def post(http: httpx.Client, path: str, model: str, **fields: object) -> Any:
    return http.post(path, json={"model": model, "stream": False, **fields}).raise_for_status().json()


def prompt(http: httpx.Client, path: str, model: str, **fields: object) -> str:
    """What the model gets."""
    return str(post(http, path, model, _debug_render_only=True, **fields)["_debug_info"]["rendered_template"])


@pytest.mark.parametrize(
    ("model", "fields", "rendered"),
    [
        ("base", {}, "the sun"),
        ("prompt-only", {}, "the sun"),
        ("base", {"system": "the moon"}, "the moon\n\nthe sun"),
        ("with-system", {}, "the sea\n\nthe sun"),
        ("with-system", {"system": "the moon"}, "the moon\n\nthe sun"),
        ("with-messages", {}, "User: hi\nAssistant: ho\nUser: the sun\nAssistant:"),
        ("base", {"template": "[{{ .Prompt }}]"}, "[the sun]"),
    ],
)
def test_generate_continues_the_prompt(http: httpx.Client, model: str, fields: dict[str, str], rendered: str) -> None:
    assert prompt(http, "/api/generate", model, prompt="the sun", **fields) == rendered


def test_generate_is_what_raw_is(http: httpx.Client) -> None:
    plain, raw = (
        post(http, "/api/generate", "base", prompt="the sun", options=EXACT, raw=raw) for raw in (False, True)
    )
    assert plain["response"] == raw["response"] != ""
    assert plain["base_model"] is True


def test_a_text_may_be_continued_again(http: httpx.Client) -> None:
    first = post(http, "/api/generate", "base", prompt="the sun", options=EXACT)
    second = post(http, "/api/generate", "base", prompt=" and", context=first["context"], options=EXACT)
    whole = post(http, "/api/generate", "base", prompt=f"the sun{first['response']} and", options=EXACT)
    assert second["response"] == whole["response"]
    assert second["prompt_eval_count"] == whole["prompt_eval_count"]


def test_v1_continues_the_prompt_too(http: httpx.Client) -> None:
    plain, raw = (
        post(http, "/v1/completions", "base", prompt="the sun", max_tokens=6, temperature=0, raw=raw)["choices"][0]
        for raw in (False, True)
    )
    assert plain["text"] == raw["text"] != ""


def test_a_chat_is_framed(http: httpx.Client) -> None:
    messages = [{"role": "system", "content": "be warm"}, {"role": "user", "content": "the sun"}]
    framed = prompt(http, "/api/chat", "base", messages=messages)
    assert framed == "be warm\n\nUser: the sun\nAssistant:"
    by_chat = post(http, "/api/chat", "base", messages=messages, options=EXACT)
    by_hand = post(http, "/api/generate", "base", prompt=framed, options=EXACT)
    assert by_chat["message"]["content"] == by_hand["response"] != ""


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 6}),
        ("/v1/responses", {"input": "hi", "max_output_tokens": 6}),
        ("/v1/messages", {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 6}),
        ("/generate", {"prompt": "hi", "options": {"num_predict": 6}}),
    ],
)
def test_every_dialect_chats_with_it(http: httpx.Client, path: str, fields: dict[str, Any]) -> None:
    assert "error" not in {name for name, value in post(http, path, "base", **fields).items() if value}


def test_show_says_so(http: httpx.Client) -> None:
    shown = post(http, "/api/show", "base")
    assert shown["template"] == "{{ .Prompt }}" and "parameters" not in shown
    assert "continues your text" in shown["notes"][0]


def test_run_says_so_on_standard_error(http: httpx.Client, tmp_path: Path) -> None:
    command = [sys.executable, "-P", "-m", "oprel", "run", "base", "the sun", "--option", "num_predict=6"]
    done = subprocess.run([*command, f"--host={http.base_url}"], capture_output=True, text=True, check=True)
    assert "base model: continues your text" in done.stderr.splitlines()
    assert "base model" not in done.stdout
