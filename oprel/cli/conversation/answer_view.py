"""Shows an answer while it streams: wrapped and styled as Markdown at a terminal, unchanged elsewhere."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from oprel.cli.screen import render
from oprel.core.configuration.environment import is_dumb_terminal, wants_colour
from oprel.utils.text import CONTROLS

if TYPE_CHECKING:
    from oprel.api_models import AnswerMetrics
    from oprel.cli.screen.markdown import Span

DIM = "\x1b[2m"


@dataclass(frozen=True)
class Look:
    """How answers look. `columns` is the terminal's width, 0 when the output is not a terminal.

    `is_dumb`: the terminal cannot move its cursor, and knows no styles.
    """

    columns: int = 0
    wordwrap: bool = True
    thinking: bool = True
    is_dumb: bool = False


class AnswerView:
    """Shows the pieces of one answer; `text` is the answer so far, without its thinking."""

    def __init__(self, look: Look) -> None:
        self.text = ""
        self._look = look
        self._is_thinking = False
        self._screen = (_DumbScreen(look) if look.is_dumb else _Screen(look)) if look.columns else None

    def add(self, text: str, thinking: str | None) -> None:
        if thinking and self._look.thinking:
            self._think(thinking)
        if text:
            self._end_thinking()
            self.text += text
            if self._screen:
                render.controlling(self._screen.answer(text))
            else:
                render.data(text)

    def end(self) -> None:
        """Show what was held back."""
        self._end_thinking()
        if self._screen:
            render.controlling(self._screen.end())

    def _think(self, text: str) -> None:
        """Show thinking; when the answer goes to a file or pipe, on standard error, and only if that is a terminal."""
        if self._screen:
            begin = "" if self._is_thinking else f"{self._screen.dim('Thinking...')}\n"
            render.controlling(begin + self._screen.thought(text))
        elif render.has_watcher():
            render.aside(text if self._is_thinking else f"Thinking...\n{text}")
        self._is_thinking = True

    def _end_thinking(self) -> None:
        if not self._is_thinking:
            return
        self._is_thinking = False
        if self._screen:
            render.controlling(f"{self._screen.new_line()}{self._screen.dim('...done thinking.')}\n\n")
        elif render.has_watcher():
            render.aside("\n...done thinking.\n\n")


class _Screen:
    """Turns the pieces of an answer into terminal output."""

    def __init__(self, look: Look) -> None:
        from oprel.cli.screen.markdown import CODE, Markdown
        from oprel.cli.screen.wrap import NO_LIMIT, Wrapper

        self._unwanted = "" if wants_colour() else CODE  # the one style that is a colour
        self._wrapper = Wrapper(look.columns if look.wordwrap else NO_LIMIT)
        self._markdown = Markdown()

    def answer(self, text: str) -> str:
        return self._written(self._markdown.feed(_spoken(text)))

    def thought(self, text: str) -> str:
        return self._wrapper.feed(_spoken(text), DIM)

    def end(self) -> str:
        return self._written(self._markdown.end())

    def new_line(self) -> str:
        return self._wrapper.feed("\n") if self._wrapper.column else ""

    def dim(self, text: str) -> str:
        return f"{DIM}{text}\x1b[0m"

    def _written(self, spans: "Iterable[Span]") -> str:
        written = ""
        for span in spans:
            write = self._wrapper.feed if span.wraps else self._wrapper.verbatim
            written += write(span.text, span.style.replace(self._unwanted, ""))
            self._wrapper.indent = span.indent or self._wrapper.indent
        return written


def _spoken(text: str) -> str:
    """The text of an answer, without what controls the terminal or the order of its characters."""
    return CONTROLS.sub("", text)


class _DumbScreen:
    """Turns the pieces of an answer into lines: a word is written once it is whole, as none can be erased."""

    def __init__(self, look: Look) -> None:
        from oprel.cli.screen.wrap import NO_LIMIT, Wrapper

        self._width = look.columns if look.wordwrap else NO_LIMIT
        self._wrapper = Wrapper(self._width)
        self._word = ""

    def answer(self, text: str) -> str:
        *words, self._word = re.split(r"(?<=\s)|(?=\s)", self._word + _spoken(text))
        return "".join(map(self._placed, words))

    thought = answer

    def end(self) -> str:
        word, self._word = self._word, ""
        return self._placed(word)

    def new_line(self) -> str:
        return self.end() + (self._wrapper.feed("\n") if self._wrapper.column else "")

    def dim(self, text: str) -> str:
        return text

    def _placed(self, word: str) -> str:
        return self._wrapper.verbatim(word) if len(word) >= self._width else self._wrapper.feed(word)


def look(wordwrap: bool, thinking: bool) -> Look:
    """How answers look at this program's terminal."""
    return Look(render.terminal_width(), wordwrap, thinking, is_dumb_terminal())


def print_notes(done: "AnswerMetrics", verbose: bool) -> None:
    """Print what is missing from the answer or the prompt and, when `verbose`, counts and times."""
    for sentence in filter(None, (left_out(done), cut_short(done))):
        render.note(sentence)
    if verbose:
        render.note(figures(done))


def cut_short(done: "AnswerMetrics") -> str:
    """Why the answer is incomplete, as a sentence; empty when it is complete."""
    if done.done_reason != "length":
        return ""
    tokens = done.eval_count or 0
    match done.ended_by:
        case "runaway_guard":
            why = "the answer repeated itself; the option `runaway_guard` turns this check off"
        case "num_predict":
            why = f"the answer reached num_predict, {tokens} tokens; -1 is no limit"
        case "context":
            why = f"prompt and answer fill the context, {(done.prompt_eval_count or 0) + tokens} tokens; see num_ctx"
        case _:  # a daemon that does not say which
            why = "the answer reached num_predict, or filled the context of num_ctx tokens"
    return f"(cut short: {why})"


def figures(done: "AnswerMetrics") -> str:
    """The counts and times of an answer, in the format of Ollama."""
    facts = {
        "total duration": _duration(done.total_duration),
        "load duration": _duration(done.load_duration),
        "prompt eval count": _tokens(done.prompt_eval_count),
        "prompt eval duration": _duration(done.prompt_eval_duration),
        "prompt eval rate": _rate(done.prompt_eval_count, done.prompt_eval_duration),
        "eval count": _tokens(done.eval_count),
        "eval duration": _duration(done.eval_duration),
        "eval rate": _rate(done.eval_count, done.eval_duration),
        "engine crashes": str(done.recoveries or ""),
    }
    return "\n".join(f"{name + ':':21} {value}" for name, value in facts.items() if value)


def left_out(done: "AnswerMetrics") -> str:
    """What the model did not see of an over-long prompt, as a sentence; empty when it saw everything."""
    cut = done.truncated
    if cut is None:
        return ""
    parts = [f"{cut.messages} earlier messages" if cut.messages != 1 else "an earlier message"] if cut.messages else []
    parts += [f"{cut.tokens} tokens of the last one"] if cut.tokens else []
    parts += ["its oldest tokens while it answered"] if cut.shifted else []
    return f"(too long for the context: the model did not see {' and '.join(parts)})" if parts else ""


def _duration(nanoseconds: int | None) -> str:
    """
    >>> _duration(4_648_000_000), _duration(130_079_000), _duration(None)
    ('4.648s', '130.079ms', '')
    """
    if not nanoseconds:
        return ""
    return f"{nanoseconds / 1e9:.3f}s" if nanoseconds >= 10**9 else f"{nanoseconds / 1e6:.3f}ms"


def _tokens(count: int | None) -> str:
    return f"{count} token(s)" if count else ""


def _rate(count: int | None, nanoseconds: int | None) -> str:
    return f"{count / nanoseconds * 1e9:.2f} tokens/s" if count and nanoseconds else ""
