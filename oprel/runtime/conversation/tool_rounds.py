"""Calls of tools and their results, as templates take them."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import count

import orjson
from pydantic import JsonValue

from oprel.core.completion import PromptMessage, ToolCall
from oprel.runtime.conversation.traits import CallForm, IdForm, TemplateTraits
from oprel.runtime.conversation.turns import joined_texts

NO_RESULT = "(no result)"
ID_LENGTH = 9
LETTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def arranged(
    messages: Sequence[PromptMessage], *, fills: bool = False, orphans_as_text: bool = False
) -> list[PromptMessage]:
    """Each call's result behind it, in the order of the calls; every id once.

    With `fills`, calls without a result get one; those at the end always do, as engines refuse to go on from a call.
    """
    placed: list[PromptMessage] = []
    used: set[int] = set()
    ids: set[str] = set()
    for at, message in enumerate(messages):
        if at in used:
            continue
        if message.role == "tool":
            placed.append(result_as_text(message) if orphans_as_text else message)
        elif not message.tool_calls:
            placed.append(message)
        else:
            results = _results_of(message.tool_calls, messages, at, used)
            is_last = all(later in used for later in range(at + 1, len(messages)))
            placed += _round(message, results, ids, fills=fills or (is_last and not any(results)))
    return placed


def _results_of(
    calls: Sequence[ToolCall], messages: Sequence[PromptMessage], at: int, used: set[int]
) -> list[PromptMessage | None]:
    """The result of each call, None for one without."""
    results: list[PromptMessage | None] = []
    for call in calls:
        places = (later for later in _before_id_returns(call.id, messages, at) if later not in used)
        place = next((later for later in places if messages[later].tool_call_id == call.id), None)
        if place is not None:
            used.add(place)
        results.append(None if place is None else messages[place])
    return results


def _before_id_returns(id: str, messages: Sequence[PromptMessage], at: int) -> Iterator[int]:
    """The places of results behind a message, up to the next call with the same id."""
    for later in range(at + 1, len(messages)):
        if any(call.id == id for call in messages[later].tool_calls):
            return
        if messages[later].role == "tool":
            yield later


def _round(
    message: PromptMessage, results: Sequence[PromptMessage | None], ids: set[str], *, fills: bool
) -> Iterator[PromptMessage]:
    calls = []
    for call in message.tool_calls:
        id = _unused(call.id or "call", ids)
        ids.add(id)
        calls.append(call if id == call.id else replace(call, id=id))
    yield replace(message, tool_calls=tuple(calls))
    for call, result in zip(calls, results, strict=True):
        if result is not None:
            yield replace(result, tool_call_id=call.id, tool_name=result.tool_name or call.name)
        elif fills:
            yield PromptMessage("tool", NO_RESULT, tool_call_id=call.id, tool_name=call.name)


def _unused(id: str, ids: set[str]) -> str:
    if id not in ids:
        return id
    return next(other for number in count(2) if (other := f"{id}_{number}") not in ids)


def fitted(messages: Sequence[PromptMessage], traits: TemplateTraits) -> list[PromptMessage]:
    """Arranged messages with calls, ids and arguments in the form that the template takes."""
    if traits.calls is CallForm.TEXT:
        return [_round_as_text(message) for message in messages]
    changed = list(messages)
    if traits.calls is CallForm.LAST:
        changed = _last_only(changed)
    if traits.calls is CallForm.SINGLE:
        changed = _single(changed)
    if traits.text_apart:
        changed = [part for message in changed for part in _apart(message)]
    changed = _with_ids(changed, traits.ids)
    if traits.flat_arguments:
        changed = [_with_flat_arguments(message) for message in changed]
    if traits.results_as_text:
        changed = [result_as_text(message) if message.role == "tool" else message for message in changed]
    return changed


def call_as_text(call: ToolCall) -> str:
    """The form that `text_calls` reads."""
    written = orjson.dumps({"name": call.name, "arguments": call.arguments}).decode()
    return f"<tool_call>\n{written}\n</tool_call>"


def result_as_text(result: PromptMessage) -> PromptMessage:
    name = result.tool_name or "the tool"
    return PromptMessage("user", f"Result of {name}:\n{result.content}", images=result.images)


def _round_as_text(message: PromptMessage) -> PromptMessage:
    if message.role == "tool":
        return result_as_text(message)
    if not message.tool_calls:
        return message
    text = joined_texts(message.content, *map(call_as_text, message.tool_calls))
    return replace(message, content=text, tool_calls=())


def _last_only(messages: Sequence[PromptMessage]) -> list[PromptMessage]:
    last = max((at for at, message in enumerate(messages) if message.tool_calls), default=0)
    return [_round_as_text(message) if at < last else message for at, message in enumerate(messages)]


def _single(messages: Sequence[PromptMessage]) -> list[PromptMessage]:
    """One call a message, each followed by its result."""
    results = {message.tool_call_id: message for message in messages if message.role == "tool"}
    changed: list[PromptMessage] = []
    split: set[str] = set()
    for message in messages:
        if len(message.tool_calls) > 1:
            for number, call in enumerate(message.tool_calls):
                bare = PromptMessage(message.role, "") if number else message
                changed.append(replace(bare, tool_calls=(call,)))
                changed.append(results.get(call.id) or PromptMessage("tool", NO_RESULT, tool_call_id=call.id))
                split.add(call.id)
        elif message.role != "tool" or message.tool_call_id not in split:
            changed.append(message)
    return changed


def _apart(message: PromptMessage) -> Iterator[PromptMessage]:
    if message.tool_calls and message.content:
        yield replace(message, thinking="", tool_calls=())
        yield replace(message, content="", images=())
    else:
        yield message


def _with_ids(messages: Sequence[PromptMessage], form: IdForm) -> list[PromptMessage]:
    if form is IdForm.ANY:
        return list(messages)
    calls = [call for message in messages for call in message.tool_calls]
    if form is IdForm.NINE:
        ids = {call.id: nine(call.id) for call in calls}
    else:
        ids = {call.id: f"functions.{call.name}:{number}" for number, call in enumerate(calls)}
    return [
        replace(
            message,
            tool_calls=tuple(replace(call, id=ids[call.id]) for call in message.tool_calls),
            tool_call_id=ids.get(message.tool_call_id) or _orphan_id(message.tool_call_id, form),
        )
        for message in messages
    ]


def _orphan_id(id: str, form: IdForm) -> str:
    return nine(id) if id and form is IdForm.NINE else id


def nine(id: str) -> str:
    """Nine letters and digits for an id, always the same.

    >>> nine("abcDEF123"), nine("call_1_0")
    ('abcDEF123', 'opdgyfcz3')
    """
    if len(id) == ID_LENGTH and id.isascii() and id.isalnum():
        return id
    number = int.from_bytes(hashlib.sha256(id.encode()).digest()[:8], "big")
    return "".join(LETTERS[number // 62**place % 62] for place in range(ID_LENGTH))


def _with_flat_arguments(message: PromptMessage) -> PromptMessage:
    calls = tuple(replace(call, arguments=_flat(call.arguments)) for call in message.tool_calls)
    return replace(message, tool_calls=calls)


def _flat(arguments: object) -> dict[str, JsonValue]:
    assert isinstance(arguments, dict)
    return {
        name: orjson.dumps(value).decode() if isinstance(value, dict | list | None) else value
        for name, value in arguments.items()
    }
