"""Three API dialects in which to request and read the same streamed answer. Pure."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Event = Mapping[str, Any]

# The prompt to which guide gives its longest answer.
PROMPT = "Write the numbers from one to one hundred."
BODY = {"stream": True, "messages": [{"role": "user", "content": PROMPT}]}


@dataclass(frozen=True)
class TestedDialect:
    """`text_of` returns the text of an event; the last line of a complete answer contains `last`."""

    name: str
    path: str
    fields: Mapping[str, object]
    text_of: Callable[[Event], str]
    last: str

    def body(self, model: str) -> dict[str, object]:
        return {"model": model, **BODY, **self.fields}

    def text(self, line: str) -> str:
        """The text that a line of the stream adds to the answer."""
        data = line.removeprefix("data: ")
        return self.text_of(json.loads(data)) if data.startswith("{") else ""


def _openai(event: Event) -> str:
    choices = event.get("choices")
    return (choices[0]["delta"].get("content") or "") if choices else ""


NATIVE = TestedDialect(
    "native",
    "/api/chat",
    {"think": False, "options": {"temperature": 0}},
    lambda event: str(event.get("message", {}).get("content", "")),
    '"done":true',
)
OPENAI = TestedDialect(
    "OpenAI", "/v1/chat/completions", {"temperature": 0, "reasoning_effort": "none"}, _openai, "data: [DONE]"
)
ANTHROPIC = TestedDialect(
    "Anthropic",
    "/v1/messages",
    {"temperature": 0, "max_tokens": 200, "thinking": {"type": "disabled"}},
    lambda event: str(event.get("delta", {}).get("text", "")),
    "message_stop",
)
