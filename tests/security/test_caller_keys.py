"""Keys of callers on other machines, as the clients that people use send and understand them."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import anthropic
import httpx
import httpx2
import ollama
import openai
import pytest
from fastapi import FastAPI

from oprel.cli.main import main
from oprel.core.config import Config
from oprel.core.home import prepare_home
from oprel.core.names import GUIDE
from oprel.core.state.keys import KeyStore, new_key
from oprel.runtime.binaries.engine_binaries import EngineBinaries
from oprel.server.access.keys import FAILURES_PER_MINUTE
from oprel.server.app import assemble, create_app
from oprel.server.history.request_log import RequestEntry, RequestLog
from oprel.utils.process.clock import Clock
from tests.conftest import RunningDaemon

URL = "http://localhost:11435"
ELSEWHERE = ("10.0.0.5", 50_000)


@pytest.fixture
def app(config: Config) -> FastAPI:
    """Of a daemon for which no time passes."""
    prepare_home(config)
    return create_app(assemble(config, EngineBinaries([], probes=False), config.home_dir, Clock(lambda: 0.0)))


@pytest.fixture
def store(config: Config) -> Iterator[KeyStore]:
    prepare_home(config)
    store = KeyStore.at(config.home_dir / "state.db")
    yield store
    store.close()


def http(app: FastAPI) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app, client=ELSEWHERE), base_url=URL)


def http_of_clients(app: FastAPI) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app, client=ELSEWHERE), base_url=URL)


def of_openai(app: FastAPI, key: str) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"{URL}/v1", api_key=key, http_client=http_of_clients(app), max_retries=0)


def of_anthropic(app: FastAPI, key: str) -> anthropic.AsyncAnthropic:
    return anthropic.AsyncAnthropic(base_url=URL, api_key=key, http_client=http_of_clients(app), max_retries=0)


async def test_a_wrong_key_is_an_authentication_error_of_each_client(app: FastAPI) -> None:
    secret = new_key("a", "inference", created=0)[1]
    for key in (secret, "sk-wrong"):
        with pytest.raises(openai.AuthenticationError, match="not valid") as of_the_first:
            await of_openai(app, key).models.list()
        assert of_the_first.value.response.headers["www-authenticate"] == "Bearer"
        with pytest.raises(anthropic.AuthenticationError, match="not valid"):
            await of_anthropic(app, key).models.list()
    async with http(app) as client:
        answer = await client.get("/api/tags", headers={"Authorization": f"Bearer {secret}"})
    assert answer.status_code == 401 and answer.json()["code"] == "unauthorized" and "not valid" in answer.text


async def test_a_key_of_each_scope_and_an_expired_one(app: FastAPI, store: KeyStore) -> None:
    secrets = {}
    for name, scope, expires in (("use", "inference", None), ("all", "admin", None), ("old", "admin", 1.0)):
        key, secrets[name] = new_key(name, "admin" if scope == "admin" else "inference", created=0, expires=expires)
        store.add(key)
    async with http(app) as client:
        statuses = {
            (name, path): (await client.get(path, headers={"x-api-key": secret})).status_code
            for name, secret in secrets.items()
            for path in ("/", "/api/tags", "/settings")
        }
    assert statuses == {
        ("use", "/"): 200,
        ("use", "/api/tags"): 200,
        ("use", "/settings"): 403,
        ("all", "/"): 200,
        ("all", "/api/tags"): 200,
        ("all", "/settings"): 200,
        ("old", "/"): 200,
        ("old", "/api/tags"): 401,
        ("old", "/settings"): 401,
    }


async def test_limits_are_rate_limit_errors_of_each_client(app: FastAPI, store: KeyStore) -> None:
    key, secret = new_key("a", "inference", requests_per_minute=1, created=0)
    store.add(key)
    await of_openai(app, secret).models.list()
    with pytest.raises(openai.RateLimitError) as refused:
        await of_openai(app, secret).models.list()
    assert 0 < int(refused.value.response.headers["retry-after"]) <= 60
    with pytest.raises(anthropic.RateLimitError):
        await of_anthropic(app, secret).models.list()


async def test_who_guesses_is_slowed(app: FastAPI) -> None:
    async with http(app) as client:
        guesses = [
            await client.get("/api/tags", headers={"x-api-key": f"guess-{number}"})
            for number in range(FAILURES_PER_MINUTE + 2)
        ]
        assert (await client.get("/")).status_code == 200
    assert {guess.status_code for guess in guesses} == {401}
    assert "too many wrong keys" in guesses[-1].text and "too many" not in guesses[0].text


async def test_a_route_for_anyone_does_not_let_guess(config: Config) -> None:
    """/health says more to a caller with a key: unlimited guesses would find a secret that somebody chose."""
    prepare_home(config)
    given = config.replace(api_keys="ci:inference:somebody-chose-it")
    app = create_app(assemble(given, EngineBinaries([], probes=False), config.home_dir, Clock(lambda: 0.0)))
    async with http(app) as client:
        right = {"x-api-key": "somebody-chose-it"}
        assert "pid" in (await client.get("/health", headers=right)).json()
        for number in range(FAILURES_PER_MINUTE):
            assert "pid" not in (await client.get("/health", headers={"x-api-key": f"guess-{number}"})).json()
        assert "pid" not in (await client.get("/health", headers=right)).json()


async def test_a_key_for_some_models_knows_no_others(app: FastAPI, store: KeyStore) -> None:
    key, secret = new_key("a", "inference", models=["gemma*"], created=0)
    store.add(key)
    headers = {"x-api-key": secret}
    async with http(app) as client:
        for path, rows in (("/api/tags", "models"), ("/v1/models", "data"), ("/api/models/library", "models")):
            listed = (await client.get(path, headers=headers)).json()[rows]
            assert all(row.get("name", row.get("id", "")).startswith("gemma") for row in listed), path
        assert (await client.get("/metrics", headers=headers)).status_code == 403
        bodies = {
            "/api/show": {"model": GUIDE},
            "/api/chat": {"model": GUIDE, "messages": [{"role": "user", "content": "x"}]},
            "/api/generate": {"model": GUIDE, "prompt": "x"},
            "/api/embed": {"model": GUIDE, "input": "x"},
            "/api/tokenize": {"model": GUIDE, "content": "x"},
            "/v1/chat/completions": {"model": GUIDE, "messages": [{"role": "user", "content": "x"}]},
            "/v1/completions": {"model": GUIDE, "prompt": "x"},
            "/v1/embeddings": {"model": GUIDE, "input": "x"},
            "/v1/rerank": {"model": GUIDE, "query": "x", "documents": ["y"]},
            "/v1/responses": {"model": GUIDE, "input": "x"},
            "/v1/messages": {"model": GUIDE, "max_tokens": 5, "messages": [{"role": "user", "content": "x"}]},
            "/load": {"model": GUIDE},
            "/unload": {"model": GUIDE},
            "/generate": {"model": GUIDE, "prompt": "x"},
        }
        statuses = {
            path: (await client.post(path, headers=headers, json=body)).status_code for path, body in bodies.items()
        }
        assert statuses == dict.fromkeys(bodies, 404)
        assert (await client.get(f"/v1/models/{GUIDE}", headers=headers)).status_code == 404
        assert (await client.get(f"/api/models/library/{GUIDE}", headers=headers)).status_code == 404


def test_a_model_that_is_loaded_under_a_hidden_name_too_shows_the_other_names_only(
    start_daemon: Callable[..., RunningDaemon], config: Config
) -> None:
    daemon, hidden = start_daemon(), "hidden:latest"
    key, secret = new_key("a", "inference", models=["guide*"], created=0)
    store = KeyStore.at(config.home_dir / "state.db")
    store.add(key)
    store.close()
    with httpx.Client(base_url=daemon.url) as own:
        own.post("/api/copy", json={"source": GUIDE, "destination": hidden}).raise_for_status()
        for name in (GUIDE, hidden):
            own.post("/load", json={"model": name}).raise_for_status()
        assert [row["name"] for row in own.get("/api/ps").json()["models"]] == [hidden]
    with httpx.Client(base_url=daemon.url, headers={"x-api-key": secret}) as client:
        for path in ("/models", "/api/ps"):
            shown = client.get(path)
            assert len(shown.json()["models"]) == 1 and hidden not in shown.text, path


def test_a_running_daemon_takes_a_new_key_and_its_limits_hold_for_its_own_user(
    start_daemon: Callable[..., RunningDaemon], capfd: pytest.CaptureFixture[str]
) -> None:
    daemon = start_daemon()
    home = f"--home={daemon.config.home}"
    capfd.readouterr()
    assert main(["keys", "add", "laptop", "--model", "guide*", "--tokens", "1", home]) == 0
    secret = capfd.readouterr().out.strip()
    with ollama.Client(daemon.url, headers={"Authorization": f"Bearer {secret}"}) as client:
        assert client.generate(GUIDE, "hello", options={"num_predict": 3})["eval_count"] >= 1
        with pytest.raises(ollama.ResponseError, match="limit of a minute") as refused:
            for _ in range(20):  # tokens count when the daemon has sent the whole answer
                client.generate(GUIDE, "hello", options={"num_predict": 1})
    assert refused.value.status_code == 429
    with ollama.Client(daemon.url, headers={"Authorization": "Bearer ollama"}) as client:
        assert client.list()["models"]
    metrics = httpx.get(f"{daemon.url}/metrics").text
    assert 'oprel_key_requests_total{key="laptop",status="429"} 1.0' in metrics
    assert main(["keys", "rm", "laptop", home]) == 0
    daemon.end()
    lines = (daemon.config.logs_dir / "requests.log").read_text().splitlines()
    mine = [line for line in lines if "key=laptop" in line]
    statuses = [line.split()[3] for line in mine]
    assert (statuses[0], statuses[-1], {*statuses}) == ("200", "429", {"200", "429"})
    assert "model=guide" in mine[0] and "answer_tokens=" in mine[0] and "hello" not in mine[0]
    assert secret not in "".join(lines) + daemon.log


def test_the_log_of_requests_has_one_line_for_each_whatever_a_path_contains(tmp_path: Path) -> None:

    entry = RequestEntry(
        at=0.5, method="GET", path='/a b\n"\x1b[2J', status=404, ms=1.0, caller="own_user", model="m" * 999
    )
    for form in ("text", "json"):
        log = RequestLog(tmp_path / f"{form}.log", "json" if form == "json" else "text", limit=2000)
        for _ in range(3):
            log.add(entry)
        log.close()
    lines = (tmp_path / "text.log").read_text().splitlines()
    assert len(lines) == 3 and "\x1b" not in lines[0] and len(lines[0]) < 600
    assert lines[0].startswith("1970-01-01T00:00:00.500Z GET ")
    parsed = [json.loads(line) for line in (tmp_path / "json.log").read_text().splitlines()]
    assert parsed[0]["status"] == 404 and parsed[0]["prompt_tokens"] == 0
    assert (tmp_path / "text.log").stat().st_mode & 0o777 == 0o600
    again = RequestLog(tmp_path / "text.log", "text", limit=10)
    again.add(entry)
    again.close()
    assert len((tmp_path / "text.log").read_text().splitlines()) == 1
