"""Faults x dialects: whatever goes wrong, a client can tell a finished answer from a broken one.

The prompt tells the engine, a fake, what to do wrong. Each dialect is judged by what a careful client of it looks at.
"""

import json
import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import anthropic
import httpx
import openai
import pytest

from oprel.core.config import Config
from oprel.core.names import GUIDE
from tests.clients.ollama_clients import BY_NAME, Refused
from tests.clients.questions import TOOL, TOOL_PARAMETERS
from tests.conftest import DEADLINE, RunningDaemon, eventually, running_daemon, temporary_home
from tests.fixtures.fake_engine import install, told


class Ending(Enum):
    FINISHED = "finished"
    BROKEN = "broken"


@dataclass(frozen=True)
class Dialect:
    """`ending` judges the body of an answer whose status is 200."""

    path: str
    stream: bool
    ending: Callable[[str], Ending]
    fields: Mapping[str, object]
    prompt: Callable[[str], dict[str, object]] = lambda text: {"messages": messages(text)}

    def ask(self, http: httpx.Client, text: str) -> httpx.Response:
        return http.post(self.path, json=self.body(text))

    def body(self, text: str) -> dict[str, object]:
        return {"model": GUIDE, "stream": self.stream, **self.fields, **self.prompt(text)}


def messages(text: str) -> Any:
    return [{"role": "user", "content": text}]


def reason(response: httpx.Response) -> str:
    """What an answer with an error status says."""
    error = response.json()["error"]
    return str(error if isinstance(error, str) else error["message"])


def last_ndjson_line(body: str) -> Ending:
    last = json.loads(body.splitlines()[-1])
    return Ending.BROKEN if "error" in last and "done" not in last else finished(last["done"])


def last_openai_event(body: str) -> Ending:
    *_, last = (data for _, data in events(body))
    if last == "[DONE]":
        return Ending.FINISHED
    assert "[DONE]" not in body
    assert json.loads(last)["error"]["message"]
    return Ending.BROKEN


def last_anthropic_event(body: str) -> Ending:
    *_, (name, data) = events(body)
    if name == "message_stop":
        return Ending.FINISHED
    assert "message_stop" not in body
    assert name == "error" and json.loads(data)["type"] == "error" and json.loads(data)["error"]["message"]
    return Ending.BROKEN


def last_responses_event(body: str) -> Ending:
    *_, (name, data) = events(body)
    if name == "response.completed":
        return Ending.FINISHED
    assert "response.completed" not in body
    assert name in ("response.failed", "error") and json.loads(data)["type"] == name
    return Ending.BROKEN


def finished(is_done: object) -> Ending:
    """Of an answer that has no way to say that it is broken."""
    assert is_done
    return Ending.FINISHED


def events(body: str) -> Iterator[tuple[str, str]]:
    """Name, "" where it has none, and data of each server-sent event."""
    for block in body.split("\n\n"):
        parts = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if "data" in parts:
            yield parts.get("event", ""), parts["data"]


def last_openai_choice(body: str) -> Ending:
    return finished(json.loads(body)["choices"][0]["finish_reason"])


FUNCTION = {"name": TOOL, "parameters": TOOL_PARAMETERS}
TOOLS = {"tools": [{"type": "function", "function": FUNCTION}]}
ANTHROPIC_TOOLS = {"tools": [{"name": TOOL, "input_schema": TOOL_PARAMETERS}], "max_tokens": 100}
RESPONSES_TOOLS = {"tools": [{"type": "function", **FUNCTION}]}
DIALECTS = {
    "native NDJSON": Dialect("/api/chat", True, last_ndjson_line, TOOLS),
    "native whole": Dialect("/api/chat", False, last_ndjson_line, TOOLS),
    "OpenAI SSE": Dialect("/v1/chat/completions", True, last_openai_event, TOOLS),
    "OpenAI whole": Dialect("/v1/chat/completions", False, last_openai_choice, TOOLS),
    "Anthropic SSE": Dialect("/v1/messages", True, last_anthropic_event, ANTHROPIC_TOOLS),
    "Responses SSE": Dialect(
        "/v1/responses", True, last_responses_event, RESPONSES_TOOLS, prompt=lambda text: {"input": text}
    ),
}


def part_of_call(**function: str) -> dict[str, object]:
    return {"choices": [{"delta": {"tool_calls": [{"index": 0, "id": "call_1", "function": function}]}}]}


CALL = [part_of_call(name=TOOL, arguments=""), part_of_call(arguments='{"city": '), part_of_call(arguments='"Oslo"}')]


@dataclass(frozen=True)
class EngineFault:
    """`faults` of the fake engine; `sent`: it has given some of the answer by then."""

    faults: dict[str, object]
    sent: bool = True

    def check(self, dialect: Dialect, url: str, http: httpx.Client, journal: Path) -> None:
        broken = dialect.ask(http, told(**self.faults))
        if self.sent and dialect.stream:
            assert (broken.status_code, dialect.ending(broken.text)) == (200, Ending.BROKEN)
        else:
            assert broken.status_code == 500
            assert "engine" in reason(broken)


class ClientLeaves:
    def check(self, dialect: Dialect, url: str, http: httpx.Client, journal: Path) -> None:
        content = json.dumps(dialect.body(told(tokens=100_000, token_delay=0.01, journal=str(journal)))).encode()
        address = urlsplit(url)
        with socket.create_connection((address.hostname, address.port)) as connection:
            head = f"POST {dialect.path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(content)}\r\n\r\n"
            connection.sendall(head.encode() + content)
            eventually(lambda: "ask " in read(journal))
            if dialect.stream:
                assert connection.recv(1)
        eventually(lambda: "client left" in read(journal))


def read(journal: Path) -> str:
    return journal.read_text() if journal.exists() else ""


FAULTS: dict[str, EngineFault | ClientLeaves] = {
    "the engine dies before its first byte": EngineFault({"die_at_request": True}, sent=False),
    "the engine dies before its first token": EngineFault({"die_at_token": 0}, sent=False),
    "the engine dies in the text": EngineFault({"die_at_token": 2}),
    "the engine dies in a tool call": EngineFault({"tokens": 2, "events": CALL, "die_at_event": 2}),
    "the engine ends in the text": EngineFault({"end_at_token": 2}),
    "the engine sends garbage": EngineFault({"garbage_at_token": 2}),
    "the engine sends an error": EngineFault({"error_at_token": 2}),
    "the client leaves": ClientLeaves(),
}


@pytest.fixture(scope="session")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDaemon]:
    """A daemon whose engine has the faults that a prompt tells it."""
    engine = install(tmp_path_factory.mktemp("obedient") / "engine")
    with temporary_home() as home, running_daemon(Config(home=str(home), server_port=0, engine_path=str(engine))) as it:
        yield it


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_client_can_tell_finished_from_broken(daemon: RunningDaemon, tmp_path: Path, fault: str, dialect: str):
    spoken = DIALECTS[dialect]
    with httpx.Client(base_url=daemon.url, timeout=DEADLINE, trust_env=False) as http:
        FAULTS[fault].check(spoken, daemon.url, http, tmp_path / "journal")
        good = spoken.ask(http, "hello")
        assert (good.status_code, spoken.ending(good.text)) == (200, Ending.FINISHED)


def read_openai(url: str, text: str) -> None:
    with openai.OpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0) as client:
        list(client.chat.completions.create(model=GUIDE, messages=messages(text), stream=True))


def read_anthropic(url: str, text: str) -> None:
    with anthropic.Anthropic(base_url=url, api_key="any", max_retries=0) as client:
        list(client.messages.create(model=GUIDE, messages=messages(text), max_tokens=100, stream=True))


def read_ollama(name: str) -> Callable[[str, str], None]:
    return lambda url, text: BY_NAME[name](url)("chat", model=GUIDE, messages=messages(text), stream=True)


READERS = {"openai": read_openai, "anthropic": read_anthropic} | {name: read_ollama(name) for name in BY_NAME}


@pytest.mark.parametrize("client", READERS)
def test_the_official_client_raises_what_broke_its_stream(daemon: RunningDaemon, client: str):
    READERS[client](daemon.url, "hello")
    with pytest.raises((Refused, openai.APIError, anthropic.APIError), match="the engine died while answering"):
        READERS[client](daemon.url, told(die_at_token=2))
