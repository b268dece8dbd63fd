"""T7: whatever a field holds, the answer is an answer or a refusal, and the engine is the same as before."""

import json
import math
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from oprel.core.exceptions import ValidationError
from oprel.core.request_options import OPTIONS
from oprel.server.api.common import decode
from tests.conftest import RunningDaemon

VALUES: list[Any] = [
    *(-1, 0, -(2**63), 2**63, 10**400, 1e308, -0.0, math.nan, math.inf, True, False, None),
    *("", "abc", "1e9", "\0", "\ud800", [], [[]], ["x"] * 50, {}, {"a": {"b": 1}}),
]
SMALL: dict[str, Any] = {"model": "tiny", "stream": False}
CHAT = {**SMALL, "messages": [{"role": "user", "content": "x"}], "max_tokens": 1}
# What is asked, and its fields that no table of options has.
REQUESTS: list[tuple[str, dict[str, Any], list[str]]] = [
    (
        "/api/generate",
        {**SMALL, "prompt": "x", "raw": True},
        ["prompt", "suffix", "images", "context", "format", "raw"],
    ),
    ("/api/embed", {**SMALL, "input": "x"}, ["input", "dimensions", "truncate"]),
    (
        "/v1/completions",
        {**SMALL, "prompt": "x", "max_tokens": 1},
        ["prompt", "n", "best_of", "logprobs", "seed", "stop"],
    ),
    ("/v1/chat/completions", CHAT, ["messages", "n", "max_tokens", "top_logprobs", "tools", "tool_choice", "stop"]),
    ("/v1/chat/completions", CHAT, ["response_format", "logit_bias", "temperature", "stream_options"]),
    ("/v1/messages", CHAT, ["messages", "system", "max_tokens", "tools", "tool_choice", "stop_sequences", "thinking"]),
    (
        "/v1/responses",
        {**SMALL, "input": "x", "max_output_tokens": 1},
        ["input", "tools", "text", "previous_response_id"],
    ),
]


@pytest.fixture
def http(shared_daemon: RunningDaemon) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=shared_daemon.url, trust_env=False, timeout=60) as http:
        yield http


@pytest.mark.parametrize("name", [*OPTIONS, "nonesuch"])
def test_an_option_is_read_or_refused(name: str) -> None:
    for value in VALUES:
        try:
            sampling, loading = decode.options({name: value}, {})
        except ValidationError:
            continue
        read = [vars(sampling).get(name), vars(loading).get(name)]
        assert not any(isinstance(number, float) and not math.isfinite(number) for number in read), (value, read)
        assert not any(isinstance(number, int) and abs(number) > 2**53 for number in read), (value, read)


@pytest.mark.parametrize(("path", "body", "names"), REQUESTS, ids=[f"{path}-{names[0]}" for path, _, names in REQUESTS])
def test_a_field_is_answered_or_refused(
    shared_daemon: RunningDaemon, http: httpx.Client, path: str, body: dict[str, Any], names: list[str]
) -> None:
    http.post("/v1/completions", json={**SMALL, "prompt": "x", "max_tokens": 1}).raise_for_status()
    before = engines(shared_daemon)
    for name in names:
        for value in VALUES:
            answer = http.post(path, content=json.dumps({**body, "options": {"num_predict": 1}, name: value}))
            assert answer.status_code < 500 and answer.status_code != 422, (path, name, value, answer.text)
    assert engines(shared_daemon) >= before


def engines(daemon: RunningDaemon) -> set[int | None]:
    with daemon.client as client:
        return {engine.pid for engine in client.engines().models}
