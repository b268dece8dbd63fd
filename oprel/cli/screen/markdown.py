"""Styles streamed Markdown for a terminal.

Headings, bullets, **bold**, *italic*, `code`, fenced code and tables. A marker is held back until its closing marker
arrives, or for LONGEST_WAIT characters; then it is shown literally. Text once shown never changes.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

BOLD, DIM, ITALIC, CODE = "\x1b[1m", "\x1b[2m", "\x1b[3m", "\x1b[36m"
LONGEST_WAIT = 80  # characters that a marker is held back for

# The beginning of a line that may still become a marker.
_UNCLEAR = re.compile(r" *(#{0,6}|`+|~+|[-*+]|\d{1,3}[.)]?)")
_FENCE = re.compile(r" *(`{3,}|~{3,})")
_HEADING = re.compile(r"#{1,6} ")
_BULLET = re.compile(r"( *)[-*+] ")
_NUMBER = re.compile(r" *\d{1,3}[.)] ")
_TABLE = re.compile(r" *\|")

_PLAIN = re.compile(r"[^`*\n]+")
_MARKER = re.compile(r"`+|\*+")
_STYLED = re.compile(
    r"(?P<ticks>`+)(?!`)(?P<code>.+?)(?<!`)(?P=ticks)(?!`)"
    r"|(?<!\w)\*\*(?=[^\s*])(?P<bold>.+?)(?<=\S)\*\*(?![*\w])"
    r"|(?<!\w)\*(?=[^\s*])(?P<italic>[^*\n]+)(?<=\S)\*(?![*\w])"
)


@dataclass(frozen=True)
class Span:
    """Text in one style. `wraps`: its lines may be wrapped; `indent`: the indent of the lines after it, in columns."""

    text: str
    style: str = ""
    wraps: bool = True
    indent: int = 0


class Markdown:
    def __init__(self) -> None:
        self._waiting = ""
        self._ended = False
        self._fence = ""  # the fence of the current code block
        self._previous = ""  # the last character shown
        self._begin_line()

    def feed(self, text: str) -> Iterator[Span]:
        """Add text; yield what is final."""
        self._waiting += text
        while self._waiting:
            spans = self._line_start() if self._at_start else self._inside_line()
            if spans is None:
                return
            for span in spans:
                if span.text:
                    self._previous = span.text[-1]
                    yield span

    def end(self) -> Iterator[Span]:
        """Yield the text held back."""
        self._ended = True
        yield from self.feed("")

    def _begin_line(self) -> None:
        self._at_start = True
        self._style = ""
        self._wraps = not self._fence

    def _take(self, length: int) -> str:
        text, self._waiting = self._waiting[:length], self._waiting[length:]
        return text

    def _line_start(self) -> list[Span] | None:
        text = self._waiting
        if _UNCLEAR.fullmatch(text) and not self._ended:
            return None
        self._at_start = False
        if fence := _FENCE.match(text):
            self._begin_or_end_code(fence[1])
        elif self._fence:
            self._style = CODE
        elif heading := _HEADING.match(text):
            self._style = BOLD
            self._take(heading.end())
        elif bullet := _BULLET.match(text):
            self._take(bullet.end())
            return [Span(f"{bullet[1]}• ", indent=len(bullet[1]) + 2)]
        elif number := _NUMBER.match(text):
            return [Span(self._take(number.end()), indent=number.end())]
        else:
            self._wraps = not _TABLE.match(text)
        return []

    def _begin_or_end_code(self, fence: str) -> None:
        """Handle a line that opens or closes a code block."""
        self._wraps = False
        if not self._fence:
            self._fence, self._style = fence, DIM
        elif fence.startswith(self._fence):
            self._fence, self._style = "", DIM
        else:
            self._style = CODE

    def _inside_line(self) -> list[Span] | None:
        if self._waiting[0] == "\n":
            wraps = self._wraps
            self._begin_line()
            return [Span(self._take(1), wraps=wraps)]
        if not self._wraps:
            line = self._waiting.split("\n", 1)[0]
            return [Span(self._take(len(line)), self._style, wraps=False)]
        if plain := _PLAIN.match(self._waiting):
            return [Span(self._take(plain.end()), self._style)]
        return self._marked()

    def _marked(self) -> list[Span] | None:
        """Spans of text that begins with a marker; None while it waits for the closing one."""
        text = self._previous + self._waiting  # the patterns look at the character before
        match = _STYLED.match(text, len(self._previous))
        if match and (match.end() < len(text) or self._ended):
            self._take(match.end() - len(self._previous))
            return _spans(match, self._style)
        if not self._ended and "\n" not in self._waiting and len(self._waiting) <= LONGEST_WAIT:
            return None
        marker = _MARKER.match(self._waiting)
        return [Span(self._take(marker.end() if marker else 1), self._style)]


def _inline(text: str, style: str) -> list[Span]:
    """Spans of complete text within a line."""
    spans, at = list[Span](), 0
    for match in _STYLED.finditer(text):
        spans += [Span(text[at : match.start()], style), *_spans(match, style)]
        at = match.end()
    return [*spans, Span(text[at:], style)]


def _spans(match: re.Match[str], style: str) -> list[Span]:
    if match["code"]:
        return [Span(match["code"], style + CODE)]
    return _inline(match["bold"], style + BOLD) if match["bold"] else _inline(match["italic"], style + ITALIC)
