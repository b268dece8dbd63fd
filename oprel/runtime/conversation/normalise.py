"""The one normaliser: a request whose conversation a template with given traits renders without loss."""

from dataclasses import replace

from oprel.core.completion import CompletionRequest, PromptMessage
from oprel.runtime.conversation import tool_definitions, tool_rounds, turns
from oprel.runtime.conversation.texts import uncut
from oprel.runtime.conversation.traits import TemplateTraits

ROLES = {
    "developer": "system",
    "human": "user",
    "ai": "assistant",
    "model": "assistant",
    "function": "tool",
    "ipython": "tool",
}
USUAL_ROLES = frozenset(("system", "user", "assistant", "tool"))

Messages = tuple[PromptMessage, ...]


def normalised(request: CompletionRequest, traits: TemplateTraits) -> CompletionRequest:
    """The request as the template takes it. Prompts without messages stay as they are."""
    if not isinstance(request.prompt, tuple):
        return request
    tools = tool_definitions.fitted(request.tools, traits)
    text = tool_definitions.as_text(request.tools) if traits.tools_as_text else ""
    return replace(request, prompt=_messages(request.prompt, traits, text), tools=tools)


def _messages(messages: Messages, traits: TemplateTraits, tools: str) -> Messages:
    changed = [_with_role(message, traits) for message in messages]
    changed = tool_rounds.arranged(changed, fills=traits.fills_results, orphans_as_text=traits.orphans_as_text)
    changed = [_with_thoughts(message, traits) for message in changed]
    changed = tool_rounds.fitted(changed, traits)
    changed = turns.with_system(changed, tools)
    changed = turns.with_system_in(changed, traits.system)
    changed = turns.in_order(changed, traits)
    if traits.repeats_tools and not traits.tools_as_text:
        changed = turns.distinct_from_last(changed)
    return tuple(uncut(message, traits) for message in changed)


def usual_role(role: str) -> str:
    """The usual name of a role: other APIs have others.

    >>> usual_role("User"), usual_role("function")
    ('user', 'tool')
    """
    name = role.strip().lower()
    return ROLES.get(name, name)


def _with_role(message: PromptMessage, traits: TemplateTraits) -> PromptMessage:
    role = usual_role(message.role)
    if role not in USUAL_ROLES:
        role = "user" if traits.loses_other_roles else message.role
    return message if role == message.role else replace(message, role=role)


def _with_thoughts(message: PromptMessage, traits: TemplateTraits) -> PromptMessage:
    """With its thoughts where they cost no text, and are not lost beside a call."""
    if not message.thinking:
        return message
    if traits.thoughts_in_text and message.tool_calls:
        return replace(message, thinking="", content=turns.joined_texts(message.thinking, message.content))
    if traits.text_or_thoughts and message.content:
        return replace(message, thinking="")
    return message
