"""Words in texts that templates act on, quoted so that they do not."""

import re
from dataclasses import replace

from oprel.core.completion import PromptMessage
from oprel.runtime.conversation.traits import TemplateTraits

INVISIBLE = "\u200b"
THINK_BEGIN, THINK_END = "<think>", "</think>"
SWITCH = re.compile(r"/(?=(?:no_?)?think\b)")


def uncut(message: PromptMessage, traits: TemplateTraits) -> PromptMessage:
    """The message with an invisible character in the words that the template would cut it at."""
    text = message.content
    if traits.cuts_at_think_end and message.role == "assistant":
        text = _with_quoted_ends(text)
    if traits.cuts_switches and message.role != "assistant":
        text = _with_quoted_switches(text)
    return message if text == message.content else replace(message, content=text)


def _with_quoted_ends(text: str) -> str:
    """Without any end of thoughts but that of the thoughts that the text begins with."""
    head, end, rest = text.partition(THINK_END) if text.lstrip().startswith(THINK_BEGIN) else ("", "", text)
    return head + end + rest.replace(THINK_END, f"<{INVISIBLE}/think>")


def _with_quoted_switches(text: str) -> str:
    """A switch at the beginning or end of a text is meant as one.

    >>> _with_quoted_switches("what does /no_think do? /no_think").count("\u200b")
    1
    """

    def quoted(match: re.Match[str]) -> str:
        before, behind = text[: match.start()].strip(), text[match.end() :].lstrip("_nothik").strip()
        return f"/{INVISIBLE}" if before and behind else "/"

    return SWITCH.sub(quoted, text)
