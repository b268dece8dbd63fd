"""What is known of a request when it ends: for the log of requests, and the limits of keys."""

from collections.abc import Awaitable
from contextvars import ContextVar
from dataclasses import dataclass

from starlette.types import Message, Send

CURRENT: ContextVar["RequestRecord | None"] = ContextVar("oprel.request", default=None)


@dataclass
class RequestRecord:
    """`model`: the name in the request until the model is found. Tokens are those of prompts and answers."""

    model: str = ""
    status: int = 0
    prompt_tokens: int = 0
    answer_tokens: int = 0

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.answer_tokens

    def noting_status(self, send: Send) -> Send:
        """`send`, which notes the status here. No coroutine of its own: it is on the way of each token."""

        def noting(message: Message) -> Awaitable[None]:
            if message["type"] == "http.response.start":
                self.status = message["status"]
            return send(message)

        return noting


def note_model(name: str) -> None:
    """The current request is about this model."""
    if record := CURRENT.get():
        record.model = name


def note_tokens(prompt: int, answer: int) -> None:
    """The current request took these tokens too."""
    if record := CURRENT.get():
        record.prompt_tokens += prompt
        record.answer_tokens += answer
