"""Parts of requests that have no effect: which they are, the header, the log."""

import logging
from typing import Any

import pytest
from starlette.datastructures import MutableHeaders
from starlette.requests import Request

from oprel.api_models import ChatRequest, CreateRequest, GenerateRequest, PullRequest, RequestBody
from oprel.core.exceptions import UnsupportedError
from oprel.server.api.anthropic.types import MessagesRequest
from oprel.server.api.common import ignored
from oprel.server.api.common.openai_shared import OPTION_NAMES
from oprel.server.api.openai.types import ChatCompletionRequest, TextCompletionRequest
from oprel.server.api.responses.types import ResponsesRequest

MESSAGE: dict[str, Any] = {"role": "user", "content": "hi"}


@pytest.mark.parametrize(
    ("kind", "body", "names"),
    [
        (ChatRequest, {"model": "m", "messages": [MESSAGE], "template": "x"}, ["template"]),
        (ChatRequest, {"Model": "m", "NAME": "m", "KEEP_ALIVE": 1, "Options": {"mirostat": 1}}, ["options.mirostat"]),
        (GenerateRequest, {"_debug_render_only": True, "width": 3}, ["width"]),
        (CreateRequest, {"from": "x", "modelfile": "FROM x"}, ["modelfile"]),
        (PullRequest, {"name": "x", "username": "me"}, ["username"]),
        (ChatCompletionRequest, {"best_of": 2, "functions": [{"name": "f"}]}, ["best_of", "functions"]),
        (ChatCompletionRequest, {"user": "me", "metadata": {"a": 1}, "store": True, "service_tier": "x"}, []),
        (ChatCompletionRequest, {"best_of": None, "functions": [], "web_search_options": {}, "grammar": ""}, []),
        (ChatCompletionRequest, {"skip_special_tokens": False, "min_tokens": 0}, ["skip_special_tokens", "min_tokens"]),
        (ChatCompletionRequest, {"reasoning": {"max_tokens": 9, "effort": "low"}}, ["reasoning.max_tokens"]),
        (
            ChatCompletionRequest,
            {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "strict": True, "schema": {}}}},
            [],
        ),
        (TextCompletionRequest, dict.fromkeys(OPTION_NAMES, 1), []),
        (ResponsesRequest, {"max_tool_calls": 3, "prompt_cache_key": "k"}, ["max_tool_calls"]),
        (MessagesRequest, {"thinking": {"type": "enabled", "budget_tokens": 9}}, ["thinking.budget_tokens"]),
    ],
)
def test_what_is_not_read_is_named(kind: type[RequestBody], body: dict[str, Any], names: list[str]) -> None:
    assert list(ignored.unread(body, kind)) == names


@pytest.mark.parametrize("field", ["audio", "audios", "Audio", "video", "videos", "files", "documents"])
@pytest.mark.parametrize("kind", [ChatRequest, ChatCompletionRequest])
def test_media_that_no_model_reads_are_refused(kind: type[RequestBody], field: str) -> None:
    with pytest.raises(UnsupportedError, match=f"^`{field}` is not supported"):
        ignored.refuse_media({"messages": [MESSAGE, {**MESSAGE, field: ["aGk="]}]}, kind)
    with pytest.raises(UnsupportedError):
        ignored.refuse_media({field: "aGk="}, kind)
    ignored.refuse_media({field: None, "messages": [{**MESSAGE, field: []}]}, kind)


def test_the_files_of_a_model_are_no_media() -> None:
    ignored.refuse_media({"files": {"a.gguf": "sha256:00"}}, CreateRequest)


def test_the_header_has_each_name_once_and_none_that_would_break_it() -> None:
    request = Request({"type": "http", "headers": []})
    ignored.ignore(request, ["best_of", "a\r\nSet-Cookie: x", "wört", "x" * 81])
    ignored.ignore(request, ["best_of", "tools.mcp"])
    headers = MutableHeaders()
    ignored.set_header(headers, ignored.ignored_in(request))
    assert headers[ignored.IGNORED] == "best_of, tools.mcp"


def test_the_header_has_a_limit_and_is_absent_without_names() -> None:
    headers = MutableHeaders()
    ignored.set_header(headers, [])
    assert ignored.IGNORED not in headers
    ignored.set_header(headers, [f"f{number}" for number in range(500)])
    assert len(headers[ignored.IGNORED].split(", ")) == ignored.MOST_NAMES


def test_the_log_has_each_name_once(caplog: pytest.LogCaptureFixture) -> None:
    parts = ignored.IgnoredParts()
    with caplog.at_level(logging.WARNING):
        for names in (["a", "b"], ["b"], ["b", "c"]):
            parts.report("/v1/x", names)
    assert caplog.messages == ["/v1/x: ignored a, b", "/v1/x: ignored c"]


def test_clients_cannot_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    parts = ignored.IgnoredParts()
    for number in range(2 * ignored.MOST_LOGGED):
        parts.report("/v1/x", [f"f{number}"])
    assert len(caplog.messages) == ignored.MOST_LOGGED
