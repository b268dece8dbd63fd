"""Every native endpoint through Ollama's official clients: Python, Python with asyncio, JavaScript."""

import base64
import hashlib
import json
import math
import re
from pathlib import Path
from typing import Any

import httpx
import pytest

from oprel.core.names import GUIDE
from tests.clients.ollama_clients import Call, Refused
from tests.clients.questions import (
    ARGUMENTS,
    LIST,
    LIST_ANSWER,
    SCHEMA,
    TOOL,
    TOOL_DESCRIPTION,
    TOOL_PARAMETERS,
    WEATHER,
    WEATHER_ANSWER,
    WEATHER_RESULT,
)
from tests.conftest import RunningDaemon, eventually

MESSAGES = [{"role": "user", "content": LIST}]
PLAIN = {"model": GUIDE, "think": False, "options": {"temperature": 0}}
CHAT = {**PLAIN, "messages": MESSAGES}
FUNCTION = {"name": TOOL, "description": TOOL_DESCRIPTION, "parameters": TOOL_PARAMETERS}
WEATHER_MESSAGES = [{"role": "user", "content": WEATHER}]
ASKS_FOR_WEATHER = {**PLAIN, "messages": WEATHER_MESSAGES, "tools": [{"type": "function", "function": FUNCTION}]}
PIXEL = base64.b64encode(
    bytes.fromhex(
        "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
        "1f15c4890000000d49444154789c6360000000000200014873b1150000000049454e44ae426082"
    )
).decode()

endpoint = pytest.mark.endpoint
only_javascript = pytest.mark.parametrize("call", ["ollama-js"], indirect=True)
only_python = pytest.mark.parametrize("call", ["ollama-python", "ollama-python-async"], indirect=True)


def check_figures(last: dict) -> None:
    """The last object of an answer that was made."""
    assert last["done"] is True
    for name in ("total_duration", "load_duration", "prompt_eval_count", "eval_count", "eval_duration"):
        assert last[name] > 0, name


@endpoint("/api/version")
@only_javascript
def test_version(call: Call):
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*", call("version")["version"])


@endpoint("/api/tags")
def test_tags(call: Call):
    model = next(model for model in call("list")["models"] if model["model"] == "tiny:latest")
    assert model["size"] > 100_000
    assert re.fullmatch("[0-9a-f]{64}", model["digest"])
    assert model["modified_at"]
    assert model["details"]["quantization_level"] == "F16"


@endpoint("/api/show")
def test_show(call: Call):
    shown = call("show", model=GUIDE)
    assert shown["model_info"]["general.architecture"] == "llama"
    assert shown["capabilities"] == ["completion", "tools", "thinking"]
    assert "<|im_start|>" in shown["template"]
    assert shown["details"]["format"] == "gguf"


@endpoint("/api/ps")
def test_ps(call: Call):
    call("generate", model=GUIDE)
    loaded = next(model for model in call("ps")["models"] if model["model"] == f"{GUIDE}:latest")
    assert loaded["expires_at"]
    assert loaded["context_length"] > 0
    assert loaded["size"] > 0


@endpoint("/api/generate")
def test_generate(call: Call):
    reply = call("generate", prompt=LIST, **PLAIN)
    assert LIST_ANSWER in reply["response"]
    assert reply["done_reason"] == "stop"
    assert reply["context"]
    check_figures(reply)


@endpoint("/api/generate, streamed")
def test_generate_streamed(call: Call):
    pieces = call("generate", prompt=LIST, stream=True, **PLAIN)
    assert [piece["done"] for piece in pieces] == [False] * (len(pieces) - 1) + [True]
    whole = call("generate", prompt=LIST, **PLAIN)
    assert "".join(piece["response"] for piece in pieces) == whole["response"]
    check_figures(pieces[-1])


@endpoint("/api/generate, load and unload")
def test_generate_loads_and_unloads(call: Call):
    assert call("generate", model="tiny")["done_reason"] == "load"
    assert call("generate", model="tiny", keep_alive=0)["done_reason"] == "unload"
    assert "tiny:latest" not in [model["model"] for model in call("ps")["models"]]


@endpoint("/api/chat")
def test_chat(call: Call):
    reply = call("chat", **CHAT)
    assert reply["message"]["role"] == "assistant"
    assert LIST_ANSWER in reply["message"]["content"]
    assert reply["done_reason"] == "stop"
    check_figures(reply)


@endpoint("/api/chat, streamed")
def test_chat_streamed(call: Call):
    pieces = call("chat", stream=True, **CHAT)
    assert len(pieces) > 2
    assert [piece["done"] for piece in pieces] == [False] * (len(pieces) - 1) + [True]
    assert LIST_ANSWER in "".join(piece["message"]["content"] for piece in pieces)
    check_figures(pieces[-1])


@endpoint("/api/chat, aborted")
@only_javascript
def test_chat_aborted(call: Call, shared_daemon: RunningDaemon, endless: Path):
    body = {"model": str(endless), "messages": MESSAGES, "options": {"num_ctx": 32_768}}
    assert len(call("chat", stream=True, abort_after=3, **body)) >= 3
    with shared_daemon.client as client:
        eventually(lambda: all(model.in_flight == 0 for model in client.engines().models))
        client.unload(str(endless))


def calls_of(messages: list[dict]) -> list[tuple[str, dict]]:
    """Name and arguments of the calls in these messages."""
    calls = [call["function"] for message in messages for call in message.get("tool_calls") or ()]
    return [(call["name"], call["arguments"]) for call in calls]


@endpoint("/api/chat, tools")
def test_chat_calls_tools(call: Call):
    message = call("chat", **ASKS_FOR_WEATHER)["message"]
    assert calls_of([message]) == [(TOOL, ARGUMENTS)]


@endpoint("/api/chat, tools, streamed")
def test_chat_calls_tools_in_a_stream(call: Call):
    pieces = call("chat", stream=True, **ASKS_FOR_WEATHER)
    assert calls_of([piece["message"] for piece in pieces]) == [(TOOL, ARGUMENTS)]


@endpoint("/api/chat, tool results")
def test_chat_uses_what_a_tool_said(call: Call):
    calling = call("chat", **ASKS_FOR_WEATHER)["message"]
    result = {"role": "tool", "content": WEATHER_RESULT, "tool_name": TOOL}
    reply = call("chat", **ASKS_FOR_WEATHER | {"messages": [*WEATHER_MESSAGES, calling, result]})
    assert WEATHER_ANSWER in reply["message"]["content"]


@endpoint("/api/chat, thinking")
@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
def test_chat_thinks(call: Call, stream: bool):
    reply = call("chat", stream=stream, **CHAT | {"think": True})
    messages = [piece["message"] for piece in (reply if stream else [reply])]
    thought, answer = ("".join(message.get(key) or "" for message in messages) for key in ("thinking", "content"))
    assert thought and LIST_ANSWER in answer
    assert "think>" not in thought + answer


@endpoint("/api/chat, format")
def test_chat_keeps_to_a_format(call: Call):
    assert json.loads(call("chat", format=SCHEMA, **CHAT)["message"]["content"]).keys() == {"command"}


@endpoint("/api/chat, logprobs")
def test_chat_tells_logprobs(call: Call):
    reply = call("chat", logprobs=True, top_logprobs=2, **CHAT)
    assert "".join(one["token"] for one in reply["logprobs"]).startswith(reply["message"]["content"])
    assert all(len(one["top_logprobs"]) == 2 and one["logprob"] <= 0 for one in reply["logprobs"])


@endpoint("/api/chat, images")
def test_chat_refuses_images_that_the_model_cannot_see(call: Call):
    with pytest.raises(Refused) as caught:
        call("chat", **PLAIN, messages=[{"role": "user", "content": "What is this?", "images": [PIXEL]}])
    assert caught.value.status == 400
    assert re.search("image|vision", caught.value.text)


@endpoint("/api/embed")
def test_embed(call: Call):
    reply = call("embed", model=GUIDE, input=["the sun", "the moon"])
    assert len(reply["embeddings"]) == 2
    assert all(math.isclose(math.hypot(*vector), 1.0, abs_tol=1e-5) for vector in reply["embeddings"])
    assert reply["prompt_eval_count"] > 0


@endpoint("/api/embeddings")
def test_embeddings(call: Call):
    whole = call("embed", model=GUIDE, input="the sun")["embeddings"][0]
    assert len(call("embeddings", model=GUIDE, prompt="the sun")["embedding"]) == len(whole)


@endpoint("/api/create")
def test_create(call: Call, new_name: str):
    made = {"model": new_name, "from": GUIDE, "system": "You are short.", "parameters": {"temperature": 0.5}}
    assert call("create", **made)["status"] == "success"
    shown = call("show", model=new_name)
    assert re.search(r"^SYSTEM .*You are short\.", shown["modelfile"], re.MULTILINE)
    assert re.search(r"^temperature +0\.5$", shown["parameters"], re.MULTILINE)


@endpoint("/api/create, streamed")
def test_create_streamed(call: Call, new_name: str):
    pieces = call("create", stream=True, model=new_name, **{"from": GUIDE}, messages=MESSAGES)
    assert pieces[-1]["status"] == "success" and len(pieces) > 1
    assert call("chat", **PLAIN | {"model": new_name}, messages=MESSAGES)["message"]["content"]


@endpoint("/api/create, unknown source")
def test_create_from_nothing(call: Call, new_name: str):
    with pytest.raises(Refused, match="nonesuch"):
        call("create", model=new_name, **{"from": "nonesuch"})


@endpoint("/api/copy")
def test_copy(call: Call, new_name: str):
    assert call("copy", source=GUIDE, destination=new_name)["status"] == "success"
    assert call("show", model=new_name)["capabilities"] == call("show", model=GUIDE)["capabilities"]


@endpoint("/api/delete")
def test_delete(call: Call, new_name: str):
    call("copy", source=GUIDE, destination=new_name)
    assert call("delete", model=new_name)["status"] == "success"
    assert f"{new_name}:latest" not in [model["model"] for model in call("list")["models"]]


@endpoint("/api/blobs")
@only_python
def test_blobs(call: Call, tiny: Path, new_name: str, http: httpx.Client):
    digest = call("create_blob", path=tiny)
    assert digest == f"sha256:{hashlib.sha256(tiny.read_bytes()).hexdigest()}"
    assert http.head(f"/api/blobs/{digest}").status_code == 200
    assert call("create", model=new_name, files={"tiny.gguf": digest})["status"] == "success"
    assert call("generate", model=new_name, prompt="hello", options={"num_predict": 4})["done"]


@endpoint("/api/pull")
@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
def test_pull_of_what_is_there(call: Call, stream: bool):
    reply = call("pull", model=GUIDE, stream=stream)
    assert (reply[-1] if stream else reply)["status"] == "success"


UNKNOWN: dict[str, tuple[dict[str, Any], str]] = {
    "generate": ({"prompt": "x"}, "model 'nonesuch' not found"),
    "chat": ({"messages": MESSAGES}, "model 'nonesuch' not found"),
    "show": ({}, "model 'nonesuch:latest' not found"),
    "embed": ({"input": "x"}, 'model "nonesuch" not found, try pulling it first'),
    "embeddings": ({"prompt": "x"}, 'model "nonesuch" not found, try pulling it first'),
    "delete": ({}, "model 'nonesuch' not found"),
}


@endpoint("unknown model, native")
@pytest.mark.parametrize("method", UNKNOWN)
def test_an_unknown_model_is_not_found(call: Call, method: str):
    fields, words = UNKNOWN[method]
    with pytest.raises(Refused) as caught:
        call(method, model="nonesuch", **fields)
    assert (caught.value.status, caught.value.text) == (404, words)


@endpoint("unknown model, native")
def test_an_unknown_model_cannot_be_copied(call: Call):
    with pytest.raises(Refused) as caught:
        call("copy", source="nonesuch", destination="other")
    assert (caught.value.status, caught.value.text) == (404, 'model "nonesuch" not found')
