"""What routes do for callers who may use models and nothing else: other machines, where they may without a key."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

import oprel
from oprel import __version__
from oprel.core.config import Config
from oprel.core.home import prepare_home
from oprel.server.api.common.app_state import AppState
from oprel.server.app import create_app
from tests.conftest import NOWHERE, temporary_home
from tests.fixtures.access import assembled


@pytest.fixture
def state() -> Iterator[AppState]:
    with temporary_home() as home:
        config = Config(home=str(home), allow_unauthenticated_lan="on", hf_endpoint=NOWHERE, ollama_registry=NOWHERE)
        prepare_home(config)
        yield assembled(config, home)


@pytest.fixture
def app(state: AppState) -> FastAPI:
    return create_app(state)


def client(app: FastAPI, address: str) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app, client=(address, 50_000))
    return httpx.AsyncClient(transport=transport, base_url="http://192.168.1.1:11435")


async def test_who_cannot_be_told_apart_goes_on_with_no_conversation(app: FastAPI) -> None:
    async with client(app, "192.168.1.2") as http:
        body = {"model": "guide", "prompt": "And now?", "conversation_id": "of the own user"}
        answer = await http.post("/generate", json=body)
    assert (answer.status_code, answer.json()["error"]["type"]) == (403, "forbidden")
    assert "callers who can be told apart" in answer.json()["error"]["message"]


@pytest.mark.parametrize("path", ["/load", "/generate"])
async def test_their_requests_download_nothing(app: FastAPI, path: str) -> None:
    async with client(app, "192.168.1.2") as http:
        answer = await http.post(path, json={"model": "org/model", "prompt": "hello", "stream": False})
    assert answer.status_code == 404
    assert "It cannot be fetched" not in answer.text


async def test_they_name_no_files(app: FastAPI, state: AppState) -> None:
    path = str(state.manager.config.home_dir / "state.db")
    async with client(app, "192.168.1.2") as http:
        for route in ("/api/show", "/api/chat", "/load", "/unload", "/v1/responses", "/api/tokenize"):
            answer = await http.post(route, json={"model": path, "input": "x", "messages": [{"content": "x"}]})
            assert answer.status_code == 404, route


async def test_health_says_little_to_those_without_rights() -> None:
    with temporary_home() as home:
        config = Config(home=str(home))
        prepare_home(config)
        async with client(create_app(assembled(config, home)), "127.0.0.1") as http:
            own = (await http.get("/health")).json()
            other = (await http.get("/health", headers={"x-forwarded-for": "203.0.113.7"})).json()
    assert other == {"status": "ok", "version": __version__}
    assert own.keys() > other.keys()


async def test_they_see_no_paths_of_this_machine(app: FastAPI) -> None:
    folder = str(Path(oprel.__file__).parent)
    async with client(app, "192.168.1.2") as http, client(app, "127.0.0.1") as own:
        shown = (await http.post("/api/show", json={"model": "guide"})).json()["modelfile"]
        assert folder in (await own.post("/api/show", json={"model": "guide"})).json()["modelfile"]
        texts = [(await http.get(path)).text for path in ("/models", "/api/tags", "/api/models/library", "/health")]
    assert "FROM guide:latest" in shown
    assert not [text for text in (shown, *texts) if folder in text]
