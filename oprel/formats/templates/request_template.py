"""Prompt templates that come with a request. Engines apply the templates of their models."""

import json
from collections.abc import Sequence

from oprel.core.completion import PromptMessage
from oprel.core.exceptions import UnsupportedError, ValidationError
from oprel.formats.templates import bounded_child
from oprel.formats.templates.go_template import to_jinja

# Errors, besides Jinja's own, of a template that misuses its values.
MISUSE = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)

SECONDS = 2.0  # of CPU time; a real template takes a millisecond
MEMORY = 64 << 20  # bytes
LONGEST = 1 << 20  # characters of a template; the longest real ones have some ten thousand


async def rendered(template: str, messages: Sequence[PromptMessage]) -> str:
    """The prompt that `template` makes from the messages, rendered in a child process.

    A short template may multiply a text until memory is full, or loop for years; so it has a budget.

    Raises ValidationError for a template with errors or beyond its budget, UnsupportedError for one that cannot be
    translated.
    """
    if len(template) > LONGEST:
        raise ValidationError(f"the template has more than {LONGEST:,} characters", "Send a simpler template.")
    plain = [{"role": message.role, "content": message.content} for message in messages]
    payload = json.dumps({"template": template, "messages": plain}).encode()
    try:
        done = json.loads(await bounded_child.run(__name__, payload, seconds=SECONDS, memory=MEMORY))
    except bounded_child.OutOfBudgetError:
        message = f"the template takes more than {SECONDS:.0f} s or {MEMORY >> 20} MiB to render"
        raise ValidationError(message, "Send a simpler template.") from None
    match done:
        case {"prompt": str(prompt)}:
            return prompt
        case {"unsupported": message}:
            raise UnsupportedError(message)
    raise ValidationError(done["refused"])


def render(template: str, messages: Sequence[dict[str, str]]) -> str:
    """The prompt that `template`, in Ollama's Go form or in Jinja, makes from `role` and `content` of each message.

    Raises ValidationError for a template with errors, UnsupportedError for one that cannot be translated.
    """
    import jinja2  # imported late: few requests have a template
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    environment.globals = {"namespace": environment.globals["namespace"]}
    try:
        return environment.from_string(to_jinja(template)).render(messages=messages, add_generation_prompt=True)
    except (jinja2.TemplateError, *MISUSE) as error:
        raise ValidationError(f"the template cannot be used: {error}") from error


def _answered(payload: bytes) -> bytes:
    try:
        done = {"prompt": render(**json.loads(payload))}
    except UnsupportedError as error:
        done = {"unsupported": error.message}
    except ValidationError as error:
        done = {"refused": error.message}
    return json.dumps(done).encode()


if __name__ == "__main__":
    import jinja2.sandbox  # noqa: F401  before memory is limited

    bounded_child.answer(_answered)
