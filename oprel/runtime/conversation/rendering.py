"""Whether a rendered prompt has all of a conversation: each text once, in order, and apart from the others.

The conversations that are judged consist of marks, words that begin with `MARK` and occur nowhere else.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from os.path import commonprefix

import orjson

from oprel.core.completion import CompletionRequest, PromptMessage

MARK = "zq"
MARKS = re.compile(rf"{MARK}[a-z0-9]+")


class Rendering(IntEnum):
    """How well a conversation was rendered."""

    REFUSED = 0
    LOST = 1  # a part of it is missing
    MISPLACED = 2  # all of it is in the prompt, but twice, out of order or run together
    COMPLETE = 3


@dataclass(frozen=True)
class Opening:
    """The end of an assistant's turn, and what opens it, where texts alone show them."""

    end: str = ""
    begin: str = ""


def opening(user: str, users: str, turns: str, marks: Sequence[str]) -> Opening:
    """From the prompts of U, of U U2, and of U A U2, and the marks of U, A and U2.

    >>> opening("(u) |A:", "(u) |(v) |A:", "(u) |A:a |(v) |A:", "uav")
    Opening(end=' |', begin='A:')
    """
    first, answer, second = marks
    if not all(mark in users for mark in (first, second)):
        return Opening()
    behind = user.partition(first)[2]
    between_users = users.partition(first)[2].partition(second)[0]
    begin = behind[len(commonprefix([behind, between_users])) :]
    behind_answer = turns.partition(answer)[2].partition(second)[0]
    before_user = _common_end(turns.partition(first)[0], behind_answer)
    return Opening(behind_answer.removesuffix(before_user), begin)


def _common_end(first: str, second: str) -> str:
    return commonprefix([first[::-1], second[::-1]])[::-1]


def verdict(
    prompt: str,
    request: CompletionRequest,
    passed: CompletionRequest,
    *,
    thoughts: bool = False,
    opens: Opening | None = None,
) -> Rendering:
    """How well the prompt renders the request, whose messages are of marks, and which was `passed` in another form."""
    assert isinstance(request.prompt, tuple) and isinstance(passed.prompt, tuple)
    groups = [group for message in passed.prompt if (group := _marks_of(message, thoughts=thoughts))]
    marks = [mark for message in request.prompt for mark in _marks_of(message, thoughts=thoughts)]
    if not all(mark in prompt for mark in marks) or not all(_has_names(prompt, request)):
        return Rendering.LOST
    in_place = _in_order(prompt, groups) and not _run_together(prompt, marks)
    texts = [mark for message in request.prompt for mark in MARKS.findall(message.content)]
    once = all(prompt.count(mark) == 1 for mark in texts)
    is_opened = opens is None or _is_opened(prompt, request.prompt, opens)
    return Rendering.COMPLETE if in_place and once and is_opened else Rendering.MISPLACED


def _marks_of(message: PromptMessage, *, thoughts: bool) -> list[str]:
    thinking = MARKS.findall(message.thinking) if thoughts else []
    calls = [mark for call in message.tool_calls for mark in MARKS.findall(orjson.dumps(call.arguments).decode())]
    return [*thinking, *MARKS.findall(message.content), *calls]


def _has_names(prompt: str, request: CompletionRequest) -> Iterator[bool]:
    """Whether the tools are described, and each call has its name behind the texts before it."""
    for mark in _descriptions(request):
        yield mark in prompt
    assert isinstance(request.prompt, tuple)
    behind = 0
    for message in request.prompt:
        for call in message.tool_calls:
            yield call.name in prompt[behind:]
        if message.role == "user":
            behind = max([behind, *(prompt.find(mark) for mark in MARKS.findall(message.content))])


def _descriptions(request: CompletionRequest) -> list[str]:
    return list(dict.fromkeys(mark for tool in request.tools for mark in MARKS.findall(orjson.dumps(tool).decode())))


def _in_order(prompt: str, groups: Sequence[Sequence[str]]) -> bool:
    """Marks of one message may be in any order."""
    places = [[prompt.find(mark) for mark in group] for group in groups]
    return all(max(first) < min(second) for first, second in zip(places, places[1:], strict=False))


def _run_together(prompt: str, marks: Sequence[str]) -> bool:
    starts = {prompt.find(mark) for mark in marks}
    return any(prompt.find(mark) + len(mark) in starts for mark in marks)


def _is_opened(prompt: str, messages: Sequence[PromptMessage], opens: Opening) -> bool:
    """Whether the assistant's turn is open at the prompt's end: opened there, or not ended since its last call."""
    if not (opens.begin.strip() and opens.end.strip()):
        return True  # nothing is known of its turns
    last = messages[-1]
    behind = prompt[max((prompt.rfind(mark) for mark in MARKS.findall(last.content)), default=0) :]
    if opens.begin in behind:
        return True
    calls = [mark for message in messages if message.tool_calls for mark in _marks_of(message, thoughts=False)]
    since = max((prompt.rfind(mark) for mark in calls), default=0)
    return opens.end.strip() not in prompt[since:]
