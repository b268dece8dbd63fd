"""Three ways to ask for the same streamed answer, and to read it. Pure."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Event = Mapping[str, Any]

# Of what guide is asked, this makes it say most.
QUESTION = "Write the numbers from one to one hundred."
BODY = {"stream": True, "messages": [{"role": "user", "content": QUESTION}]}


@dataclass(frozen=True)
class TestedDialect:
    """`said` gives the text of an event; the last line of a whole answer has `last` in it."""

    name: str
    path: str
    fields: Mapping[str, object]
    said: Callable[[Event], str]
    last: str

    def body(self, model: str) -> dict[str, object]:
        return {"model": model, **BODY, **self.fields}

    def text(self, line: str) -> str:
        """What a line of the stream adds to the answer."""
        data = line.removeprefix("data: ")
        return self.said(json.loads(data)) if data.startswith("{") else ""


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
