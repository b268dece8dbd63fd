"""Wraps streamed words at a terminal's width."""

import re

from rich.cells import cell_len

RESET = "\x1b[0m"
NO_LIMIT = 10**9  # columns

# Lines may break before and after each of these Chinese, Japanese and Korean characters, except before closing ones.
_CJK = (
    r"\u1100-\u115f\u2e80-\u303e\u3041-\ua4cf\ua960-\ua97c\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff01-\uff60\uffe0-\uffe6"
    r"\U00020000-\U0003fffd"
)
_CLOSING = "、。，．：；！？）］｝」』】》〉"
_TOKEN = re.compile(rf"\n|[ \t]+|[{_CJK}]|[^\s{_CJK}]+|.")
_IS_CJK = re.compile(f"[{_CJK}]")


class Wrapper:
    """Keeps words whole: a word that outgrows its line is erased there and moved to the next line.

    `indent` is the indent of continuation lines, in columns.
    """

    def __init__(self, width: int) -> None:
        self._limit = width - 1  # the last column stays free: beyond it the cursor cannot be moved back reliably
        self.column = 0
        self.indent = 0
        self._begin_word()

    def feed(self, text: str, style: str = "") -> str:
        """The output for `text`; `style` is an escape sequence."""
        written = "".join(self._token(match[0], style) for match in _TOKEN.finditer(text))
        return written.replace(f"{RESET}{style}", "") if style else written

    def verbatim(self, text: str, style: str = "") -> str:
        """The output for text that keeps its lines, such as code."""
        self._begin_word()
        self.column = 0 if text.endswith("\n") else min(self._limit, self.column + cell_len(text))
        return styled(text, style)

    def _begin_word(self) -> None:
        self._word = ""  # the part of the last word on this line, with its style
        self._word_width = 0
        self._may_break = False

    def _token(self, token: str, style: str) -> str:
        if token == "\n":
            self.column = self.indent = 0
            self._begin_word()
            return token
        if token.isspace():
            return self._space(token, style)
        is_cjk = _IS_CJK.match(token) is not None
        if (is_cjk or self._may_break) and token[0] not in _CLOSING:
            self._begin_word()
        written = self._part_of_word(token, style)
        self._may_break = is_cjk
        return written

    def _space(self, token: str, style: str) -> str:
        self._begin_word()
        blanks = token.expandtabs(4)[: self._limit - self.column]  # blanks beyond the end of the line are dropped
        self.column += len(blanks)
        return styled(blanks, style)

    def _part_of_word(self, token: str, style: str) -> str:
        width = cell_len(token)
        if self.column + width <= self._limit:
            return self._place(token, width, style)
        if self.indent + self._word_width + width <= self._limit:
            back = f"\x1b[{self._word_width}D\x1b[K" if self._word else ""
            written = f"{back}\n{' ' * self.indent}{self._word}"
            self.column = self.indent + self._word_width
            return written + self._place(token, width, style)
        if len(token) > 1:  # longer than a line: place it character by character
            return "".join(self._part_of_word(char, style) for char in token)
        self.column = 0
        self._begin_word()
        return "\n" + self._place(token, width, style)

    def _place(self, token: str, width: int, style: str) -> str:
        written = styled(token, style)
        self.column += width
        self._word += written
        self._word_width += width
        return written


def styled(text: str, style: str) -> str:
    return f"{style}{text}{RESET}" if style and text else text
