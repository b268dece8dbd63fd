"""One request and more to each endpoint, for the snapshots: by the name of the snapshot's file."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from oprel.core.names import GUIDE

LIST = "How do I list my models?"
WEATHER = "What is the weather in Oslo?"
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
FUNCTION = {"name": "get_weather", "description": "Get the weather of a city", "parameters": PARAMETERS}


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    body: dict[str, Any] | bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Exchange:
    """`before` and `after` make and clear away what the request needs; `warm` sends it once more before.

    `is_described`: false for a request that no route serves.
    """

    request: Request
    before: tuple[Request, ...] = ()
    after: tuple[Request, ...] = ()
    warm: bool = False
    is_described: bool = True


RERANKER = "a reranker"  # stands for the path of one


def get(path: str, **headers: str) -> Exchange:
    return Exchange(Request("GET", path, headers={name.replace("_", "-"): text for name, text in headers.items()}))


def post(path: str, **body: Any) -> Exchange:
    return Exchange(Request("POST", path, body))


def asked(path: str, **body: Any) -> Exchange:
    """Twice, so that the model is loaded and its prompt cached whatever ran before."""
    return Exchange(Request("POST", path, body), warm=True)


def native(path: str, **body: Any) -> Exchange:
    return asked(path, model=GUIDE, **{"think": False, "options": {"temperature": 0}} | body)


def chat(text: str = LIST, **body: Any) -> Exchange:
    return native("/api/chat", messages=[{"role": "user", "content": text}], **body)


def openai(text: str = LIST, **body: Any) -> Exchange:
    said = {"messages": [{"role": "user", "content": text}], "reasoning_effort": "none"}
    return asked("/v1/chat/completions", model=GUIDE, temperature=0, **said | body)


def responses(text: str = LIST, **body: Any) -> Exchange:
    said = {"input": text, "reasoning": {"effort": "none"}}
    return asked("/v1/responses", model=GUIDE, temperature=0, **said | body)


def anthropic(text: str = LIST, **body: Any) -> Exchange:
    said = {"messages": [{"role": "user", "content": text}], "thinking": {"type": "disabled"}, "max_tokens": 400}
    return asked("/v1/messages", model=GUIDE, temperature=0, **said | body)


TOOLS: list[Any] = [{"type": "function", "function": FUNCTION}]
RESPONSES_TOOLS: list[Any] = [{"type": "function", **FUNCTION}]
ANTHROPIC_TOOLS: list[Any] = [{"name": "get_weather", "input_schema": PARAMETERS}]
USAGE = {"include_usage": True}
BLOB = "/api/blobs/sha256:" + "0" * 64
NO_MODEL = {"model": "nonesuch"}

MADE = "wire-made"
COPY = Request("POST", "/api/copy", {"source": GUIDE, "destination": MADE})
DELETE = Request("DELETE", "/api/delete", {"model": MADE})
LOAD, LOAD_TINY = (Request("POST", "/load", {"model": model}) for model in (GUIDE, "tiny"))
CREATE = {"model": MADE, "from": GUIDE, "system": "You are short."}

NATIVE = {
    "root": get("/"),
    "version": get("/api/version"),
    "status": get("/api/status"),
    "tags": get("/api/tags"),
    "ps": Exchange(Request("GET", "/api/ps"), before=(Request("POST", "/api/generate", {"model": GUIDE}),)),
    "show": Exchange(
        Request("POST", "/api/show", {"model": "tiny"}), before=(Request("POST", "/api/generate", {"model": "tiny"}),)
    ),
    "generate": native("/api/generate", prompt=LIST, stream=False),
    "generate streamed": native("/api/generate", prompt=LIST),
    "generate load": asked("/api/generate", model=GUIDE),
    "generate unload": post("/api/generate", model="tiny", keep_alive=0),
    "chat": chat(stream=False),
    "chat streamed": chat(),
    "chat tools": chat(WEATHER, tools=TOOLS, stream=False),
    "chat tools streamed": chat(WEATHER, tools=TOOLS),
    "chat thinking streamed": chat(think=True),
    "chat logprobs": chat(logprobs=True, top_logprobs=1, stream=False),
    "chat load": asked("/api/chat", model=GUIDE),
    "embed": asked("/api/embed", model=GUIDE, input=["the sun", "the moon"]),
    "embeddings": asked("/api/embeddings", model=GUIDE, prompt="the sun"),
    "create": Exchange(Request("POST", "/api/create", {**CREATE, "stream": False}), after=(DELETE,)),
    "create streamed": Exchange(Request("POST", "/api/create", CREATE), after=(DELETE,)),
    "copy": Exchange(COPY, after=(DELETE,)),
    "delete": Exchange(DELETE, before=(COPY,)),
    "push": post("/api/push", model=GUIDE),
    "pull": post("/api/pull", model=GUIDE, stream=False),
    "pull streamed": post("/api/pull", model=GUIDE),
    "blob absent": Exchange(Request("HEAD", BLOB)),
    "blob mismatch": Exchange(Request("POST", BLOB, b"not that")),
    "error": post("/api/chat", **NO_MODEL),
    "error path": Exchange(Request("GET", "/api/nonesuch"), is_described=False),
    "error method": Exchange(Request("GET", "/api/chat"), is_described=False),
}

OPENAI = {
    "v1 models": get("/v1/models"),
    "v1 model": get(f"/v1/models/{GUIDE}"),
    "anthropic models": get("/v1/models?limit=1", anthropic_version="2023-06-01"),
    "anthropic model": get(f"/v1/models/{GUIDE}", anthropic_version="2023-06-01"),
    "anthropic models error": get("/v1/models?limit=0", anthropic_version="2023-06-01"),
    "v1 chat": openai(),
    "v1 chat streamed": openai(stream=True),
    "v1 chat streamed usage": openai(stream=True, stream_options=USAGE),
    "v1 chat tools": openai(WEATHER, tools=TOOLS),
    "v1 chat tools streamed": openai(WEATHER, tools=TOOLS, stream=True),
    "v1 chat thinking": openai(reasoning_effort="low"),
    "v1 chat thinking streamed": openai(reasoning_effort="low", stream=True),
    "v1 chat logprobs": openai(logprobs=True, top_logprobs=1),
    "v1 completions": asked("/v1/completions", model=GUIDE, prompt=LIST, max_tokens=8, temperature=0),
    "v1 completions streamed": asked(
        "/v1/completions", model=GUIDE, prompt=LIST, max_tokens=8, temperature=0, stream=True, stream_options=USAGE
    ),
    "v1 embeddings": asked("/v1/embeddings", model=GUIDE, input=["the sun", "the moon"]),
    "v1 embeddings base64": asked("/v1/embeddings", model=GUIDE, input="the sun", encoding_format="base64"),
    "v1 error": post("/v1/chat/completions", messages=[{"role": "user", "content": LIST}], **NO_MODEL),
    "v1 responses": responses(),
    "v1 responses streamed": responses(stream=True),
    "v1 responses thinking streamed": responses(reasoning={"effort": "low"}, stream=True),
    "v1 responses tools": responses(WEATHER, tools=RESPONSES_TOOLS),
    "v1 responses tools streamed": responses(WEATHER, tools=RESPONSES_TOOLS, stream=True),
}

ANTHROPIC = {
    "v1 messages": anthropic(),
    "v1 messages streamed": anthropic(stream=True),
    "v1 messages tools": anthropic(WEATHER, tools=ANTHROPIC_TOOLS),
    "v1 messages tools streamed": anthropic(WEATHER, tools=ANTHROPIC_TOOLS, stream=True),
    "v1 messages thinking streamed": anthropic(thinking={"type": "enabled", "budget_tokens": 1024}, stream=True),
    "v1 messages count_tokens": asked(
        "/v1/messages/count_tokens", model=GUIDE, messages=[{"role": "user", "content": LIST}]
    ),
    "v1 messages error": post("/v1/messages", max_tokens=1, messages=[{"role": "user", "content": LIST}], **NO_MODEL),
}

OPREL = {
    "rerank": asked("/v1/rerank", model=RERANKER, query="sun", documents=["the sun", "the moon"]),
    "tokenize": asked("/api/tokenize", model=GUIDE, text="the sun"),
    "detokenize": asked("/api/detokenize", model=GUIDE, tokens=[300, 301]),
    "openapi": get("/openapi.json"),
    "health": get("/health"),
    "models": Exchange(
        Request("GET", "/models"),
        before=(Request("POST", "/unload", {"model": GUIDE}), Request("POST", "/load", {"model": GUIDE})),
    ),
    "load": asked("/load", model=GUIDE),
    "unload": Exchange(
        Request("POST", "/unload", {"model": "tiny"}), before=(Request("POST", "/load", {"model": "tiny"}),)
    ),
    "conversation": asked("/generate", model=GUIDE, prompt=LIST, think=False, stream=False),
    "conversation streamed": asked("/generate", model=GUIDE, prompt=LIST, think=False),
    "oprel error": post("/load", **NO_MODEL),
    "metrics": get("/metrics"),
    "search error": get("/api/search?q=tiny"),
    "download error": post("/api/models/download"),
    "downloads": get("/api/models/download"),
    "download tasks": get("/api/models/downloads"),
    "download status error": get("/api/models/download/nonesuch"),
    "download pause error": post("/api/models/download/nonesuch/pause"),
    "download resume error": post("/api/models/download/nonesuch/resume"),
    "download cancel error": Exchange(Request("DELETE", "/api/models/download/nonesuch")),
    "library": Exchange(Request("GET", "/api/models/library?provider=bundled"), before=(LOAD,)),
    "library available": get("/api/models/library?status=available&capability=insert"),
    "library page": get("/api/models/library?q=guide&sort=-size&page=1&per_page=1"),
    "library model": get("/api/models/library/guide"),
    "library error": get("/api/models/library?status=lost"),
    "library remove": Exchange(Request("DELETE", f"/api/models/library/{MADE}"), before=(COPY,)),
    "library remove error": Exchange(Request("DELETE", "/api/models/library/nonesuch")),
    "import error": Exchange(Request("POST", "/api/models/import", {"model": MADE, "path": "/nonexistent/m.gguf"})),
    "cache": Exchange(Request("GET", "/api/models/cache"), before=(LOAD, LOAD_TINY)),
    "events error": Exchange(Request("GET", "/api/events?follow=false", headers={"Origin": "http://localhost"})),
    "inspect": Exchange(Request("POST", "/api/inspect", {"path": "/nonexistent/m.gguf"})),
    "inspect error": Exchange(Request("POST", "/api/inspect", {"path": "m.gguf"})),
    "cache verify": post("/api/models/cache/verify"),
    "cache prune": Exchange(Request("DELETE", "/api/models/cache", {})),
    "logs error": get("/logs"),
    "crashes": get("/crashes"),
    "crash error": get("/crashes/nonesuch"),
    "settings": get("/settings"),
    "quarantine": get("/quarantine"),
    "quarantine clear": Exchange(Request("DELETE", "/quarantine")),
    "quarantine clear one": Exchange(Request("DELETE", "/quarantine/0123")),
}

EXCHANGES = NATIVE | OPENAI | ANTHROPIC | OPREL
