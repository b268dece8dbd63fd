"""Ends an answer that has begun to repeat itself without end.

A runaway answer ends in a period of 1 to 64 tokens that occurs at least eight times and fills at least 256 tokens.
Within a code fence, and in what a schema or a grammar shapes, repetition is ordinary: only the context or `num_predict`
ends it.

`PeriodicTail`, `CodeFence` and `RunawayGuard` are pure, and take constant time for each token on average.
"""

import re
from collections import deque
from collections.abc import Callable, Hashable, Iterable
from contextlib import aclosing
from dataclasses import dataclass, field, replace

from oprel.core.completion import NO_USAGE, Chunk, CompletionRequest, Finish, Tokens, Usage
from oprel.server.inference.structured_output.answers import Pieces
from oprel.server.inference.structured_output.requests import begun
from oprel.server.inference.truncation import Truncation

RUNAWAY = "runaway_guard"
"""What `ended_by` says of an answer that was ended here."""

LONGEST_PERIOD = 64  # tokens
FEWEST_REPEATS = 8
FEWEST_TOKENS = 256
SHORTEST_RUN = FEWEST_TOKENS - LONGEST_PERIOD  # of tokens that equal those one period before

# A line that opens a code block, also in a list or a quotation; and one that may close it.
OPENING = re.compile(r"[ \t>]*(?:(?:[-*+]|\d+[.)])[ \t]+)?(`{3,}(?!.*`)|~{3,})")
CLOSING = re.compile(r"[ \t>]*(`{3,}|~{3,})[ \t]*$")
LONGEST_LINE = 1000  # characters of a line that are kept


NO_RUNS: dict[int, int] = {}


class PeriodicTail:
    """The end of a sequence of symbols, as far as it repeats itself. A symbol stands for one or more tokens.

    `_runs[distance]`: how many tokens at the end equal those `distance` symbols before. A new symbol continues or
    begins the runs of the distances at which it occurred before, and ends all others.
    """

    def __init__(self) -> None:
        self._window = deque[Hashable](maxlen=LONGEST_PERIOD)
        self._ends = deque[int]([0], maxlen=LONGEST_PERIOD + 1)  # tokens up to the end of each symbol in the window
        self._places: dict[Hashable, deque[int]] = {}  # of each symbol in the window
        self._runs: dict[int, int] = {}
        self._count = 0

    def add(self, symbol: Hashable, tokens: int = 1) -> None:
        symbol, count, runs = (symbol, tokens), self._count, self._runs
        places = self._places.get(symbol)
        self._runs = {count - place: runs.get(count - place, 0) + tokens for place in places} if places else NO_RUNS
        if len(self._window) == LONGEST_PERIOD:
            self._forget(self._window[0])
        self._window.append(symbol)
        if places:
            places.append(count)
        else:
            self._places[symbol] = deque((count,))
        self._ends.append(self._ends[-1] + tokens)
        self._count = count + 1

    def is_runaway(self) -> bool:
        """Whether a period fills the end of the sequence often enough and for long enough."""
        if not self._runs or max(self._runs.values()) < SHORTEST_RUN:
            return False
        return any(self._fills(distance, run) for distance, run in self._runs.items())

    def _fills(self, distance: int, run: int) -> bool:
        period = self._ends[-1] - self._ends[-1 - distance]
        return period <= LONGEST_PERIOD and run + period >= max(FEWEST_TOKENS, FEWEST_REPEATS * period)

    def _forget(self, symbol: Hashable) -> None:
        places = self._places[symbol]
        places.popleft()
        if not places:
            del self._places[symbol]


class CodeFence:
    """Follows a text in Markdown, and knows whether its end is in a fenced code block."""

    def __init__(self) -> None:
        self._line = ""
        self._fence = ""  # what opened the block; empty outside

    @property
    def is_open(self) -> bool:
        return self._fence != ""

    def add(self, text: str) -> None:
        if "\n" not in text:
            self._line = (self._line + text)[:LONGEST_LINE]
            return
        *complete, last = text.split("\n")
        for rest in complete:
            self._end_line(self._line + rest)
            self._line = ""
        self._line = (self._line + last)[:LONGEST_LINE]

    def _end_line(self, line: str) -> None:
        if not self._fence:
            opening = OPENING.match(line)
            self._fence = opening[1] if opening else ""
        elif (closing := CLOSING.match(line.rstrip())) and closing[1].startswith(self._fence):
            self._fence = ""


@dataclass
class RunawayGuard:
    """Watches one answer. `fence` has seen the text that the answer continues, if any.

    With `is_shaped` a schema shapes the answer, but not its thoughts.
    """

    fence: CodeFence = field(default_factory=CodeFence)
    is_shaped: bool = False
    tokens: int = 0  # so far
    _thoughts: CodeFence = field(default_factory=CodeFence)
    _tail: PeriodicTail = field(default_factory=PeriodicTail)

    def add(self, chunk: Chunk) -> bool:
        """Take the next piece of the answer; True if it has run away."""
        for symbol, tokens in _symbols(chunk):
            self.tokens += tokens
            self._tail.add(symbol, tokens)
        if chunk.called or (self.is_shaped and chunk.text):  # a grammar shapes calls too
            self._tail = PeriodicTail()
        fence = self._thoughts if chunk.reasoning else self.fence
        fence.add(chunk.reasoning or chunk.text)
        return not fence.is_open and self._tail.is_runaway()


def _symbols(chunk: Chunk) -> Iterable[tuple[Hashable, int]]:
    """The tokens of a piece; the whole piece as one symbol where the engine does not report each of them."""
    if chunk.tokens and not chunk.unreported:
        return [(token, 1) for token in chunk.tokens]
    count = len(chunk.tokens) + chunk.unreported
    is_said = bool(chunk.text or chunk.reasoning)
    if not count and not is_said:
        return ()
    return [((chunk.tokens, chunk.text, chunk.reasoning), max(1, count))]


async def guarded(pieces: Pieces, request: CompletionRequest) -> Pieces:
    """The answers of `pieces` without what a runaway one repeats. Closes `pieces` once no answer goes on."""
    answers = GuardedAnswers(request)
    async with aclosing(pieces):
        async for piece in pieces:
            if isinstance(piece, Truncation):
                yield piece
            elif passed := [chunk for chunk in piece if answers.passes(chunk)]:
                yield [*passed[:-1], answers.with_ended(passed[-1])] if passed[-1].finish else passed
            if answers.all_ended:
                break
        else:
            return
    yield [answers.last()]


class GuardedAnswers:
    """All answers to a request, each with its guard."""

    def __init__(self, request: CompletionRequest) -> None:
        self._count = request.n
        self._guards = [RunawayGuard(_begun_fence(request), request.schema is not None) for _ in range(request.n)]
        self._used: list[Callable[[], Usage] | None] = [None] * request.n
        self._ended = set[int]()

    @property
    def all_ended(self) -> bool:
        return len(self._ended) == self._count

    def passes(self, chunk: Chunk) -> bool:
        """Whether the chunk belongs to an answer that had not run away before it."""
        if chunk.finish is not None:
            return not self.all_ended
        if chunk.index in self._ended:
            return False
        self._used[chunk.index] = chunk.used or self._used[chunk.index]
        if self._guards[chunk.index].add(chunk):
            self._ended.add(chunk.index)
        return True

    def with_ended(self, last: Chunk) -> Chunk:
        """The end of several answers, of which some had run away."""
        if not self._ended:
            return last
        ends = [Finish.LENGTH if index in self._ended else finish for index, finish in enumerate(last.finishes)]
        return replace(last, finish=ends[0], finishes=tuple(ends), ended_by=RUNAWAY)

    def last(self) -> Chunk:
        """The end that no engine sent, with what the answers took, which it would have reported."""
        usages = [used() if used else NO_USAGE for used in self._used]
        counts = zip(usages, self._guards, strict=True)
        tokens = sum(usage.completion_tokens or guard.tokens for usage, guard in counts)
        usage = replace(usages[0], completion_tokens=tokens)
        return Chunk(finish=Finish.LENGTH, finishes=(Finish.LENGTH,) * self._count, usage=usage, ended_by=RUNAWAY)


def _begun_fence(request: CompletionRequest) -> CodeFence:
    """Where in a code block the answer begins: it may continue a text."""
    fence = CodeFence()
    match request.prompt:
        case str(text):
            fence.add(text)
        case Tokens(parts):
            fence.add("".join(part for part in parts if isinstance(part, str)))
        case _:
            fence.add(begun(request))
    return fence
