"""From the events of an engine's stream to the pieces of an answer. Pure."""

import uuid
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from http import HTTPStatus

import msgspec
import orjson

from oprel.core.completion import Chunk, Chunks, Finish, ToolCall, Usage
from oprel.runtime.backends.openai import types as wire
from oprel.runtime.backends.openai.logprobs import spelled, token_logprobs
from oprel.runtime.engine import AnswerUnparsed, EngineLost, EngineRefused

# How llama-server begins what its parser of answers refuses, with status 500.
UNPARSED = ("The model produced output that does not match", "Invalid diff:", "Failed to parse tool call arguments")
NOT_ITS_DIALECT = "the engine sent what is not its dialect"

EVENT = wire.decoder(wire.Event)
UNTIMED = wire.Timings()


class Answers:
    """All answers to one request, as received so far. Their chunks have probabilities with `alternatives`."""

    def __init__(self, alternatives: int | None = None) -> None:
        self._answers = defaultdict[int, _Answer](lambda: _Answer(alternatives))
        self._usage = Usage()
        self._generated = 0

    def add(self, content: bytes) -> Chunks:
        """What an event adds; `content` is its JSON. Raises EngineRefused, or EngineLost for nonsense."""
        event = _parsed(content)
        if event.usage:
            self._usage = _counted(event.usage, event.timings or UNTIMED)
            self._generated += event.timings.predicted_n if event.timings else 0
        if progress := event.prompt_progress:
            return [Chunk(prefill=(progress.processed, progress.total))]
        if not event.choices:
            return [Chunk(event=content)]
        if len(event.choices) == 1:
            (choice,) = event.choices
            return [self._answers[choice.index].add(choice, event.timings, content)]
        # Each choice with an event of its own, for dialects that pass events on.
        events = [orjson.dumps({"choices": [choice]}) for choice in orjson.loads(content)["choices"]]
        choices = zip(event.choices, events, strict=True)
        return [self._answers[choice.index].add(choice, event.timings, own) for choice, own in choices]

    def ends(self) -> Chunks:
        """What is known at the end: the calls of tools, and one chunk with `finish`. Raises AnswerUnparsed."""
        answers = sorted(self._answers.items())
        calls = [Chunk(tool_calls=calls, index=index) for index, answer in answers if (calls := answer.calls())]
        finishes = tuple(answer.finish for _, answer in answers) or (Finish.STOP,)
        # llama-server's usage counts the tokens of one answer only, but it sends timings of each.
        made = max(self._usage.completion_tokens, self._generated)
        usage = replace(self._usage, completion_tokens=made)
        return [*calls, Chunk(finish=finishes[0], finishes=finishes, usage=usage)]


@dataclass
class _ToolCall:
    """A call of which parts have arrived."""

    id: str = ""
    name: str = ""
    arguments: list[str] = field(default_factory=list)

    def add(self, part: wire.EngineToolCall) -> None:
        """The first part has id and name, and each has a piece of the arguments."""
        self.id = self.id or part.id or ""
        self.name = self.name or part.function.name or ""
        self.arguments.append(part.function.arguments)

    def whole(self) -> ToolCall:
        """Raises AnswerUnparsed."""
        try:
            arguments = orjson.loads("".join(self.arguments) or "{}")
        except orjson.JSONDecodeError as error:
            raise _unparsed(f"the model's call of {self.name} is not valid JSON") from error
        if not isinstance(arguments, dict):
            raise _unparsed(f"the arguments of the model's call of {self.name} are not an object")
        return ToolCall(self.id or f"call_{uuid.uuid4().hex[:8]}", self.name, arguments)


class _Answer:
    """What has arrived of one answer: its finish, the parts of its tool calls, and how many tokens it has."""

    def __init__(self, alternatives: int | None) -> None:
        self.finish = Finish.STOP
        self._alternatives = alternatives
        self._calls = defaultdict[int, _ToolCall](_ToolCall)
        self._tokens = 0

    def add(self, choice: wire.Choice, timings: wire.Timings | None, event: bytes) -> Chunk:
        """The piece of the answer that the choice is. Parts of tool calls are reported complete, at the end."""
        if choice.finish_reason:
            self.finish = Finish.LENGTH if choice.finish_reason == "length" else Finish.STOP
        delta, entries = choice.delta, choice.logprobs.content or () if choice.logprobs else ()
        reported = self._tokens + len(entries)
        self._tokens = max(reported, timings.predicted_n) if timings else reported
        return Chunk(
            choice.text or delta.content or "",
            delta.reasoning_content or "",
            index=choice.index,
            event=event,
            is_plain=choice.finish_reason is None and delta.is_plain,
            called=self._called(delta.tool_calls) if delta.tool_calls else "",
            logprobs=() if self._alternatives is None else token_logprobs(entries, self._alternatives),
            tokens=tuple([entry.id for entry in entries]),
            spelled=b"".join([spelled(entry) for entry in entries]),
            unreported=self._tokens - reported,
            used=timings.usage if timings else None,
        )

    def calls(self) -> tuple[ToolCall, ...]:
        """The complete calls; none if the answer was cut off. Raises AnswerUnparsed."""
        return tuple(call.whole() for call in self._calls.values()) if self.finish is Finish.STOP else ()

    def _called(self, parts: Sequence[wire.EngineToolCall]) -> str:
        for part in parts:
            self._calls[part.index].add(part)
        return "".join(f"{part.function.name or ''}{part.function.arguments}" for part in parts)


def _counted(usage: wire.EngineUsage, timings: wire.Timings) -> Usage:
    details = usage.prompt_tokens_details or wire.EngineTokenDetails()
    return replace(
        timings.usage(),
        prompt_tokens=usage.prompt_tokens,
        cached_tokens=details.cached_tokens,
        completion_tokens=usage.completion_tokens,
    )


def _parsed(content: bytes) -> wire.Event:
    try:
        event = EVENT.decode(content)
    except msgspec.MsgspecError as error:
        raise EngineLost(NOT_ITS_DIALECT) from error
    if event.error:
        raise refusal(HTTPStatus.INTERNAL_SERVER_ERROR, content)
    return event


def refusal(status: int, content: bytes) -> EngineRefused:
    """The error that an engine sent, with the HTTP status or in a stream."""
    try:
        error = EVENT.decode(content).error or wire.Error()
    except msgspec.MsgspecError:
        error = wire.Error(message=content[:200].decode(errors="replace"))
    if error.message.startswith(UNPARSED):
        return _unparsed(error.message)
    code = error.code if isinstance(error.code, int) else status
    return EngineRefused(code, error.type or "", error.message, error.n_prompt_tokens)


def _unparsed(message: str) -> AnswerUnparsed:
    return AnswerUnparsed(HTTPStatus.INTERNAL_SERVER_ERROR, "", message)
