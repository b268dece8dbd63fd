"""Chat templates: of a request, of a model, in Go and in Jinja. Proof is a prompt rendered by hand and sent raw."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from oprel.core.models.manifests import Manifest
from tests.fixtures.daemons import daemon_with

EXACT = {"temperature": 0, "num_predict": 6}

GO = "{{ if .System }}({{ .System }}) {{ end }}{{ .Prompt }} = {{ .Response }}!"
GO_BY_MESSAGES = "{{ range .Messages }}<{{ .Role }}> {{ .Content }}{{ end }} ="
JINJA = "{% for message in messages %}[{{ message['role'] }}] {{ message['content'] }}\n{% endfor %}>"


@pytest.fixture(scope="module")
def http(tiny: Path) -> Iterator[httpx.Client]:
    models = (
        Manifest(name="tiny", weights=tiny),
        Manifest(name="in-go", weights=tiny, template=GO),
        Manifest(name="in-jinja", weights=tiny, template=JINJA),
        Manifest(name="odd", weights=tiny, template="{{ printf .Prompt }}"),
    )
    with daemon_with(*models) as http:
        yield http


def generate(http: httpx.Client, prompt: str, **fields: object) -> httpx.Response:
    body = {"model": "tiny", "prompt": prompt, "stream": False, "options": EXACT, **fields}
    return http.post("/api/generate", json=body)


def answer(http: httpx.Client, prompt: str, **fields: object) -> tuple[str, int]:
    """What is answered, and how long the prompt was."""
    reply: Any = generate(http, prompt, **fields).raise_for_status().json()
    return reply["response"], reply["prompt_eval_count"]


def chat(http: httpx.Client, model: str, *messages: tuple[str, str]) -> tuple[str, int]:
    told = [{"role": role, "content": text} for role, text in messages]
    body = {"model": model, "messages": told, "stream": False, "options": EXACT}
    reply = http.post("/api/chat", json=body).raise_for_status().json()
    return reply["message"]["content"], reply["prompt_eval_count"]


@pytest.mark.parametrize(
    ("template", "rendered"),
    [
        (GO, "(be warm) the sun = "),
        (GO_BY_MESSAGES, "<system> be warm<user> the sun ="),
        (JINJA, "[system] be warm\n[user] the sun\n>"),
    ],
)
def test_a_request_brings_its_own_template(http: httpx.Client, template: str, rendered: str):
    templated = answer(http, "the sun", system="be warm", template=template)
    assert templated == answer(http, rendered, raw=True)
    assert templated != answer(http, "the sun", system="be warm")


@pytest.mark.parametrize(
    ("model", "rendered"),
    [("in-go", "(be warm) the sun = "), ("in-jinja", "[system] be warm\n[user] the sun\n>")],
)
def test_a_model_has_its_own_template(http: httpx.Client, model: str, rendered: str):
    by_hand = answer(http, rendered, raw=True)
    assert chat(http, model, ("system", "be warm"), ("user", "the sun")) == by_hand
    assert answer(http, "the sun", system="be warm", model=model) == by_hand


def test_earlier_turns_go_through_a_model_s_go_template(http: httpx.Client):
    turns = (("user", "the sun"), ("assistant", "sinks"), ("user", "the moon"))
    assert chat(http, "in-go", *turns) == answer(http, "the sun = sinks!the moon = ", raw=True)


def test_a_request_s_template_goes_before_the_model_s(http: httpx.Client):
    assert answer(http, "the sun", model="in-go", template="{{ .Prompt }} ?") == answer(http, "the sun ?", raw=True)


def test_a_template_that_cannot_be_translated_leaves_the_model_its_own(http: httpx.Client):
    assert answer(http, "the sun", model="odd") == answer(http, "the sun")


@pytest.mark.parametrize(
    ("template", "complaint"),
    [
        ("{{ .Prompt", "a {{ is never closed"),
        ("{{ if .Prompt }}x", "a block is never ended"),
        ("{{ .Nonesuch }}", "which cannot be translated"),
        ("{% for message in messages %}x", "the template cannot be used"),
        ("{{ messages[7].content }}", "the template cannot be used"),
        ("{{ messages[0].content % 5 }}", "the template cannot be used"),
    ],
)
def test_a_wrong_template_is_refused(http: httpx.Client, template: str, complaint: str):
    refused = generate(http, "the sun", template=template)
    assert refused.status_code == 400
    assert complaint in refused.json()["error"]


def test_raw_takes_no_template(http: httpx.Client):
    refused = generate(http, "the sun", raw=True, template=GO)
    assert refused.status_code == 400
    assert refused.json()["error"] == "raw mode does not support template, system, or context"


def test_create_gives_a_model_a_template(http: httpx.Client):
    made = {"model": "made", "from": "tiny", "template": GO, "stream": False}
    assert http.post("/api/create", json=made).json()["status"] == "success"
    assert http.post("/api/show", json={"model": "made"}).json()["template"] == GO
    assert answer(http, "the sun", model="made") == answer(http, "the sun = ", raw=True)
