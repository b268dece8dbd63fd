"""From answers to OpenAI's objects and server-sent events."""

import base64
import struct
import time
import uuid
from collections.abc import Mapping, Sequence

import orjson
from pydantic import JsonValue

from oprel.core.completion import Chunk, Finish, Logprob, ToolCall, joined
from oprel.core.completion import Usage as Counted
from oprel.core.exceptions import OprelError
from oprel.server.api.common.encode import truncated
from oprel.server.api.common.streaming_response import SSE
from oprel.server.errors import openai_error
from oprel.server.inference.completions import Done

FINGERPRINT = "fp_oprel"
END = b"data: [DONE]\n\n"

JSON = Mapping[str, object]


def event(value: JSON) -> bytes:
    return b"data: " + orjson.dumps(value) + b"\n\n"


def head(prefix: str, kind: str, model: str) -> dict[str, object]:
    """What all objects of one answer begin with."""
    answer = f"{prefix}-{uuid.uuid4().hex[:24]}"
    return {
        "id": answer,
        "object": kind,
        "created": int(time.time()),
        "model": model,
        "system_fingerprint": FINGERPRINT,
    }


def usage(counted: Counted) -> JSON:
    return {
        "prompt_tokens": counted.prompt_tokens,
        "completion_tokens": counted.completion_tokens,
        "total_tokens": counted.prompt_tokens + counted.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": counted.cached_tokens},
    }


def notes(done: Done) -> JSON:
    """Oprel's own fields, where there is something to tell: what was forgotten, and engines that died meanwhile."""
    told = truncated(done)
    found = {"truncated": told.model_dump() if told else None, "recoveries": done.recoveries or None}
    return {name: value for name, value in found.items() if value is not None}


class _Stream:
    """What both kinds of stream share. The ends are held back until the answer is known to be whole."""

    media_type = SSE

    def __init__(self, head: JSON, include_usage: bool) -> None:
        self._head = head
        self._include_usage = include_usage
        self._ends: list[object] = []

    def send(self, choices: Sequence[Mapping[str, object]]) -> bytes:
        self._ends += [choice for choice in choices if choice.get("finish_reason")]
        now = [choice for choice in choices if not choice.get("finish_reason")]
        return event({**self._head, "choices": now}) if now else b""

    def end(self, done: Done) -> bytes:
        head = {**self._head, **notes(done)}
        ends = b"".join(event({**head, "choices": [choice]}) for choice in self._ends)
        counts = event({**head, "choices": [], "usage": usage(done.usage)}) if self._include_usage else b""
        return ends + counts + END

    def broken(self, error: OprelError) -> bytes:
        return b"data: " + openai_error(error) + b"\n\n"


class ChatStream(_Stream):
    """The engine's own events under this answer's name: they are OpenAI's already, parts of tool calls included."""

    def __init__(self, model: str, include_usage: bool) -> None:
        super().__init__(head("chatcmpl", "chat.completion.chunk", model), include_usage)

    def chunk(self, chunk: Chunk) -> bytes:
        if chunk.event:
            return self.send([_renamed(choice, chunk) for choice in orjson.loads(chunk.event)["choices"]])
        if chunk.text or chunk.logprobs:  # of another engine, which went on with the text alone
            told = {"logprobs": {"content": [_logprob(one) for one in chunk.logprobs]}} if chunk.logprobs else {}
            return self.send([{"index": 0, "delta": {"content": chunk.text}, "finish_reason": None, **told}])
        return b""

    def done(self, done: Done) -> bytes:
        if not self._ends:
            self.send([{"index": 0, "delta": {}, "finish_reason": done.finish.value}])
        return self.end(done)


def _renamed(choice: dict[str, JsonValue], chunk: Chunk) -> dict[str, object]:
    """A choice with Ollama's and OpenRouter's name for thoughts beside llama.cpp's and DeepSeek's."""
    if not chunk.logprobs:  # asked for by us alone
        choice.pop("logprobs", None)
    delta = choice.get("delta")
    assert isinstance(delta, dict)
    if "reasoning_content" in delta:
        delta = {**delta, "reasoning": delta["reasoning_content"]}
    if "role" in delta and delta.get("content") is None:
        delta = {**delta, "content": ""}
    return {**choice, "delta": delta}


def chat_completion(model: str, chunks: Sequence[Chunk], done: Done) -> bytes:
    choices = [
        _choice(index, joined([chunk for chunk in chunks if chunk.index == index]), finish)
        for index, finish in enumerate(done.finishes)
    ]
    return _object(head("chatcmpl", "chat.completion", model), choices, done)


def _choice(index: int, said: Chunk, finish: Finish) -> JSON:
    message: dict[str, object] = {"role": "assistant", "content": said.text}
    if said.reasoning:
        message |= {"reasoning": said.reasoning, "reasoning_content": said.reasoning}
    if said.tool_calls:
        message["tool_calls"] = [_call(number, call) for number, call in enumerate(said.tool_calls)]
    told = {"content": [_logprob(one) for one in said.logprobs]} if said.logprobs else None
    reason = "tool_calls" if said.tool_calls and finish is Finish.STOP else finish.value
    return {"index": index, "message": message, "logprobs": told, "finish_reason": reason}


def _call(index: int, call: ToolCall) -> JSON:
    function = {"name": call.name, "arguments": orjson.dumps(call.arguments).decode()}
    return {"id": call.id, "index": index, "type": "function", "function": function}


def _logprob(one: Logprob) -> JSON:
    top = [{"token": other.token, "logprob": other.logprob, "bytes": other.bytes} for other in one.top]
    return {"token": one.token, "logprob": one.logprob, "bytes": one.bytes, "top_logprobs": top}


class TextStream(_Stream):
    """`echoes` are the prompts to repeat in front of each answer."""

    def __init__(self, model: str, include_usage: bool, echoes: Mapping[int, str]) -> None:
        super().__init__(head("cmpl", "text_completion", model), include_usage)
        self._echoes = dict(echoes)

    def chunk(self, chunk: Chunk) -> bytes:
        text = self._echoes.pop(chunk.index, "") + chunk.text
        return self.send([text_choice(chunk.index, text, chunk.logprobs, None)]) if text or chunk.logprobs else b""

    def done(self, done: Done) -> bytes:
        self.send([text_choice(index, "", (), finish) for index, finish in enumerate(done.finishes)])
        return self.end(done)


def text_completion(model: str, chunks: Sequence[Chunk], done: Done, echoes: Mapping[int, str]) -> bytes:
    said = [joined([chunk for chunk in chunks if chunk.index == index]) for index in range(len(done.finishes))]
    choices = [
        text_choice(index, echoes.get(index, "") + one.text, one.logprobs, finish)
        for index, (one, finish) in enumerate(zip(said, done.finishes, strict=True))
    ]
    return _object(head("cmpl", "text_completion", model), choices, done)


def _object(head: JSON, choices: Sequence[object], done: Done) -> bytes:
    return orjson.dumps({**head, "choices": choices, "usage": usage(done.usage), **notes(done)})


def text_choice(index: int, text: str, logprobs: Sequence[Logprob], finish: Finish | None) -> JSON:
    told = _text_logprobs(logprobs) if logprobs else None
    return {"text": text, "index": index, "logprobs": told, "finish_reason": finish.value if finish else None}


def _text_logprobs(logprobs: Sequence[Logprob]) -> JSON:
    """OpenAI's older form; offsets are in characters of these tokens' text."""
    offsets = [0]
    for one in logprobs:
        offsets.append(offsets[-1] + len(one.token))
    return {
        "tokens": [one.token for one in logprobs],
        "token_logprobs": [one.logprob for one in logprobs],
        "top_logprobs": [{other.token: other.logprob for other in one.top} for one in logprobs],
        "text_offset": offsets[:-1],
    }


def vector(values: Sequence[float], encoding: str) -> object:
    """As a list, or as base64 of little-endian 32-bit floats.

    >>> vector([1.0, -2.0], "base64")
    'AACAPwAAAMA='
    """
    if encoding == "float":
        return values
    return base64.b64encode(struct.pack(f"<{len(values)}f", *values)).decode()
