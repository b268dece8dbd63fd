"""Messages of dialects whose turns are lists of blocks, put together as chat templates want them."""

from collections.abc import Iterable
from dataclasses import replace

from oprel.core.completion import PromptMessage
from oprel.server.api.common.decode import linked


def turns(messages: Iterable[PromptMessage]) -> list[PromptMessage]:
    """Neighbours of one role as one message, but for results of tools, which get the names of their tools."""
    told: list[PromptMessage] = []
    for message in messages:
        if told and told[-1].role == message.role != "tool":
            told[-1] = _joined(told[-1], message)
        else:
            told.append(message)
    return linked(told)


def joined_texts(texts: Iterable[str]) -> str:
    return "\n".join(text for text in texts if text)


def _joined(first: PromptMessage, second: PromptMessage) -> PromptMessage:
    return replace(
        first,
        content=joined_texts((first.content, second.content)),
        thinking=joined_texts((first.thinking, second.thinking)),
        tool_calls=(*first.tool_calls, *second.tool_calls),
        images=(*first.images, *second.images),
    )
