"""A conversation as a text that a base model continues."""

import jinja2
import pytest

from oprel.formats.templates.plain_frame import FRAME, is_prompt_only

CALL = {"type": "function", "function": {"name": "add", "arguments": {"x": 1}}}


def rendered(*messages: dict[str, object]) -> str:
    return jinja2.Environment().from_string(FRAME).render(messages=messages, add_generation_prompt=True)


def test_each_message_has_its_speaker_and_the_model_speaks_next() -> None:
    assert (
        rendered(
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": "Hello"},
            {"role": "user", "content": "Two\nlines"},
        )
        == "Be brief.\n\nUser: Hi\nAssistant: Hello\nUser: Two\nlines\nAssistant:"
    )


def test_calls_and_their_results_stay() -> None:
    text = rendered(
        {"role": "user", "content": "1+1?"},
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "content": "2"},
    )
    assert '"arguments": {"x": 1}' in text
    assert text.endswith("Tool: 2\nAssistant:")


@pytest.mark.parametrize(
    "template", ["{{ .Prompt }}", "{{.Prompt}}\n", " {{- .Prompt -}} ", "{{ .Prompt }}{{ .Response }}"]
)
def test_a_template_of_nothing_but_the_prompt(template: str) -> None:
    assert is_prompt_only(template)


@pytest.mark.parametrize("template", ["", "{{ .System }} {{ .Prompt }}", "{{ .Prompt }} ?", "{{ prompt }}"])
def test_other_templates(template: str) -> None:
    assert not is_prompt_only(template)
