"""Requests of `tests/wire` with one part replaced by what nobody expects there."""

import copy
import json
from collections.abc import Iterator
from typing import Any

from tests.wire.exchanges import EXCHANGES, Request

Place = tuple[str | int, ...]
DEEP = "[" * 60 + "]" * 60
# As JSON text: some of them no Python value could be.
VALUES = (
    *("null", "true", "0", "5", "-1", "0.5", "-0.0", "1e308", "1e-320", "9223372036854775808", "1" * 400, "NaN"),
    *(
        '""',
        '" "',
        '"\\u0000"',
        '"\\ud800"',
        '"a\\ud800b"',
        '"\\u202e\\u001b[2J"',
        '"../../x"',
        '"5"',
        '"' + "x" * 9000 + '"',
    ),
    *(
        "[]",
        "{}",
        "[null]",
        "[5]",
        '[""]',
        "[[]]",
        "[{}]",
        '{"":{}}',
        '{"type":5}',
        '{"type":"text"}',
        '{"\\u0000":1}',
        DEEP,
    ),
    *(
        '{"name":5}',
        '{"function":{"name":5}}',
        '[{"function":{"name":"f","parameters":{"type":5}}}]',
        '"data:image/png;base64,AA"',
    ),
    *(
        '{"$ref":"#"}',
        '{"type":"object","properties":{"a":{"$ref":"#"}}}',
        '{"type":"string","pattern":"(a+)+$"}',
        '"http://a/b.png"',
    ),
)
MARK = "a part that is replaced"
FUNCTION = {"name": "f", "arguments": {"a": 1}}
SCHEMA = {"type": "object", "properties": {"a": {"type": "string", "pattern": "a+"}}, "required": ["a"]}
TOOL = {"type": "function", "function": {"name": "f", "description": "d", "parameters": SCHEMA}}
CONVERSATIONS: dict[str, dict[str, Any]] = {
    "/api/chat": {
        "messages": [
            {"role": "system", "content": "s"},
            {"role": "user", "content": "u"},
            {"role": "assistant", "content": "", "thinking": "t", "tool_calls": [{"id": "c", "function": FUNCTION}]},
            {"role": "tool", "content": "r", "tool_name": "f", "tool_call_id": "c"},
        ],
        "tools": [TOOL],
        "logprobs": False,
        "top_logprobs": 0,  # of a stream with tools there are none
    },
    "/v1/chat/completions": {
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "u"}], "name": "n"},
            {
                "role": "assistant",
                "content": "a",
                "reasoning": "t",
                "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
            },
            {"role": "tool", "content": "r", "tool_call_id": "c"},
        ],
        "tools": [TOOL],
        "logprobs": False,
        "top_logprobs": 0,
    },
    "/v1/responses": {
        "input": [
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "u"}]},
            {"type": "reasoning", "summary": [{"type": "summary_text", "text": "t"}], "content": []},
            {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c", "output": "r"},
        ],
        "tools": [{"type": "function", "name": "f", "parameters": SCHEMA}],
    },
    "/v1/messages": {
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "u"}]},
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "t", "signature": ""},
                    {"type": "tool_use", "id": "c", "name": "f", "input": {"a": 1}},
                ],
            },
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c", "content": [], "is_error": True}]},
        ],
        "tools": [{"name": "f", "description": "d", "input_schema": SCHEMA}],
    },
}
# Fields that the recorded requests lack.
EXTRA: dict[str, dict[str, Any]] = {
    "/api/generate": {"suffix": "", "template": "", "context": [1], "images": [], "raw": False, "format": "json"},
    "/api/chat": {"format": {"type": "object"}, "tool_choice": "auto", "tools": []},
    "/v1/chat/completions": {"response_format": {"type": "text"}, "stop": "x", "logit_bias": {"5": 1}, "n": 1},
    "/v1/completions": {"suffix": "", "echo": False, "logprobs": 1, "stop": "x"},
    "/v1/responses": {"instructions": "", "text": {"format": {"type": "text"}}, "include": [], "tool_choice": "auto"},
    "/v1/messages": {"system": "", "stop_sequences": [], "tool_choice": {"type": "auto"}, "output_config": {}},
    "/api/create": {"files": {}, "template": "", "license": "", "messages": [], "quantize": "", "adapters": {}},
    "/api/embed": {"dimensions": 1, "truncate": True, "input_type": ""},
    "/v1/embeddings": {"dimensions": 1, "input_type": "", "encoding_format": "float"},
}
OPTIONS = {"num_predict": 2, "seed": 1, "stop": ["x"], "temperature": 0, "top_k": 1, "repeat_last_n": 1}
SHORT = {"max_tokens": 2, "max_output_tokens": 2, "options": OPTIONS, "keep_alive": "5m"}
# Without them an answer has no end, or another engine is started.
KEPT = {("options",), ("options", "num_predict"), ("max_tokens",), ("max_output_tokens",)}
# These change what others need, or never answer.
LEFT_OUT = ("/api/models/cache", "/api/models/library", "/api/delete", "/logs", "/unload", "/api/copy")


def mutated(model: str, reranker: str) -> Iterator[tuple[Request, bytes]]:
    """Each recorded request with each of its parts replaced by each value."""
    for request in bases(model, reranker):
        assert isinstance(request.body, dict)
        for place in places(request.body):
            template = json.dumps(replaced(request.body, place))
            for value in VALUES:
                yield request, template.replace(f'"{MARK}"', value).encode()


def bases(model: str, reranker: str) -> list[Request]:
    """One request with a body of each path, with all its fields, and short answers."""
    by_path: dict[str, dict[str, Any]] = {}
    for exchange in EXCHANGES.values():
        request = exchange.request
        if isinstance(request.body, dict) and request.method == "POST" and not request.path.startswith(LEFT_OUT):
            named = {"/api/create": {"from": model}, "/v1/rerank": {"model": reranker}}
            body = {**request.body, **named.get(request.path, {"model": model})}
            by_path.setdefault(request.path, {}).update(body)
    return [
        Request("POST", path, {**body, **EXTRA.get(path, {}), **CONVERSATIONS.get(path, {}), **SHORT})
        for path, body in by_path.items()
    ]


def places(value: object, at: Place = ()) -> Iterator[Place]:
    if at and at not in KEPT:
        yield at
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, item in inner:
        yield from places(item, (*at, name))


def replaced(body: dict[str, Any], place: Place) -> dict[str, Any]:
    changed: Any = copy.deepcopy(body)
    inner = changed
    for name in place[:-1]:
        inner = inner[name]
    inner[place[-1]] = MARK
    return dict(changed)
