"""An answer that breaks its template's form, and that the engine refuses to parse: it is made again as plain text.

The prompt is rendered and completed with the same seed, without a parser. What the client has already is left out.
"""

import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from os.path import commonprefix

from oprel.core.completion import Chunk, CompletionRequest
from oprel.runtime.engine import AnswerUnparsed, EngineRefused
from oprel.server.inference.structured_output.answers import Pieces
from oprel.server.inference.truncation import Truncation, image_count

logger = logging.getLogger(__name__)


@dataclass
class SentText:
    """What was sent of one answer: each run of text or thoughts. `rest` finds what follows it in the same answer."""

    runs: list[list[str]] = field(default_factory=list)
    _is_thought: bool = False
    _unmatched: str = ""
    _blanks: str = ""  # at the end of the last run: parsers trim, so that they may not be in the plain text

    def add(self, chunk: Chunk) -> None:
        for text, is_thought in ((chunk.reasoning, True), (chunk.text, False)):
            if text and self.runs and self._is_thought is is_thought:
                self.runs[-1].append(text)
            elif text:
                self.runs.append([text])
                self._is_thought = is_thought

    def rest(self, text: str) -> str:
        """What a piece of the plain text adds to what was sent."""
        self._unmatched += text
        while self.runs:
            run = "".join(self.runs[0])
            self.runs[0] = [run]
            at = self._unmatched.find(run.strip())
            if at < 0:
                return ""
            self._unmatched = self._unmatched[at + len(run.strip()) :]
            self._blanks = run[len(run.rstrip()) :]
            del self.runs[0]
        sent = len(commonprefix((self._unmatched, self._blanks)))
        rest, self._unmatched = self._unmatched[sent:], ""
        self._blanks = "" if rest else self._blanks[sent:]
        return rest


async def with_unparsed(
    request: CompletionRequest,
    ask: Callable[[CompletionRequest], Pieces],
    render: Callable[[], Awaitable[str]],
) -> Pieces:
    """The answer as `ask` gets it, or as plain text from where the parser failed. `render` makes the prompt's text."""
    sent = defaultdict[int, SentText](SentText)
    try:
        async with aclosing(ask(request)) as pieces:
            async for piece in pieces:
                if not isinstance(piece, Truncation):
                    for chunk in piece:
                        sent[chunk.index].add(chunk)
                yield piece
        return
    except AnswerUnparsed as error:
        reason, plain = error.message, await _as_text(request, render, error)
    logger.warning("an answer is sent as the model wrote it: %s", reason)
    async with aclosing(ask(plain)) as pieces:
        async for piece in pieces:
            if isinstance(piece, Truncation):
                yield piece
            elif passed := [rest for chunk in piece if (rest := _rest(chunk, sent[chunk.index], reason))]:
                yield passed


def _rest(chunk: Chunk, sent: SentText, reason: str) -> Chunk | None:
    """What a chunk of the plain text adds to what was sent."""
    if chunk.finish:
        return replace(chunk, unparsed=reason)
    rest = sent.rest(chunk.text)
    return replace(chunk, text=rest, event=b"") if rest else None


async def _as_text(
    request: CompletionRequest, render: Callable[[], Awaitable[str]], error: AnswerUnparsed
) -> CompletionRequest:
    """The request for plain text. Raises the error where that cannot be made: images have no place in a text."""
    if not isinstance(request.prompt, tuple) or image_count(request):
        raise error
    try:
        prompt = await render()
    except EngineRefused as refusal:
        raise error from refusal
    is_plain = request.n == 1 and not request.schema
    return replace(request, prompt=prompt, tools=(), tool_choice=None, think=False, tell_tokens=is_plain)
