"""What stands in for a chat template: a plain frame for base models, and ChatML where engines assume it. Pure."""

import re

PROMPT_ONLY = "{{ .Prompt }}"
"""Ollama's template of a model that continues its prompt."""

FRAME = (
    "{% for message in messages %}"
    "{% if message.role == 'system' %}{{ message.content }}{{ '\\n\\n' }}{% else %}"
    "{% if message.role == 'assistant' %}Assistant{% elif message.role == 'tool' %}Tool{% else %}User{% endif %}: "
    "{{ message.content or '' }}"
    "{% for call in message.tool_calls or [] %}{{ call | tojson }}{% endfor %}{{ '\\n' }}"
    "{% endif %}{% endfor %}{% if add_generation_prompt %}Assistant:{% endif %}"
)
"""A conversation as a text that a base model continues."""

FRAME_STOPS = ("\nUser:", "\nAssistant:", "\nTool:")
CHATML_STOPS = ("<|im_start|>", "<|im_end|>")

_PROMPT_ONLY = re.compile(r"\s*\{\{-?\s*\.Prompt\s*-?\}\}\s*(\{\{-?\s*\.Response\s*-?\}\}\s*)?")


def is_prompt_only(template: str) -> bool:
    """Whether a Go template is nothing but the prompt, as Ollama's library has it for base models.

    >>> is_prompt_only("{{- .Prompt }}"), is_prompt_only("[INST] {{ .Prompt }} [/INST]")
    (True, False)
    """
    return _PROMPT_ONLY.fullmatch(template) is not None
