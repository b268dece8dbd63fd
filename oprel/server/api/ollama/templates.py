"""Prompt templates that come with a request. Engines apply the templates of their models."""

from collections.abc import Sequence

from oprel.core.completion import PromptMessage
from oprel.core.exceptions import ValidationError
from oprel.formats.templates.go_template import to_jinja

# Errors, besides Jinja's own, of a template that misuses its values.
MISUSE = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)


def render(template: str, messages: Sequence[PromptMessage]) -> str:
    """The prompt that `template`, in Ollama's Go form or in Jinja, makes from the messages.

    Raises ValidationError for a template with errors, UnsupportedError for one that cannot be translated.
    """
    import jinja2  # imported late: few requests have a template
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    plain = [{"role": message.role, "content": message.content} for message in messages]
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    environment.globals = {"namespace": environment.globals["namespace"]}
    try:
        return environment.from_string(to_jinja(template)).render(messages=plain, add_generation_prompt=True)
    except (jinja2.TemplateError, *MISUSE) as error:
        raise ValidationError(f"the template cannot be used: {error}") from error
