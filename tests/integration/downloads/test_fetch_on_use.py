"""Models that are not installed: fetched on use by oprel's own calls, refused by those of other dialects."""

import logging
from collections.abc import Callable, Iterator

import httpx
import pytest

import oprel
from oprel import Client
from oprel.api_models import LoadResponse
from oprel.core.config import Config
from oprel.core.exceptions import ModelNotFoundError
from tests.conftest import DEADLINE, RunningDaemon, eventually, temporary_home
from tests.fixtures.hub_server import Behaviour, HubServer, Mode

ONE_TOKEN = {"num_predict": 1, "temperature": 0}
HELLO = [{"role": "user", "content": "hello"}]


@pytest.fixture
def name(repo: str) -> str:
    return f"hf.co/{repo}:Q8_0"


def requests_for(hub: HubServer, repo: str) -> list[str]:
    return [line for line in hub.seen if repo in line]


REFUSING: dict[str, dict[str, object]] = {
    "/api/generate": {"prompt": "hello"},
    "/api/chat": {"messages": HELLO},
    "/api/embed": {"input": "hello"},
    "/api/show": {},
    "/v1/chat/completions": {"messages": HELLO},
    "/v1/completions": {"prompt": "hello"},
    "/v1/embeddings": {"input": "hello"},
    "/v1/responses": {"input": "hello"},
    "/v1/messages": {"messages": HELLO, "max_tokens": 1},
}


@pytest.mark.parametrize("path", REFUSING)
def test_other_dialects_answer_404_with_the_next_step(
    shared: RunningDaemon, hub: HubServer, repo: str, name: str, path: str
):
    answer = httpx.post(f"{shared.url}{path}", json={"model": name, **REFUSING[path]}, timeout=DEADLINE)
    assert answer.status_code == 404
    assert f"oprel pull {name}" in answer.text
    assert requests_for(hub, repo) == []


def test_pythons_functions_after_ollama_refuse_too(client: Client, hub: HubServer, repo: str, name: str):
    for use in (
        lambda: client.chat(name, HELLO),
        lambda: list(client.chat(name, HELLO, stream=True)),
        lambda: client.generate(name, "hello"),
        lambda: client.embed(name, "hello"),
    ):
        with pytest.raises(ModelNotFoundError) as caught:
            use()
        assert f"oprel pull {name}" in caught.value.resolution_steps[0]
    assert requests_for(hub, repo) == []


def test_a_load_fetches_the_model(shared: RunningDaemon, name: str):
    answer = httpx.post(f"{shared.url}/load", json={"model": name}, timeout=DEADLINE)
    assert (answer.status_code, answer.json()["model"], answer.json()["state"]) == (200, name, "ready")
    assert (
        httpx.post(f"{shared.url}/load", json={"model": name, "fetch": None}, timeout=DEADLINE).json()["state"]
        == "ready"
    )


def test_a_load_tells_its_steps(shared: RunningDaemon, name: str):
    answer = httpx.post(f"{shared.url}/load", json={"model": name, "stream": True}, timeout=DEADLINE)
    *steps, last = map(LoadResponse.model_validate_json, answer.text.splitlines())
    assert {step.state for step in steps} == {"fetching"} and last.state == "ready"
    assert steps[0].status == "pulling manifest" and steps[-1].status == "success"
    assert any(step.total and step.completed == step.total for step in steps)


@pytest.mark.parametrize("stream", [True, False])
def test_a_prompt_in_a_conversation_fetches_the_model(shared: RunningDaemon, name: str, stream: bool):
    body = {"model": name, "prompt": "hello", "stream": stream, "options": ONE_TOKEN}
    answer = httpx.post(f"{shared.url}/generate", json=body, timeout=DEADLINE)
    assert answer.status_code == 200 and '"done":true' in answer.text


@pytest.mark.parametrize("path", ["/load", "/generate"])
def test_a_request_may_refuse_to_fetch(shared: RunningDaemon, hub: HubServer, repo: str, name: str, path: str):
    answer = httpx.post(
        f"{shared.url}{path}", json={"model": name, "prompt": "hello", "fetch": False}, timeout=DEADLINE
    )
    assert answer.status_code == 404 and f"oprel pull {name}" in answer.text
    assert requests_for(hub, repo) == []


@pytest.mark.parametrize("path", ["/load", "/generate"])
def test_what_no_source_has_is_not_found(shared: RunningDaemon, path: str):
    body = {"model": "hf.co/org/nonesuch-GGUF", "prompt": "hello"}
    answer = httpx.post(f"{shared.url}{path}", json=body, timeout=DEADLINE)
    error = answer.json()["error"]
    assert (answer.status_code, error["message"]) == (404, "model 'hf.co/org/nonesuch-GGUF' not found")
    assert "there is no repository org/nonesuch-GGUF" in error["resolution_steps"][0]


def test_a_path_is_never_fetched(shared: RunningDaemon, hub: HubServer):
    before = len(hub.seen)
    answer = httpx.post(f"{shared.url}/load", json={"model": "/nonexistent/m.gguf"}, timeout=DEADLINE)
    assert (answer.status_code, len(hub.seen)) == (404, before)


def test_the_download_stops_when_its_client_leaves(shared: RunningDaemon, client: Client, hub: HubServer, name: str):
    hub.behaviour = Behaviour(Mode.SLOW, pause=0.5)
    with httpx.stream("POST", f"{shared.url}/load", json={"model": name, "stream": True}, timeout=DEADLINE) as answer:
        next(line for line in answer.iter_lines() if "completed" in line)
    eventually(lambda: [task.status for task in client.downloads().downloads if task.model == name] == ["paused"])


@pytest.fixture(params=["daemon", "own process"])
def make_model(request: pytest.FixtureRequest, shared: RunningDaemon) -> Iterator[Callable[..., oprel.Model]]:
    with temporary_home() as home:
        own = request.param == "own process"
        config: Config = shared.config.replace(home=str(home)) if own else shared.config
        yield lambda name, **extras: oprel.Model(name, use_server=not own, config=config, options=ONE_TOKEN, **extras)


USES: dict[str, Callable[[oprel.Model], object]] = {
    "load": lambda model: model.load(),
    "generate": lambda model: model.generate("hello"),
    "a stream": lambda model: list(model.generate("hello", stream=True)),
    "a conversation": lambda model: model.generate("hello", conversation_id="walk"),
    "chat": lambda model: model.chat(HELLO),
    "a stream of a chat": lambda model: list(model.chat(HELLO, stream=True)),
    "embed": lambda model: model.embed("hello"),
}


@pytest.mark.parametrize("use", USES)
def test_a_model_refuses_to_fetch_if_told(
    make_model: Callable[..., oprel.Model], hub: HubServer, repo: str, name: str, use: str
):
    model = make_model(name, fetch=False)
    with pytest.raises(ModelNotFoundError) as caught:
        USES[use](model)
    assert f"oprel pull {name}" in caught.value.resolution_steps[0]
    model.close()
    assert requests_for(hub, repo) == []


@pytest.mark.parametrize("use", ["load", "a stream", "a conversation", "embed"])
def test_a_model_is_fetched_on_its_first_use(
    make_model: Callable[..., oprel.Model], name: str, use: str, caplog: pytest.LogCaptureFixture
):
    steps: list[LoadResponse] = []
    caplog.set_level(logging.INFO, "oprel.client.fetching")
    model = make_model(name, progress=steps.append)
    assert USES[use](model)
    assert any(step.total and step.completed == step.total for step in steps)
    assert caplog.messages[0] == f"{name}: pulling manifest" and caplog.messages[-1] == f"{name}: ready"
    assert any("100% of 275 KB" in line for line in caplog.messages)
    count = len(steps)
    assert model.generate("again") is not None
    model.close()
    assert len(steps) == count


async def test_load_is_the_same_in_both_clients(shared: RunningDaemon, name: str):
    steps: list[str | None] = []
    async with oprel.AsyncClient(f"unix:{shared.config.socket_path}") as client:
        with pytest.raises(ModelNotFoundError):
            await client.load(name, fetch=False)
        loaded = await client.load(name, progress=lambda step: steps.append(step.status))
    assert loaded.state == "ready" and steps[-1] == "success"
