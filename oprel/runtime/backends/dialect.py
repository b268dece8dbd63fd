"""How an engine that speaks another dialect of OpenAI's is made to speak llama-server's, which the daemon knows.

A dialect translates plain JSON: what is asked, each event of a stream, and whole answers. It stands between the
daemon's HTTP client and the engine (`translating`), so that nothing above knows which engine it is.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pydantic import JsonValue

from oprel.core.request_options import SAMPLING_OPTIONS

Json = dict[str, JsonValue]

MODEL = "oprel"
"""What engines that want a name are told to call their model, and are asked for."""


class Dead(Exception):
    """The engine says that it cannot go on: it is to be replaced."""


class Unknown(Exception):
    """The engine has nothing of the kind."""


@dataclass(frozen=True)
class Call:
    """A request: the engine's own path, and what is sent."""

    path: str
    body: Json


class Dialect:
    """OpenAI's own. Engines override what they do otherwise; all of it is pure.

    `renamed` are llama-server's names of parameters -> the engine's, None for those that it does not have.
    `says_done`: a stream ends in `[DONE]`; else in the piece that has a `finish_reason`. `fills_context`: an answer of
    which no length is asked goes on until the context is full, and one for which that is too long is refused.
    `told_text`: what the text of tokens is called. `too_long` finds in an error that the prompt does not fit, and how
    many tokens it has.
    """

    renamed: Mapping[str, str | None] = {
        "return_progress": None,
        "post_sampling_probs": None,
        **{option.engine_name: None for option in SAMPLING_OPTIONS if not option.in_openai},
    }
    says_done = True
    fills_context = False
    told_text = "content"
    too_long: re.Pattern[str] | None = None

    def completion(self, path: str, body: Json) -> Call:
        """What is sent for an answer, streamed."""
        if body.get("post_sampling_probs"):  # asked for tokens, not for their probabilities
            body = {name: value for name, value in body.items() if name not in ("logprobs", "top_logprobs")}
        named = ((self.renamed.get(name, name), value) for name, value in body.items())
        return Call(path, {"model": MODEL, **{name: value for name, value in named if name}})

    def event(self, event: Json) -> Json:
        """One event of the stream. Raises Dead."""
        for choice in choices(event):
            _rename_reasoning(choice)
            _list_logprobs(choice)
        return event

    def tokenize(self, body: Json) -> Call:
        """For `{content, add_special, parse_special}`. Raises Unknown."""
        raise Unknown("tokenize")

    def tokens(self, reply: JsonValue) -> JsonValue:
        """Of the answer to that."""
        return reply.get("tokens", []) if isinstance(reply, dict) else []

    def detokenize(self, body: Json) -> Call:
        """For `{tokens}`. Raises Unknown."""
        raise Unknown("detokenize")

    def text(self, reply: JsonValue) -> JsonValue:
        """Of the answer to that."""
        return reply.get(self.told_text, "") if isinstance(reply, dict) else ""

    def template(self, body: Json) -> Call:
        """For a chat, of which the prompt's tokens are wanted. Raises Unknown."""
        raise Unknown("apply a chat template")

    def other(self, path: str, body: Json) -> Call:
        """Vectors and scores, which all of them have alike."""
        return Call(path, {"model": MODEL, **body})

    def error(self, status: int, error: Json) -> Json:
        """What an error says, under llama-server's names. Raises Dead."""
        if self.too_long and (length := self.too_long.search(str(error.get("message")))):
            return {**error, "type": "exceed_context_size_error", "n_prompt_tokens": int(length[1])}
        return error


def choices(event: Json) -> Iterator[Json]:
    found = event.get("choices")
    return (one for one in found if isinstance(one, dict)) if isinstance(found, list) else iter(())


def _rename_reasoning(choice: Json) -> None:
    """Thoughts under the name that llama-server has for them."""
    delta = choice.get("delta")
    if isinstance(delta, dict) and "reasoning" in delta:
        delta["reasoning_content"] = delta.pop("reasoning")


def _list_logprobs(choice: Json) -> None:
    """Columns of logprobs, which /v1/completions has, as the list that chats have."""
    logprobs = choice.get("logprobs")
    if isinstance(logprobs, dict) and "content" not in logprobs:
        columns = [logprobs.get(name) for name in ("tokens", "token_logprobs", "top_logprobs")]
        tokens, chosen, others = (column if isinstance(column, list) else [] for column in columns)
        choice["logprobs"] = {
            "content": [
                {"token": token, "logprob": value, "top_logprobs": _top(other)}
                for token, value, other in zip(tokens, chosen, others or [None] * len(tokens), strict=False)
            ]
        }


def _top(found: JsonValue) -> list[JsonValue]:
    return [{"token": token, "logprob": value} for token, value in found.items()] if isinstance(found, dict) else []
