"""The length of prompts, and the truncation of those that do not fit.

A prompt is truncated only after it was refused as too long: by the engine, or before it if it reserves cells.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import orjson

from oprel.core.completion import CompletionRequest, PromptMessage, Tokens
from oprel.core.exceptions import ContextLengthError
from oprel.runtime.engine import Engine

TOKEN_BYTES = 2  # of any text, on average, at least
MARK_TOKENS = 8  # that a template puts around a message, about
IMAGE_TOKENS = 768  # what an image counts, as in Ollama: only the engine knows better, and it does not report it
ANSWER_SHARE = 4  # a truncated prompt leaves at most this part of the context to its answer
KEPT_IN_FRONT = 4  # tokens; Ollama's default of num_keep
LONG_TOKEN = 32  # bytes: no real text has so many for each of its tokens
READABLE = 1 << 20  # bytes that any engine may read: its tokenizer takes about 120 times as much memory (b11549)
ATTEMPTS = 4  # text that is cut and tokenized again may have grown


@dataclass(frozen=True)
class Truncation:
    """What the model does not see of a prompt: whole messages, and tokens from the middle of the last one."""

    messages: int = 0
    tokens: int = 0


def image_count(request: CompletionRequest) -> int:
    """How many images the prompt shows."""
    return sum(len(message.images) for message in request.prompt) if isinstance(request.prompt, tuple) else 0


def about_tokens(request: CompletionRequest) -> int:
    """The prompt's length in tokens, rather more than less, without asking the engine."""
    match request.prompt:
        case str(text):
            return about_length(text)
        case Tokens(parts):
            return sum(1 if isinstance(part, int) else about_length(part) for part in parts)
    tools = sum(len(orjson.dumps(tool)) for tool in request.tools) // TOKEN_BYTES
    return tools + sum(map(_about_message, request.prompt))


def about_length(text: str) -> int:
    """The same for a text."""
    return math.ceil(len(text.encode()) / TOKEN_BYTES)


def _about_message(message: PromptMessage) -> int:
    """Many short messages are mostly what a template puts around each."""
    calls = sum(len(call.name) + len(orjson.dumps(call.arguments)) for call in message.tool_calls)
    return MARK_TOKENS + about_length(message.content) + about_length(message.thinking) + calls // TOKEN_BYTES


def most_bytes(num_ctx: int) -> int:
    """How long a prompt may be at all, in bytes. What is longer would cost its engine the memory of others."""
    return max(READABLE, num_ctx * LONG_TOKEN)


def check_length(request: CompletionRequest, num_ctx: int) -> None:
    """Raises ContextLengthError for a prompt that no engine is to read, not even to truncate it."""
    if about_tokens(request) * TOKEN_BYTES > (most := most_bytes(num_ctx)):
        raise ContextLengthError(
            f"the prompt has more than {most:,} bytes, and the context {num_ctx} tokens",
            "Shorten it: so much is not read, even to be truncated.",
        )


async def prompt_length(engine: Engine, request: CompletionRequest) -> int:
    """The prompt's length in tokens; images are estimated."""
    return len(await prompt_tokens(engine, request)) + image_count(request) * IMAGE_TOKENS


async def prompt_tokens(engine: Engine, request: CompletionRequest) -> list[int]:
    """The prompt as the model sees it, without its images."""
    match request.prompt:
        case str(text):
            return await engine.tokenize(text)
        case Tokens(parts):
            return await _joined(engine, parts)
    return await engine.tokenize(await engine.apply_template(request))


async def rendered(engine: Engine, request: CompletionRequest) -> str:
    """The prompt's text as the model gets it."""
    match request.prompt:
        case str(text):
            return text
        case Tokens():
            return await engine.detokenize(await prompt_tokens(engine, request))
    return await engine.apply_template(request)


async def prompt_text(engine: Engine, request: CompletionRequest, bos_token: int | None) -> str:
    """The prompt as text; without the token in front that the engine adds by itself."""
    tokens = await prompt_tokens(engine, request)
    return await engine.detokenize(tokens[1:] if tokens[:1] == [bos_token] else tokens)


async def truncated(engine: Engine, request: CompletionRequest, num_ctx: int) -> tuple[CompletionRequest, Truncation]:
    """The request with a prompt that fits into `num_ctx` tokens, its answer's beginning included.

    The oldest turns go first, each whole; then the oldest calls of the last turn, with their results. System messages
    and the last message stay. If that is not enough, the middle of the last message goes, or of the whole prompt where
    there are no messages. Raises ContextLengthError when nothing helps.
    """
    limit = num_ctx - _reserved(request, num_ctx)
    if not isinstance(request.prompt, tuple):
        return await _truncated_text(engine, request, limit)
    short, dropped = await _without_oldest(engine, request, limit)
    if (excess := await prompt_length(engine, short) - limit) <= 0:
        return short, Truncation(messages=dropped)
    shorter, lost = await _with_shorter_last(engine, short, excess, limit)
    return shorter, Truncation(dropped, lost)


def ends(whole: Sequence[int], count: int, num_keep: int | None) -> list[int]:
    """`count` of the tokens: some in front and the rest from the end.

    >>> ends(range(10), 5, 2)
    [0, 1, 7, 8, 9]
    """
    if count >= len(whole):
        return list(whole)
    front = min(KEPT_IN_FRONT if num_keep is None else max(0, num_keep), count // 2)
    return [*whole[:front], *whole[len(whole) - (count - front) :]]


def _reserved(request: CompletionRequest, num_ctx: int) -> int:
    wanted = request.sampling.num_predict
    most = num_ctx // ANSWER_SHARE
    return max(1, most if wanted is None or wanted < 0 else min(wanted, most))


async def _truncated_text(
    engine: Engine, request: CompletionRequest, limit: int
) -> tuple[CompletionRequest, Truncation]:
    whole = await prompt_tokens(engine, request)
    kept = ends(whole, limit, request.sampling.num_keep)
    return replace(request, prompt=Tokens(tuple(kept))), Truncation(tokens=len(whole) - len(kept))


async def _without_oldest(engine: Engine, request: CompletionRequest, limit: int) -> tuple[CompletionRequest, int]:
    """The request without as many of its oldest parts as it takes, by bisection, and how many messages they are."""
    assert isinstance(request.prompt, tuple)
    parts = _parts(request.prompt)
    fewest, most = 0, len(parts)
    while fewest < most:
        middle = (fewest + most) // 2
        shorter = replace(request, prompt=_without(request.prompt, parts[:middle]))
        fits = await prompt_length(engine, shorter) <= limit
        fewest, most = (fewest, middle) if fits else (middle + 1, most)
    short = _without(request.prompt, parts[:most])
    return replace(request, prompt=short), len(request.prompt) - len(short)


def _parts(messages: Sequence[PromptMessage]) -> list[list[int]]:
    """The places of messages that are dropped together, in this order: turns, and what the last turn consists of."""
    *turns, last = _split(messages, lambda before, role: role == "user" != before)
    of_user = [at for at in last if messages[at].role == "user"]
    others = [at for at in last if at not in of_user]
    rounds = _split([messages[at] for at in others], lambda before, role: role == "assistant")
    of_last = [[others[at] for at in part] for part in rounds]
    parts = [*turns, *of_last[:-1], of_user, *of_last[-1:]]
    kept = len(messages) - 1
    return [part for group in parts if (part := [at for at in group if at != kept])]


def _split(messages: Sequence[PromptMessage], begins: Callable[[str, str], bool]) -> list[list[int]]:
    """The places of messages other than the system's, in groups; `begins` gets the role before, and the role."""
    groups: list[list[int]] = [[]]
    before = ""
    for at, message in enumerate(messages):
        if message.role != "system":
            if begins(before, message.role) and groups[-1]:
                groups.append([])
            groups[-1].append(at)
            before = message.role
    return groups


def _without(messages: tuple[PromptMessage, ...], parts: Sequence[Sequence[int]]) -> tuple[PromptMessage, ...]:
    gone = {at for part in parts for at in part}
    return tuple(message for at, message in enumerate(messages) if at not in gone)


async def _with_shorter_last(
    engine: Engine, request: CompletionRequest, excess: int, limit: int
) -> tuple[CompletionRequest, int]:
    """The request with the middle of its last message cut out, and how many tokens that was."""
    assert isinstance(request.prompt, tuple)
    *before, last = request.prompt
    whole = await engine.tokenize(last.content, parse=False, begin=False)
    left = len(whole)
    for _ in range(ATTEMPTS):
        left -= excess
        if left < 1:
            break
        kept = ends(whole, left, request.sampling.num_keep)
        text = await engine.detokenize(kept)
        short = replace(request, prompt=(*before, replace(last, content=text)))
        if (excess := await prompt_length(engine, short) - limit) <= 0:
            return short, len(whole) - len(kept)
    raise ContextLengthError(
        "the prompt is longer than the context length, even without its oldest messages",
        "Shorten the system message or the tools, or ask for a larger `num_ctx` if the model allows one.",
    )


async def _joined(engine: Engine, parts: Sequence[str | int]) -> list[int]:
    tokens: list[int] = []
    for part in parts:
        tokens += [part] if isinstance(part, int) else await engine.tokenize(part, begin=not tokens)
    return tokens
