"""Ollama's Go templates as Jinja: what a model is shown must be what Ollama would show it."""

from collections.abc import Mapping, Sequence
from typing import Any

import jinja2
import pytest

from oprel.core.exceptions import UnsupportedError, ValidationError
from oprel.formats.templates.go_template import to_jinja

QUESTION: list[Mapping[str, Any]] = [{"role": "user", "content": "What is Go?"}]
SYSTEM = [{"role": "system", "content": "Be brief."}, *QUESTION]
CONVERSATION = [
    *SYSTEM,
    {"role": "assistant", "content": "A game."},
    {"role": "user", "content": "And Rust?"},
]


def rendered(template: str, messages: Sequence[Mapping[str, Any]], **given: object) -> str:
    # An engine's settings, under which white space beside tags goes away.
    environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True, undefined=jinja2.ChainableUndefined)
    return environment.from_string(to_jinja(template)).render(messages=messages, add_generation_prompt=True, **given)


CHATML = """{{- if .System }}<|im_start|>system
{{ .System }}<|im_end|>
{{ end }}{{ if .Prompt }}<|im_start|>user
{{ .Prompt }}<|im_end|>
{{ end }}<|im_start|>assistant
{{ .Response }}<|im_end|>
"""


def test_chatml():
    assert rendered(CHATML, QUESTION) == "<|im_start|>user\nWhat is Go?<|im_end|>\n<|im_start|>assistant\n"
    assert rendered(CHATML, CONVERSATION) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nWhat is Go?<|im_end|>\n"
        "<|im_start|>assistant\nA game.<|im_end|>\n<|im_start|>user\nAnd Rust?<|im_end|>\n<|im_start|>assistant\n"
    )


LLAMA2 = "[INST] <<SYS>>{{ .System }}<</SYS>>\n\n{{ .Prompt }} [/INST] {{ .Response }}"


def test_llama2_without_anything_behind_the_response():
    assert rendered(LLAMA2, SYSTEM) == "[INST] <<SYS>>Be brief.<</SYS>>\n\nWhat is Go? [/INST] "
    assert rendered(LLAMA2, CONVERSATION) == (
        "[INST] <<SYS>>Be brief.<</SYS>>\n\nWhat is Go? [/INST] A game.[INST] <<SYS>><</SYS>>\n\nAnd Rust? [/INST] "
    )


ALPACA = """{{ if .System }}{{ .System }}

{{ end }}{{ if .Prompt }}### Instruction:
{{ .Prompt }}

{{ end }}### Response:
{{ .Response }}

"""


def test_alpaca():
    assert rendered(ALPACA, CONVERSATION) == (
        "Be brief.\n\n### Instruction:\nWhat is Go?\n\n### Response:\nA game.\n\n"
        "### Instruction:\nAnd Rust?\n\n### Response:\n"
    )


LLAMA3 = """{{- if .System }}<|start_header_id|>system<|end_header_id|>

{{ .System }}<|eot_id|>
{{- end }}
{{- range $i, $_ := .Messages }}
{{- $last := eq (len (slice $.Messages $i)) 1 }}
{{- if eq .Role "user" }}<|start_header_id|>user<|end_header_id|>

{{ .Content }}<|eot_id|>{{ if $last }}<|start_header_id|>assistant<|end_header_id|>

{{ end }}
{{- else if eq .Role "assistant" }}<|start_header_id|>assistant<|end_header_id|>

{{ .Content }}{{ if not $last }}<|eot_id|>{{ end }}
{{- end }}
{{- end }}"""


def test_llama3():
    assert rendered(LLAMA3, CONVERSATION) == (
        "<|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nWhat is Go?<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\nA game.<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nAnd Rust?<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n"
    )


def test_llama3_goes_on_with_an_answer_that_was_begun():
    begun = [*QUESTION, {"role": "assistant", "content": "A ga"}]
    assert rendered(LLAMA3, begun).endswith("<|start_header_id|>assistant<|end_header_id|>\n\nA ga")


TOOLS = """
{{- if .Suffix }}<|fim_prefix|>{{ .Prompt }}<|fim_suffix|>{{ .Suffix }}<|fim_middle|>
{{- else if .Messages }}
{{- if or .System .Tools }}<|im_start|>system
{{ .System }}
{{- if .Tools }}
# Tools
{{- range .Tools }}
{"type": "function", "function": {{ .Function }}}
{{- end }}
{{- end }}<|im_end|>
{{ end }}
{{- range $i, $m := .Messages }}
{{- if and (ne .Role "system") (or .Content .ToolCalls) }}<|im_start|>{{ $m.Role }}
{{ if .Content }}{{ .Content }}
{{- else }}<tool_call>
{{ range .ToolCalls }}{"name": "{{ .Function.Name }}", "arguments": {{ .Function.Arguments }}}{{ end }}
</tool_call>{{ end }}<|im_end|>
{{ end }}
{{- end }}<|im_start|>assistant
{{ end }}"""


def test_tools_and_their_calls_are_json():
    function = {"name": "now", "parameters": {"type": "object"}}
    called = {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"function": {"name": "now", "arguments": {"a": 1}}}],
    }
    text = rendered(TOOLS, [*QUESTION, called], tools=[{"type": "function", "function": function}])
    assert text == (
        "<|im_start|>system\n\n# Tools\n"
        '{"type": "function", "function": {"name": "now", "parameters": {"type": "object"}}}<|im_end|>\n'
        "<|im_start|>user\nWhat is Go?<|im_end|>\n"
        '<|im_start|>assistant\n<tool_call>\n{"name": "now", "arguments": {"a": 1}}\n</tool_call><|im_end|>\n'
        "<|im_start|>assistant\n"
    )


def test_arguments_that_are_a_text_already_are_not_quoted_again():
    called = {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"function": {"name": "now", "arguments": '{"a": 1}'}}],
    }
    assert '"arguments": {"a": 1}}' in rendered(TOOLS, [*QUESTION, called])


def test_several_system_messages_are_one_text():
    two = [{"role": "system", "content": "One."}, {"role": "system", "content": "Two."}, *QUESTION]
    assert rendered(LLAMA3, two).startswith("<|start_header_id|>system<|end_header_id|>\n\nOne.\n\nTwo.<|eot_id|>")
    assert rendered(LLAMA2, two).startswith("[INST] <<SYS>>One.\n\nTwo.<</SYS>>")


def test_a_system_message_in_mid_conversation_stands_in_its_turn():
    late = [*QUESTION, {"role": "assistant", "content": "A game."}, SYSTEM[0], {"role": "user", "content": "And Rust?"}]
    assert rendered(ALPACA, late) == (
        "### Instruction:\nWhat is Go?\n\n### Response:\nA game.\n\n"
        "Be brief.\n\n### Instruction:\nAnd Rust?\n\n### Response:\n"
    )


def test_a_template_without_a_response_gets_it_at_its_end():
    assert rendered("Q: {{ .Prompt }} A: ", CONVERSATION) == "Q: What is Go? A: A game.Q: And Rust? A: "


def test_text_is_shown_as_it_is():
    text = """{{ "\\"{" }} {{ `\\d{` }} \\n 'x' "y" {"a": {"b": {}}} é\t{{ .Prompt }}"""
    assert rendered(text, QUESTION) == """"{ \\d{ \\n 'x' "y" {"a": {"b": {}}} é\tWhat is Go?"""


def test_words_of_the_translation_may_be_words_of_the_template():
    assert rendered("OPENING TURN {{ .Prompt }}", QUESTION) == "OPENING TURN What is Go?"


def test_comments_are_left_out():
    assert rendered("a {{- /* note */ -}} b{{/* more */}}{{ .Prompt }}", QUESTION) == "abWhat is Go?"


EXPRESSIONS = {
    '{{ if eq (index .Messages 0).Role "user" "tool" }}yes{{ end }}': "yes",
    "{{ $n := len .Messages }}{{ if and (gt $n 0) (le $n 1) (lt 0 $n) (ge $n 1) }}{{ $n }}{{ end }}": "1",
    "{{ range .Messages }}{{ .Role | json }}{{ else }}none{{ end }}": '"user"',
    "{{if(eq 1 1)}}{{range\n.Messages}}{{.Role}}{{end}}{{end}}": "user",
    "{{ range $m := .Messages }}{{ $m.Content }}{{ end }}": "What is Go?",
    "{{ range slice .Messages 1 }}x{{ else }}none{{ end }}": "none",
    "{{ if and .IsThinkSet (not .Think) }}/no_think{{ end }}{{ range .Messages }}{{ end }}": "/no_think",
    "{{ range .Messages }}{{ if .Thinking }}{{ .Thinking }}{{ else if true }}-{{ else }}+{{ end }}{{ end }}": "-",
    "{{ with .Messages }}": None,
    '{{ printf "%s" .System }}{{ .Messages }}': None,
    "{{ $x := .Messages }}{{ $x = 1 }}": None,
    "{{ currentDate }}{{ range .Messages }}{{ end }}": None,
    "{{ range .Messages }}{{ .Images }}{{ end }}": None,
    "{{ range .System }}{{ end }}{{ .Messages }}": None,
    '{{ template "x" . }}': None,
    "{{ if .Messages }}{{ break }}{{ end }}": None,
}


@pytest.mark.parametrize("template", [template for template, expected in EXPRESSIONS.items() if expected])
def test_expressions_mean_what_they_do_in_go(template: str):
    assert rendered(template, QUESTION, enable_thinking=False) == EXPRESSIONS[template]


def test_a_level_of_thinking_is_the_engines_variable():
    template = "Reasoning: {{ .ThinkLevel }}{{ range .Messages }}{{ end }}"
    assert rendered(template, QUESTION, reasoning_effort="low") == "Reasoning: low"


@pytest.mark.parametrize("template", [template for template, expected in EXPRESSIONS.items() if expected is None])
def test_what_cannot_be_translated_is_named(template: str):
    with pytest.raises(UnsupportedError, match="the template has {{ .* }}, which cannot be translated"):
        to_jinja(template)


@pytest.mark.parametrize(
    "template",
    [
        "{{ .Prompt",
        "{{ if .Prompt }}",
        "{{ .Prompt }}{{ end }}",
        "{{ else }}",
        "{{ if .Prompt }}{{ else }}{{ else }}{{ end }}",
        "{{ $x }}",
        "{{ (len .Messages }}",
        "{{ }}",
        "{{ if .Prompt }}" * 5000 + "{{ end }}" * 5000,
    ],
)
def test_a_template_that_is_wrong_is_refused(template: str):
    with pytest.raises(ValidationError, match="template error"):
        to_jinja(template)


@pytest.mark.parametrize(
    "template", ["{% for m in messages %}{{ m.content }}{% endfor %}", "{{ messages[0].content }}"]
)
def test_jinja_is_taken_as_it_is(template: str):
    assert to_jinja(template) == template
