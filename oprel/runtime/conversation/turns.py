"""The order of messages, and the place of system messages, as templates take them."""

from collections.abc import Sequence
from dataclasses import replace

from oprel.core.completion import PromptMessage
from oprel.runtime.conversation.traits import SystemPlace, TemplateTraits

# What stands where a template needs a message that the conversation does not have.
USER_BEGINS = PromptMessage("user", "[Start a new chat]")
USER_BETWEEN = PromptMessage("user", "[Continue]")
ASSISTANT_BETWEEN = PromptMessage("assistant", "OK.")


def joined_texts(*texts: str) -> str:
    return "\n\n".join(text for text in texts if text)


def with_system(messages: Sequence[PromptMessage], text: str) -> list[PromptMessage]:
    """With a text behind the first system message's."""
    if not text:
        return list(messages)
    if messages and messages[0].role == "system":
        return [replace(messages[0], content=joined_texts(messages[0].content, text)), *messages[1:]]
    return [PromptMessage("system", text), *messages]


def with_system_in(messages: Sequence[PromptMessage], place: SystemPlace) -> list[PromptMessage]:
    """With system messages where the template takes them. Others are put in front of the user's next message."""
    if place is SystemPlace.ANYWHERE:
        return list(messages)
    front = _count_in_front(messages) if place is SystemPlace.FIRST else 0
    placed, pending = _joined_all(messages[:front]), list[PromptMessage]()
    for message in messages[front:]:
        if message.role == "system":
            pending.append(message)
            continue
        if pending:
            system = replace(_joined_all(pending)[0], role="user")
            placed += [] if message.role == "user" else [system]
            message = _merged(system, message) if message.role == "user" else message
            pending = []
        placed.append(message)
    return [*placed, *(replace(message, role="user") for message in _joined_all(pending))]


def in_order(messages: Sequence[PromptMessage], traits: TemplateTraits) -> list[PromptMessage]:
    """With the turns that the template requires."""
    ordered = list(messages)
    if traits.needs_user and not any(message.role == "user" for message in ordered):
        ordered = _with_user(ordered)
    if traits.begins_with_user:
        ordered = _beginning_with_user(ordered)
    if traits.joins_neighbours:
        ordered = _joined_neighbours(ordered, text_apart=traits.text_apart)
    if traits.alternates:
        ordered = _alternating(ordered)
    return _with_one_ending(ordered)


def distinct_from_last(messages: Sequence[PromptMessage]) -> list[PromptMessage]:
    """With a blank behind each of the user's messages that equals the last one."""
    users = [message.content for message in messages if message.role == "user"]
    places = [at for at, message in enumerate(messages) if message.role == "user"]
    equal = {at for at in places[:-1] if messages[at].content == users[-1]}
    return [
        replace(message, content=f"{message.content} ") if at in equal else message
        for at, message in enumerate(messages)
    ]


def _merged(first: PromptMessage, second: PromptMessage) -> PromptMessage:
    return replace(
        second,
        content=joined_texts(first.content, second.content),
        thinking=joined_texts(first.thinking, second.thinking),
        images=(*first.images, *second.images),
    )


def _joined_all(messages: Sequence[PromptMessage]) -> list[PromptMessage]:
    """One message of all; none of none."""
    joined = list(messages[:1])
    for message in messages[1:]:
        joined = [_merged(joined[0], message)]
    return joined


def _with_user(messages: Sequence[PromptMessage]) -> list[PromptMessage]:
    """With a user's message: the last one, if all are the system's."""
    if messages and all(message.role == "system" for message in messages):
        return [*messages[:-1], replace(messages[-1], role="user")]
    return _begun_by_user(messages)


def _beginning_with_user(messages: Sequence[PromptMessage]) -> list[PromptMessage]:
    front = _count_in_front(messages)
    if front == len(messages) or messages[front].role == "user":
        return list(messages)
    return _begun_by_user(messages)


def _begun_by_user(messages: Sequence[PromptMessage]) -> list[PromptMessage]:
    """With a user's message behind the system messages in front."""
    front = _count_in_front(messages)
    return [*messages[:front], USER_BEGINS, *messages[front:]]


def _count_in_front(messages: Sequence[PromptMessage]) -> int:
    """How many system messages the conversation begins with."""
    return next((at for at, message in enumerate(messages) if message.role != "system"), len(messages))


def _joined_neighbours(messages: Sequence[PromptMessage], *, text_apart: bool) -> list[PromptMessage]:
    joined: list[PromptMessage] = []
    for message in messages:
        before = joined[-1] if joined else None
        is_alike = before is not None and before.role == message.role != "tool" and not before.tool_calls
        if before is not None and is_alike and not (text_apart and message.tool_calls):
            joined[-1] = _merged(before, message)
        else:
            joined.append(message)
    return joined


def _alternating(messages: Sequence[PromptMessage]) -> list[PromptMessage]:
    """With a short message between two texts of one role that have calls or results between them."""
    alternating: list[PromptMessage] = []
    last = ""
    for message in messages:
        is_text = message.role == "user" or (message.role == "assistant" and not message.tool_calls)
        if is_text and message.role == last:
            alternating.append(ASSISTANT_BETWEEN if last == "user" else USER_BETWEEN)
        last = message.role if is_text else last
        alternating.append(message)
    return alternating


def _with_one_ending(messages: Sequence[PromptMessage]) -> list[PromptMessage]:
    """With the assistant's texts at the end as one: engines go on from one only."""
    ending = len(messages)
    while ending and messages[ending - 1].role == "assistant" and not messages[ending - 1].tool_calls:
        ending -= 1
    return [*messages[:ending], *_joined_all(messages[ending:])]
