"""From the events of an engine's stream to the pieces of an answer. Pure.

Nearly all events are a token of text or of a thought. Such an event is read as plain JSON, as far as needed; every
other one is validated as a whole (`openai_types`).
"""

import uuid
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Any

import orjson
from pydantic import ValidationError

from oprel.core.completion import Chunk, Finish, ToolCall, Usage
from oprel.runtime.backends import openai_types as wire
from oprel.runtime.backends.logprobs import spelled
from oprel.runtime.engine import AnswerUnparsed, EngineLost, EngineRefused

# How llama-server begins what its parser of answers refuses, with status 500.
UNPARSED = ("The model produced output that does not match", "Invalid diff:", "Failed to parse tool call arguments")
NOT_ITS_DIALECT = "the engine sent what is not its dialect"

NO_TOKEN = frozenset({"usage", "prompt_progress", "error"})  # fields of an event that is more than a token
UNTIMED = Usage()

Json = dict[str, Any]  # of an engine; whatever is read of it is checked, or fails


class Answers:
    """All answers to one request, as received so far."""

    def __init__(self) -> None:
        self._answers = defaultdict[int, _Answer](_Answer)
        self._usage = Usage()
        self._generated = 0

    def token(self, content: bytes) -> Chunk | None:
        """The piece that an event adds, if it is a token of text or of a thought; None for any other event."""
        try:
            token = _Token(orjson.loads(content))
        except (KeyError, TypeError, ValueError):
            return None
        return Chunk(
            token.text,
            token.thought,
            index=token.index,
            event=content,
            is_plain=True,
            tokens=token.ids,
            spelled=token.spelled,
            unreported=self._answers[token.index].count(len(token.ids), token.usage.completion_tokens),
            usage=token.usage,
        )

    def pieces(self, content: bytes) -> Iterator[tuple[Chunk, Sequence[wire.EngineLogprob]]]:
        """What any event adds, each piece with its probabilities. Raises EngineRefused, or EngineLost for nonsense."""
        event = _parsed(content)
        if event.usage:
            self._usage = _counted(event.usage, event.timings or wire.Timings())
            self._generated += event.timings.predicted_n if event.timings else 0
        if progress := event.prompt_progress:
            yield Chunk(prefill=(progress.processed, progress.total)), ()
            return
        if not event.choices:
            yield Chunk(event=content), ()
        for choice in event.choices:
            entries = choice.logprobs.content or () if choice.logprobs else ()
            yield self._answers[choice.index].add(choice, entries, event.timings, content), entries
            content = b""  # pass it on only once

    def ends(self) -> Iterator[Chunk]:
        """What is known at the end: the calls of tools, and one chunk with `finish`. Raises AnswerUnparsed."""
        answers = sorted(self._answers.items())
        for index, answer in answers:
            if calls := answer.calls():
                yield Chunk(tool_calls=calls, index=index)
        finishes = tuple(answer.finish for _, answer in answers) or (Finish.STOP,)
        # llama-server's usage counts the tokens of one answer only, but it sends timings of each.
        made = max(self._usage.completion_tokens, self._generated)
        yield Chunk(finish=finishes[0], finishes=finishes, usage=replace(self._usage, completion_tokens=made))


class _Token:
    """An event that is a token. The constructor raises KeyError, TypeError or ValueError for any other JSON."""

    __slots__ = ("text", "thought", "index", "ids", "spelled", "usage")

    def __init__(self, event: Json) -> None:
        (choice,) = event["choices"]
        if choice["finish_reason"] is not None or not NO_TOKEN.isdisjoint(event):
            raise ValueError("it is more than a token")
        self.text, self.thought = _words(choice)
        logprobs, timings = choice.get("logprobs"), event.get("timings")
        entries = logprobs["content"] if logprobs else ()
        self.index: int = choice["index"]
        self.ids: tuple[int, ...] = tuple([entry["id"] for entry in entries])
        self.spelled = b"".join([bytes(entry["bytes"]) for entry in entries])
        self.usage = _timed_json(timings) if timings else UNTIMED


def _words(choice: Json) -> tuple[str, str]:
    """The text and the thought of a choice that has one of them and nothing else."""
    if "text" in choice:
        name, words = "content", choice["text"]
    else:
        ((name, words),) = choice["delta"].items()
    if type(words) is not str or not words:
        raise TypeError("it has no words")
    return {"content": (words, ""), "reasoning_content": ("", words)}[name]


@dataclass
class _Answer:
    """What has arrived of one answer: its finish, the parts of its tool calls, and how many tokens it has."""

    finish: Finish = Finish.STOP
    parts: dict[int, wire.EngineToolCall] = field(default_factory=dict)
    tokens: int = 0

    def count(self, reported: int, made: int) -> int:
        """Count a piece's tokens; how many are not reported, by the engine's figure of all that it `made` so far."""
        tokens = self.tokens + reported
        self.tokens = max(tokens, made)
        return self.tokens - tokens

    def add(
        self, choice: wire.Choice, entries: Sequence[wire.EngineLogprob], timings: wire.Timings | None, event: bytes
    ) -> Chunk:
        """The piece of the answer that the choice is."""
        if choice.finish_reason:
            self.finish = Finish.LENGTH if choice.finish_reason == "length" else Finish.STOP
        _gather(choice.delta.tool_calls or (), self.parts)
        calls = [part.function for part in choice.delta.tool_calls or ()]
        return Chunk(  # parts of tool calls are reported complete, at the end
            choice.text or choice.delta.content or "",
            choice.delta.reasoning_content or "",
            index=choice.index,
            event=event,
            called="".join(f"{call.name or ''}{call.arguments}" for call in calls),
            tokens=tuple(entry.id for entry in entries),
            spelled=b"".join(spelled(entry) for entry in entries),
            unreported=self.count(len(entries), timings.predicted_n if timings else 0),
            usage=_timed(timings) if timings else Usage(),
        )

    def calls(self) -> tuple[ToolCall, ...]:
        """The complete calls; none if the answer was cut off."""
        return tuple(_whole(call) for call in self.parts.values()) if self.finish is Finish.STOP else ()


def _gather(parts: Sequence[wire.EngineToolCall], calls: dict[int, wire.EngineToolCall]) -> None:
    """Add a delta's parts to their calls. The first part has id and name, and each has a piece of the arguments."""
    for part in parts:
        call = calls.setdefault(part.index, wire.EngineToolCall(index=part.index))
        call.id = call.id or part.id
        call.function.name = call.function.name or part.function.name
        call.function.arguments += part.function.arguments


def _whole(call: wire.EngineToolCall) -> ToolCall:
    try:
        arguments = orjson.loads(call.function.arguments or "{}")
    except orjson.JSONDecodeError as error:
        raise _unparsed(f"the model's call of {call.function.name} is not valid JSON") from error
    if not isinstance(arguments, dict):
        raise _unparsed(f"the arguments of the model's call of {call.function.name} are not an object")
    return ToolCall(call.id or f"call_{uuid.uuid4().hex[:8]}", call.function.name or "", arguments)


def _counted(usage: wire.EngineUsage, timings: wire.Timings) -> Usage:
    details = usage.prompt_tokens_details or wire.EngineTokenDetails()
    return replace(
        _timed(timings),
        prompt_tokens=usage.prompt_tokens,
        cached_tokens=details.cached_tokens,
        completion_tokens=usage.completion_tokens,
    )


def _timed(timings: wire.Timings) -> Usage:
    """What an answer has taken so far."""
    return Usage(
        prompt_tokens=timings.cache_n + timings.prompt_n,
        cached_tokens=timings.cache_n,
        completion_tokens=timings.predicted_n,
        prompt_ns=round(timings.prompt_ms * 1e6),
        completion_ns=round(timings.predicted_ms * 1e6),
    )


def _timed_json(timings: Json) -> Usage:
    """The same, of timings that are not validated."""
    cached: int = timings["cache_n"]
    return Usage(
        prompt_tokens=cached + timings["prompt_n"],
        cached_tokens=cached,
        completion_tokens=timings["predicted_n"],
        prompt_ns=round(timings["prompt_ms"] * 1e6),
        completion_ns=round(timings["predicted_ms"] * 1e6),
    )


def _parsed(content: bytes) -> wire.Event:
    try:
        event = wire.Event.model_validate_json(content)
    except ValidationError as error:
        raise EngineLost(NOT_ITS_DIALECT) from error
    if event.error:
        raise refusal(HTTPStatus.INTERNAL_SERVER_ERROR, content)
    return event


def refusal(status: int, content: bytes) -> EngineRefused:
    """The error that an engine sent, with the HTTP status or in a stream."""
    try:
        error = wire.Event.model_validate_json(content).error or wire.Error()
    except ValidationError:
        error = wire.Error(message=content[:200].decode(errors="replace"))
    if error.message.startswith(UNPARSED):
        return _unparsed(error.message)
    code = error.code if isinstance(error.code, int) else status
    return EngineRefused(code, error.type or "", error.message, error.n_prompt_tokens)


def _unparsed(message: str) -> AnswerUnparsed:
    return AnswerUnparsed(HTTPStatus.INTERNAL_SERVER_ERROR, "", message)
