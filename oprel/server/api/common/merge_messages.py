"""Messages of dialects whose messages are lists of blocks, merged into the form that chat templates expect."""

from collections.abc import Iterable
from dataclasses import replace

from oprel.core.completion import PromptMessage
from oprel.server.api.common.decode import linked


def merge_messages(messages: Iterable[PromptMessage]) -> list[PromptMessage]:
    """Merge neighbours of one role, except tool results, which get the names of their tools."""
    merged: list[PromptMessage] = []
    for message in messages:
        if merged and merged[-1].role == message.role != "tool":
            merged[-1] = _merged(merged[-1], message)
        else:
            merged.append(message)
    return linked(merged)


def joined_texts(texts: Iterable[str]) -> str:
    return "\n".join(text for text in texts if text)


def _merged(first: PromptMessage, second: PromptMessage) -> PromptMessage:
    return replace(
        first,
        content=joined_texts((first.content, second.content)),
        thinking=joined_texts((first.thinking, second.thinking)),
        tool_calls=(*first.tool_calls, *second.tool_calls),
        images=(*first.images, *second.images),
    )
