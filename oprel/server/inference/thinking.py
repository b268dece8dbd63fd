"""A request with its `think` in the terms of the model's template. Pure."""

from collections.abc import Sequence
from dataclasses import replace

from oprel.core.completion import CompletionRequest, PromptMessage
from oprel.formats.templates.thinking import SWITCHES, ThinkingTraits


def with_thinking(request: CompletionRequest, thinking: ThinkingTraits | None) -> CompletionRequest:
    """The request as the template takes it: its `think` is what the model can do, and its variables say so.

    Variables that the client sent stay, unless they are switches: `think` was read from those.
    """
    if thinking is None or not isinstance(request.prompt, tuple):
        return request
    setting, arguments = thinking.setting(request.think), request.template_arguments
    own = {name: value for name, value in arguments.items() if name not in SWITCHES or not isinstance(value, bool)}
    prompt = _with_system_words(request.prompt, setting.system_words) if setting.system_words else request.prompt
    variables = {**arguments, **setting.variables, **own}
    return replace(request, prompt=prompt, think=setting.think, template_arguments=variables)


def _with_system_words(messages: Sequence[PromptMessage], words: str) -> tuple[PromptMessage, ...]:
    if messages and messages[0].role == "system":
        first = messages[0]
        return (replace(first, content=f"{first.content}\n{words}" if first.content else words), *messages[1:])
    return (PromptMessage("system", words), *messages)
