"""Thoughts that an engine has left in the text of an answer, because it does not know the marks around them."""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from enum import Enum, auto

from oprel.core.completion import Chunk
from oprel.formats.templates.thinking import Marks
from oprel.server.inference.structured_output.answers import Pieces
from oprel.server.inference.truncation import Truncation


class Place(Enum):
    """Where in an answer its text has come to."""

    BEGINNING = auto()
    THOUGHT = auto()
    BEHIND_THOUGHT = auto()
    ANSWER = auto()


@dataclass
class ThoughtSplitter:
    """Splits the text of one answer, which may begin with a thought. Text that may be part of a mark is held back."""

    marks: Sequence[Marks]
    place: Place = Place.BEGINNING
    _held: str = ""

    def open(self, marks: Marks) -> None:
        """The prompt has opened the thought."""
        self.marks, self.place = (marks,), Place.THOUGHT

    def leave(self) -> None:
        """The engine has sent the thought, but not the mark behind it, and sends plain text from here on."""
        marks = self.marks[0]
        self.marks, self.place = (replace(marks, before_answer=marks.closes),), Place.BEHIND_THOUGHT

    def add(self, text: str) -> tuple[str, str]:
        """What the text adds to the thoughts and to the answer."""
        self._held += text
        thought = ""
        if self.place is Place.BEGINNING:
            self._begin()
        if self.place is Place.THOUGHT:
            thought = self._think()
        if self.place is Place.BEHIND_THOUGHT:
            self._leave()
        return thought, self._all() if self.place is Place.ANSWER else ""

    def finish(self) -> tuple[str, str]:
        """What is held back at the end."""
        match self.place:
            case Place.THOUGHT:
                return self._all(), ""
            case Place.BEHIND_THOUGHT:
                return "", self._all().lstrip()
        return "", self._all()

    def _begin(self) -> None:
        text = self._held.lstrip()
        if opened := next((marks for marks in self.marks if text.startswith(marks.opens)), None):
            self.open(opened)
            self._held = text.removeprefix(opened.opens)
        elif not any(marks.opens.startswith(text) for marks in self.marks):
            self.place = Place.ANSWER

    def _think(self) -> str:
        closes = self.marks[0].closes
        thought, closed, rest = self._held.partition(closes)
        if closed:
            self.place, self._held = Place.BEHIND_THOUGHT, rest
            return thought
        most = min(len(closes) - 1, len(thought))
        kept = next((size for size in range(most, 0, -1) if closes.startswith(thought[-size:])), 0)
        self._held = thought[len(thought) - kept :]
        return thought[: len(thought) - kept]

    def _leave(self) -> None:
        text, before = self._held.lstrip(), self.marks[0].before_answer
        if text.startswith(before) and (before or text):
            self.place, self._held = Place.ANSWER, text.removeprefix(before)
        elif not before.startswith(text):
            self.place, self._held = Place.ANSWER, text

    def _all(self) -> str:
        text, self._held = self._held, ""
        return text


@dataclass
class AnswerThoughts:
    """The thoughts of all answers to a request. `opened` tells the marks of a thought that the prompt opens."""

    marks: Sequence[Marks]
    opened: Callable[[], Awaitable[Marks | None]]
    _splitters: dict[int, ThoughtSplitter] = field(default_factory=dict)
    _within: set[int] = field(default_factory=set)  # answers of which the engine sent a thought last

    async def split(self, chunk: Chunk) -> Chunk:
        """The chunk with thoughts as such."""
        if chunk.index not in self._splitters and (chunk.text or chunk.reasoning):
            self._splitters[chunk.index] = await self._begun(chunk)
        if chunk.reasoning:
            self._within.add(chunk.index)
        if not chunk.text:
            return chunk
        if chunk.index in self._within and not chunk.event and self.marks:
            self._splitters[chunk.index].leave()
        self._within.discard(chunk.index)
        thought, text = self._splitters[chunk.index].add(chunk.text)
        if text == chunk.text:
            return chunk
        return replace(chunk, text=text, reasoning=chunk.reasoning + thought, event=b"")

    def finish(self) -> Iterator[Chunk]:
        for index, splitter in self._splitters.items():
            thought, text = splitter.finish()
            if thought or text:
                yield Chunk(text, thought, index=index)

    async def _begun(self, first: Chunk) -> ThoughtSplitter:
        splitter = ThoughtSplitter(self.marks)
        if first.reasoning:  # the engine splits them
            splitter.place = Place.ANSWER
        elif marks := await self.opened():
            splitter.open(marks)
        return splitter


async def with_thoughts(pieces: Pieces, thoughts: AnswerThoughts) -> Pieces:
    """The pieces of an answer with its thoughts as such, also where the engine does not know them."""
    async with aclosing(pieces):
        async for piece in pieces:
            if isinstance(piece, Truncation):
                yield piece
                continue
            split: list[Chunk] = []
            for chunk in piece:
                split += [*thoughts.finish(), chunk] if chunk.finish else [await thoughts.split(chunk)]
            yield split


def opened_marks(prompt: str, marks: Sequence[Marks]) -> Marks | None:
    """The marks of the thought that a rendered prompt ends with the opening of."""
    return next((pair for pair in marks if prompt.rstrip().endswith(pair.opens.rstrip())), None)
