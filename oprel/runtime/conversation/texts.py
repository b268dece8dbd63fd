"""Words in texts that templates act on, quoted so that they do not."""

import re
from collections.abc import Sequence
from dataclasses import replace

from oprel.core.completion import PromptMessage
from oprel.runtime.conversation.traits import TemplateTraits

INVISIBLE = "\u200b"
THINK_BEGIN, THINK_END = "<think>", "</think>"
SWITCH = re.compile(r"/(?:no_?)?think\b")


def uncut(message: PromptMessage, traits: TemplateTraits) -> PromptMessage:
    """The message with an invisible character in the words that the template would cut it at."""
    text = message.content
    if message.role in traits.cuts_at_think_end:
        text = _with_quoted_ends(text)
    if message.role in ("user", "system"):
        doubled = traits.user_switches if message.role == "user" else traits.system_switches
        text = _with_kept_switches(text, doubled, quotes=traits.quotes_switches)
    return message if text == message.content else replace(message, content=text)


def _with_quoted_ends(text: str) -> str:
    """Without any end of thoughts but that of the thoughts that the text begins with."""
    head, end, rest = text.partition(THINK_END) if text.lstrip().startswith(THINK_BEGIN) else ("", "", text)
    return head + end + rest.replace(THINK_END, f"<{INVISIBLE}/think>")


def _with_kept_switches(text: str, doubled: Sequence[str], *, quotes: bool) -> str:
    """A switch at the beginning or end of a text is meant as one.

    >>> _with_kept_switches("what does /think do? /think", ["/think"], quotes=False)
    'what does /th/thinkink do? /think'
    """

    def kept(match: re.Match[str]) -> str:
        word = match[0]
        if not (text[: match.start()].strip() and text[match.end() :].strip()):
            return word
        if word in doubled:
            return f"{word[:3]}{word}{word[3:]}"
        return f"/{INVISIBLE}{word[1:]}" if quotes else word

    return SWITCH.sub(kept, text)
