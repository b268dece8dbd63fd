"""From answers to OpenAI's objects and server-sent events."""

import base64
import struct
import time
import uuid
from collections.abc import Mapping, Sequence
from itertools import accumulate

import orjson

from oprel.core import completion
from oprel.core.completion import Chunk, Finish, Logprob, ToolCall, joined
from oprel.core.exceptions import OprelError
from oprel.server.api.common.encode import ending, truncated
from oprel.server.api.common.streaming import StreamEncoder
from oprel.server.api.common.streaming_response import SSE
from oprel.server.api.openai.errors import encode_error
from oprel.server.inference.completions import Done

FINGERPRINT = "fp_oprel"
END = b"data: [DONE]\n\n"
TEXT, THOUGHT = b',"delta":{"content":', b',"delta":{"reasoning":'

JSON = Mapping[str, object]


def event(value: JSON) -> bytes:
    return b"data: " + orjson.dumps(value) + b"\n\n"


def head(prefix: str, kind: str, model: str) -> dict[str, object]:
    """The first fields of all objects of one answer."""
    return {
        "id": f"{prefix}-{uuid.uuid4().hex[:24]}",
        "object": kind,
        "created": int(time.time()),
        "model": model,
        "system_fingerprint": FINGERPRINT,
    }


def usage(counts: completion.Usage) -> JSON:
    return {
        "prompt_tokens": counts.prompt_tokens,
        "completion_tokens": counts.completion_tokens,
        "total_tokens": counts.prompt_tokens + counts.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": counts.cached_tokens},
    }


def notes(done: Done) -> JSON:
    """oprel's own fields if they apply: see `api_models.AnswerMetrics`."""
    cut = truncated(done)
    fields = {"truncated": cut.model_dump() if cut else None, "recoveries": done.recoveries or None}
    return {**{name: value for name, value in fields.items() if value is not None}, **ending(done)}


class _Stream(StreamEncoder):
    """What both kinds of stream share. It sends the ends only after the whole answer."""

    media_type = SSE

    def __init__(self, head: JSON, include_usage: bool) -> None:
        self._head = head
        self._include_usage = include_usage
        self._ends: list[Mapping[str, object]] = []

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
        return b"data: " + encode_error(error) + b"\n\n"


class ChatStream(_Stream):
    """The engine's events under this answer's ID: they have OpenAI's form, fragments of tool calls included."""

    def __init__(self, model: str, include_usage: bool) -> None:
        super().__init__(head("chatcmpl", "chat.completion.chunk", model), include_usage)
        self._before = event({**self._head, "choices": []}).removesuffix(b"]}\n\n") + b'{"finish_reason":null,"index":'

    def chunk(self, chunk: Chunk) -> bytes:
        if chunk.event and chunk.is_plain and not chunk.logprobs:
            return self._words(chunk)
        if chunk.event:
            return self.send([_renamed(choice, chunk) for choice in orjson.loads(chunk.event).get("choices", ())])
        if chunk.text or chunk.reasoning or chunk.logprobs:  # without the engine's event: text that was continued
            extra = {"logprobs": {"content": _logprobs(chunk.logprobs)}} if chunk.logprobs else {}
            parts = {"content": chunk.text or None, "reasoning": chunk.reasoning or None}
            delta = {name: text for name, text in parts.items() if text} or {"content": ""}
            return self.send([{"index": chunk.index, "delta": delta, "finish_reason": None, **extra}])
        return b""

    def _words(self, chunk: Chunk) -> bytes:
        """What `send` makes of an event that is a text or a thought, without taking it apart."""
        words = THOUGHT + orjson.dumps(chunk.reasoning) if chunk.reasoning else TEXT + orjson.dumps(chunk.text)
        return b"".join((self._before, b"%d" % chunk.index, words, b"}}]}\n\n"))

    def done(self, done: Done) -> bytes:
        if done.unparsed:  # the engine may have announced calls before it refused them
            self._ends.clear()
        ends = {choice["index"]: choice for choice in self._ends}
        for index, finish in enumerate(done.finishes or (done.finish,)):
            # An engine's own end says more, but it may be that of a part: the answer went on after it.
            if index not in ends or ends[index]["finish_reason"] not in (finish.value, "tool_calls"):
                ends[index] = {"index": index, "delta": {}, "finish_reason": finish.value}
        self._ends = [*ends.values()]
        return self.end(done)


def _renamed(choice: dict[str, object], chunk: Chunk) -> dict[str, object]:
    """A choice that has thoughts in `reasoning`, Ollama's field. Some clients add up what other fields repeat."""
    if chunk.logprobs:
        choice["logprobs"] = {"content": _logprobs(chunk.logprobs)}
    else:  # the client did not ask for them
        choice.pop("logprobs", None)
    delta = choice.get("delta")
    assert isinstance(delta, dict)
    if "reasoning_content" in delta:
        thoughts = delta["reasoning_content"]
        delta = {**{name: value for name, value in delta.items() if name != "reasoning_content"}, "reasoning": thoughts}
    if "role" in delta and delta.get("content") is None:
        delta = {**delta, "content": ""}
    return {**choice, "delta": delta}


def chat_completion(model: str, chunks: Sequence[Chunk], done: Done) -> bytes:
    choices = [
        _choice(index, joined([chunk for chunk in chunks if chunk.index == index]), finish)
        for index, finish in enumerate(done.finishes)
    ]
    return _object(head("chatcmpl", "chat.completion", model), choices, done)


def _choice(index: int, answer: Chunk, finish: Finish) -> JSON:
    message: dict[str, object] = {"role": "assistant", "content": answer.text}
    if answer.reasoning:
        message["reasoning"] = answer.reasoning
    if answer.tool_calls:
        message["tool_calls"] = [_call(number, call) for number, call in enumerate(answer.tool_calls)]
    logprobs = {"content": _logprobs(answer.logprobs)} if answer.logprobs else None
    reason = "tool_calls" if answer.tool_calls and finish is Finish.STOP else finish.value
    return {"index": index, "message": message, "logprobs": logprobs, "finish_reason": reason}


def _call(index: int, call: ToolCall) -> JSON:
    function = {"name": call.name, "arguments": orjson.dumps(call.arguments).decode()}
    return {"id": call.id, "index": index, "type": "function", "function": function}


def _logprobs(tokens: Sequence[Logprob]) -> list[JSON]:
    return [{**_logprob(token), "top_logprobs": [_logprob(other) for other in token.top]} for token in tokens]


def _logprob(token: Logprob) -> JSON:
    """`merged` is oprel's own: see `api_models.OllamaLogprob`."""
    merged = {"merged": True} if token.merged else {}
    return {"token": token.token, "logprob": token.logprob, "bytes": token.bytes, **merged}


class TextStream(_Stream):
    """`echoes` are the prompts to repeat before each answer."""

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
    answers = [joined([chunk for chunk in chunks if chunk.index == index]) for index in range(len(done.finishes))]
    choices = [
        text_choice(index, echoes.get(index, "") + answer.text, answer.logprobs, finish)
        for index, (answer, finish) in enumerate(zip(answers, done.finishes, strict=True))
    ]
    return _object(head("cmpl", "text_completion", model), choices, done)


def _object(head: JSON, choices: Sequence[object], done: Done) -> bytes:
    return orjson.dumps({**head, "choices": choices, "usage": usage(done.usage), **notes(done)})


def text_choice(index: int, text: str, logprobs: Sequence[Logprob], finish: Finish | None) -> JSON:
    return {
        "text": text,
        "index": index,
        "logprobs": _text_logprobs(logprobs) if logprobs else None,
        "finish_reason": finish.value if finish else None,
    }


def _text_logprobs(logprobs: Sequence[Logprob]) -> JSON:
    """OpenAI's older form; offsets are in characters of the text of these tokens."""
    lengths = [len(token.token) for token in logprobs]
    return {
        "tokens": [token.token for token in logprobs],
        "token_logprobs": [token.logprob for token in logprobs],
        "top_logprobs": [{other.token: other.logprob for other in token.top} for token in logprobs],
        "text_offset": [*accumulate(lengths, initial=0)][:-1],
        **({"merged": [token.merged for token in logprobs]} if any(token.merged for token in logprobs) else {}),
    }


def vector(values: Sequence[float], encoding: str) -> object:
    """As a list, or as base64 of little-endian 32-bit floats.

    >>> vector([1.0, -2.0], "base64")
    'AACAPwAAAMA='
    """
    if encoding == "float":
        return values
    return base64.b64encode(struct.pack(f"<{len(values)}f", *values)).decode()
