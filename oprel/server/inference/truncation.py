"""Prompts and the room there is for them: how long one is, and what is left out of one that does not fit.

Nothing is measured in advance: the engine refuses what is too long, and only then is it cut.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import httpx

from oprel.core.completion import CompletionRequest, PromptMessage, Tokens
from oprel.core.exceptions import ContextLengthError
from oprel.runtime.backends import openai_http

IMAGE_TOKENS = 768  # what an image counts, as in Ollama: only the engine knows better, and it does not tell
ANSWER_SHARE = 4  # a cut prompt leaves at most this part of the context to its answer
KEPT_IN_FRONT = 4  # tokens; Ollama's default of num_keep
ATTEMPTS = 4  # text that is cut and tokenized anew may have grown


@dataclass(frozen=True)
class Truncation:
    """What of a prompt the model does not get to see: whole messages, and tokens out of the middle of the last one."""

    messages: int = 0
    tokens: int = 0


def images(request: CompletionRequest) -> int:
    """How many images the prompt shows."""
    return sum(len(one.images) for one in request.prompt) if isinstance(request.prompt, tuple) else 0


def about_tokens(request: CompletionRequest) -> int:
    """The prompt's length in tokens, rather more than less, without asking the engine."""
    match request.prompt:
        case str(text):
            return len(text.encode()) // 2
        case Tokens(parts):
            return sum(1 if isinstance(part, int) else len(part.encode()) // 2 for part in parts)
    return sum(len(one.content.encode()) // 2 for one in request.prompt)


async def length(http: httpx.AsyncClient, request: CompletionRequest) -> int:
    """The prompt's length in tokens; images are estimated."""
    return len(await tokens(http, request)) + images(request) * IMAGE_TOKENS


async def tokens(http: httpx.AsyncClient, request: CompletionRequest) -> list[int]:
    """The prompt as the model sees it, without its images."""
    match request.prompt:
        case str(text):
            return await openai_http.tokenize(http, text)
        case Tokens(parts):
            return await _joined(http, parts)
    return await openai_http.tokenize(http, await openai_http.apply_template(http, request))


async def rendered(http: httpx.AsyncClient, request: CompletionRequest) -> str:
    """The prompt's text as the model gets it."""
    match request.prompt:
        case str(text):
            return text
        case Tokens():
            return await openai_http.detokenize(http, await tokens(http, request))
    return await openai_http.apply_template(http, request)


async def text(http: httpx.AsyncClient, request: CompletionRequest, bos_token: int | None) -> str:
    """The prompt as text; without the token in front that the engine adds by itself."""
    found = await tokens(http, request)
    return await openai_http.detokenize(http, found[1:] if found[:1] == [bos_token] else found)


async def fitted(
    http: httpx.AsyncClient, request: CompletionRequest, num_ctx: int
) -> tuple[CompletionRequest, Truncation]:
    """The request with a prompt that fits into `num_ctx` tokens, its answer's beginning included.

    The oldest messages go first; system messages and the last message stay. If that is not enough, the middle of the
    last message goes, or of the whole prompt where there are no messages. Raises ContextLengthError when nothing helps.
    """
    room = num_ctx - _reserved(request, num_ctx)
    if not isinstance(request.prompt, tuple):
        return await _fitted_text(http, request, room)
    short, dropped = await _without_oldest(http, request, room)
    if (excess := await length(http, short) - room) <= 0:
        return short, Truncation(messages=dropped)
    shorter, lost = await _with_shorter_last(http, short, excess, room)
    return shorter, Truncation(dropped, lost)


def _reserved(request: CompletionRequest, num_ctx: int) -> int:
    wanted = request.sampling.num_predict
    most = num_ctx // ANSWER_SHARE
    return max(1, most if wanted is None or wanted < 0 else min(wanted, most))


async def _fitted_text(
    http: httpx.AsyncClient, request: CompletionRequest, room: int
) -> tuple[CompletionRequest, Truncation]:
    whole = await tokens(http, request)
    kept = _ends(whole, room, request.sampling.num_keep)
    return replace(request, prompt=Tokens(tuple(kept))), Truncation(tokens=len(whole) - len(kept))


async def _without_oldest(
    http: httpx.AsyncClient, request: CompletionRequest, room: int
) -> tuple[CompletionRequest, int]:
    """The request without as many of its oldest messages as it takes, found by bisection, and how many they are."""
    assert isinstance(request.prompt, tuple)
    fewest, most = 0, len(_droppable(request.prompt))
    while fewest < most:
        middle = (fewest + most) // 2
        fits = await length(http, replace(request, prompt=_dropped(request.prompt, middle))) <= room
        fewest, most = (fewest, middle) if fits else (middle + 1, most)
    short = _dropped(request.prompt, most)
    return replace(request, prompt=short), len(request.prompt) - len(short)


def _droppable(messages: Sequence[PromptMessage]) -> list[int]:
    return [at for at, message in enumerate(messages[:-1]) if message.role != "system"]


def _dropped(messages: tuple[PromptMessage, ...], count: int) -> tuple[PromptMessage, ...]:
    """The messages without the `count` oldest, nor the results of tools whose call is gone."""
    candidates = _droppable(messages)
    while 0 < count < len(candidates) and messages[candidates[count]].role == "tool":
        count += 1
    gone = set(candidates[:count])
    return tuple(message for at, message in enumerate(messages) if at not in gone)


async def _with_shorter_last(
    http: httpx.AsyncClient, request: CompletionRequest, excess: int, room: int
) -> tuple[CompletionRequest, int]:
    """The request with the middle of its last message cut out, and how many tokens that was."""
    assert isinstance(request.prompt, tuple)
    *before, last = request.prompt
    whole = await openai_http.tokenize(http, last.content, parse=False, begin=False)
    left = len(whole)
    for _ in range(ATTEMPTS):
        left -= excess
        if left < 1:
            break
        kept = _ends(whole, left, request.sampling.num_keep)
        text = await openai_http.detokenize(http, kept)
        short = replace(request, prompt=(*before, replace(last, content=text)))
        if (excess := await length(http, short) - room) <= 0:
            return short, len(whole) - len(kept)
    raise ContextLengthError(
        "the prompt is longer than the context length, even without its oldest messages",
        "Shorten the system message or the tools, or ask for a larger `num_ctx` if the model allows one.",
    )


def _ends(whole: Sequence[int], count: int, num_keep: int | None) -> list[int]:
    """`count` of the tokens: some in front and the rest from the end.

    >>> _ends(range(10), 5, 2)
    [0, 1, 7, 8, 9]
    """
    if count >= len(whole):
        return list(whole)
    front = min(KEPT_IN_FRONT if num_keep is None else max(0, num_keep), count // 2)
    return [*whole[:front], *whole[len(whole) - (count - front) :]]


async def _joined(http: httpx.AsyncClient, parts: Sequence[str | int]) -> list[int]:
    found: list[int] = []
    for part in parts:
        found += [part] if isinstance(part, int) else await openai_http.tokenize(http, part, begin=not found)
    return found
