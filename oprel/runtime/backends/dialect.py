"""Translates between llama-server's dialect of OpenAI's API, which the daemon speaks, and another engine's dialect.

A dialect translates plain JSON: requests, each event of a stream, and whole answers. The transport in `translating`
applies it between the daemon's HTTP client and the engine, so that no layer above depends on the engine.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pydantic import JsonValue

from oprel.core.request_options import SAMPLING_OPTIONS

Json = dict[str, JsonValue]

MODEL = "oprel"
"""The name that oprel gives the model of an engine that requires one."""


class Dead(Exception):
    """The engine reports that it cannot continue: it must be replaced."""


class Unknown(Exception):
    """The engine has no such function."""


@dataclass(frozen=True)
class Call:
    """A request to the engine: its own path and body."""

    path: str
    body: Json


class Dialect:
    """OpenAI's own dialect. Engines override what they do differently. All methods are pure.

    - `renamed`: llama-server's names of parameters -> the engine's, None for those that the engine lacks.
    - `says_done`: a stream ends with `[DONE]`; otherwise with the event that has a `finish_reason`.
    - `fills_context`: an answer of no requested length continues until the context is full, and the engine refuses a
      request for more than that.
    - `text_field`: the field of the detokenized text.
    - `too_long`: matches the error for a prompt that does not fit; its group is the prompt's length in tokens.
    """

    renamed: Mapping[str, str | None] = {
        "return_progress": None,
        "json_schema": None,  # it is in `response_format` too
        "post_sampling_probs": None,
        "timings_per_token": None,
        "n_probs": None,
        **{option.engine_name: None for option in SAMPLING_OPTIONS if not option.in_openai},
    }
    says_done = True
    fills_context = False
    text_field = "content"
    too_long: re.Pattern[str] | None = None

    def completion(self, path: str, body: Json) -> Call:
        """The request for a streamed answer."""
        if body.get("post_sampling_probs"):  # this requests tokens, not their probabilities
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
        """The request that tokenizes `{content, add_special, parse_special}`. Raises Unknown."""
        raise Unknown("tokenize")

    def tokens(self, reply: JsonValue) -> JsonValue:
        """The tokens in its answer."""
        return reply.get("tokens", []) if isinstance(reply, dict) else []

    def detokenize(self, body: Json) -> Call:
        """The request that detokenizes `{tokens}`. Raises Unknown."""
        raise Unknown("detokenize")

    def text(self, reply: JsonValue) -> JsonValue:
        """The text in its answer."""
        return reply.get(self.text_field, "") if isinstance(reply, dict) else ""

    def template(self, body: Json) -> Call:
        """The request for the tokens of a chat's prompt. Raises Unknown."""
        raise Unknown("apply a chat template")

    def other(self, path: str, body: Json) -> Call:
        """The request for embeddings or scores, in which all engines agree but for the encoding of vectors."""
        plain = {name: value for name, value in body.items() if name != "encoding_format"}
        return Call(path, {"model": MODEL, **plain})

    def error(self, status: int, error: Json) -> Json:
        """An error under llama-server's names. Raises Dead."""
        if self.too_long and (length := self.too_long.search(str(error.get("message")))):
            return {**error, "type": "exceed_context_size_error", "n_prompt_tokens": int(length[1])}
        return error


def choices(event: Json) -> Iterator[Json]:
    """The choices of an event of a stream."""
    entries = event.get("choices")
    return (entry for entry in entries if isinstance(entry, dict)) if isinstance(entries, list) else iter(())


def _rename_reasoning(choice: Json) -> None:
    """Move reasoning to the field where llama-server has it."""
    delta = choice.get("delta")
    if isinstance(delta, dict) and "reasoning" in delta:
        delta["reasoning_content"] = delta.pop("reasoning")


def _list_logprobs(choice: Json) -> None:
    """Turn the columns of logprobs of /v1/completions into the list of chats."""
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


def _top(logprobs: JsonValue) -> list[JsonValue]:
    entries = logprobs.items() if isinstance(logprobs, dict) else ()
    return [{"token": token, "logprob": value} for token, value in entries]
