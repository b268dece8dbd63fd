"""Templates that come with a request."""

import pytest

from oprel.core.completion import PromptMessage
from oprel.core.exceptions import UnsupportedError, ValidationError
from oprel.formats.templates.request_template import render, rendered

TURN = [{"role": "system", "content": "Be warm."}, {"role": "user", "content": "hello"}]


@pytest.mark.parametrize(
    ("template", "prompt"),
    [
        ("{{ .System }} {{ .Prompt }} ->", "Be warm. hello ->"),
        ("{{ .Prompt }}{{ .Response }}<end>", "hello"),
        ("{{- range .Messages }}{{ .Role }}: {{ .Content }}\n{{ end }}", "system: Be warm.\nuser: hello\n"),
        ("{% for m in messages %}{{ m.role[0] }}={{ m.content }};{% endfor %}", "s=Be warm.;u=hello;"),
        ("{{ messages | length }}{% if add_generation_prompt %}>{% endif %}", "2>"),
    ],
)
def test_a_template_makes_a_prompt_of_messages(template: str, prompt: str):
    assert render(template, TURN) == prompt


def test_lines_of_tags_leave_no_lines_behind():
    template = "{% for m in messages %}\n  {% if m.content %}\n{{ m.content }}\n  {% endif %}\n{% endfor %}\n"
    assert render(template, TURN) == "Be warm.\nhello\n"


def test_text_of_a_message_is_never_a_template():
    asked = [{"role": "user", "content": "{{ 1 + 1 }} {% if %} {{ .Prompt }}"}]
    assert render("{{ .Prompt }}", asked) == asked[0]["content"]
    assert render("{{ messages[0].content }}", asked) == asked[0]["content"]


def test_a_prompt_s_markup_is_not_escaped():
    assert render("{{ messages[0].content }}", [{"role": "user", "content": "<b>'&'</b>"}]) == "<b>'&'</b>"


@pytest.mark.parametrize(
    "template",
    [
        "{{ .Prompt",
        "{{ end }}",
        "{% for m in messages %}",
        "{{ messages[9].content }}",
        "{{ messages | nonesuch }}",
        "{{ messages[0].content % 5 }}",
        "{{ messages[0].content | batch }}",
        "{{ messages }}{{ 1 / 0 }}",
        "{{ messages }}{% include 'other' %}",
        "{{ messages }}{% for number in range(10 ** 9) %}{% endfor %}",
        "{% macro again() %}{{ again() }}{% endmacro %}{{ messages }}{{ again() }}",
    ],
)
def test_a_wrong_template_is_refused(template: str):
    with pytest.raises(ValidationError, match="template"):
        render(template, TURN)


def test_a_template_beyond_translation_is_named():
    with pytest.raises(UnsupportedError, match=r"\{\{ printf …"):
        render('{{ printf "%s" .Prompt }}', TURN)


@pytest.mark.parametrize(
    "template", ["{{ messages.__class__.__mro__ }}", "{{ messages.append(1) }}", "{{ messages[0].update(role='x') }}"]
)
def test_a_template_reaches_nothing_but_the_messages(template: str):
    with pytest.raises(ValidationError, match="unsafe"):
        render(template, TURN)


MESSAGES = [PromptMessage("user", "x")]
RANGES = "{{ range $.Messages }}" * 12 + "{{ .Content }}" + "{{ end }}" * 12


async def test_a_child_renders_what_a_request_sends():
    assert await rendered("{{ .Prompt }}\udc80!", [PromptMessage("user", "hello")]) == "hello\udc80!"
    with pytest.raises(ValidationError, match="nonesuch"):
        await rendered("{{ messages | nonesuch }}", MESSAGES)
    with pytest.raises(UnsupportedError, match="printf"):
        await rendered('{{ printf "%s" .Prompt }}', MESSAGES)


@pytest.mark.parametrize(
    ("template", "messages"),
    [
        ("{% set x = 2 ** (10 ** 9) %}{{ messages }}", MESSAGES),
        ("{% set x = 'a' * (2 * 10 ** 9) %}{{ messages }}", MESSAGES),
        ("{{ messages | join('a' * 10 ** 9) }}{{ messages[0].content.center(10 ** 9) }}", MESSAGES),
        ("{% for a in 'x' * 99999 %}{% for b in 'x' * 99999 %}{% endfor %}{% endfor %}{{ messages }}", MESSAGES),
        (RANGES, MESSAGES * 10),
    ],
    ids=["power", "product", "padding", "loops", "ranges"],
)
async def test_a_template_has_a_budget(template: str, messages: list[PromptMessage]):
    with pytest.raises(ValidationError, match="more than 2 s or 64 MiB"):
        await rendered(template, messages)


async def test_a_template_of_megabytes_is_not_even_tried():
    with pytest.raises(ValidationError, match="more than 1,048,576 characters"):
        await rendered("{{ x }}" * 150_000, MESSAGES)
