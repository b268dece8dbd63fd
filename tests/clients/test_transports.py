"""The same clients over each transport: TCP, a Unix socket, a shared one, a pipe, and without a connection at all."""

import contextlib
import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import httpx
import ollama
import openai
import pytest

import oprel
from oprel.client.base import Address
from oprel.client.connect import LOCAL_URL, open_transport
from oprel.client.inprocess import InProcessTransport
from oprel.client.plain.plain_client import PlainClient
from oprel.core.config import Config
from oprel.core.names import GUIDE
from oprel.utils.process import pipes
from tests.clients.questions import LIST, LIST_ANSWER
from tests.conftest import DEADLINE, ENGINE_THREADS, running_daemon, temporary_home
from tests.fixtures.pair_pipes import FOLDER, PairPipes

EXACT = oprel.Options(temperature=0)
MESSAGES = [{"role": "user", "content": LIST}]
MODE = 0o660
TRANSPORTS = ("TCP", "Unix socket", "shared socket", "pipe", "in-process")
BLOB = b"a part of a model" * 100_000  # more than a socket or a pipe holds
NAME = "oprel-test"


@dataclass(frozen=True)
class Served:
    """A daemon, and its addresses by transport."""

    config: Config
    addresses: dict[str, str]
    inprocess: InProcessTransport

    @contextlib.contextmanager
    def transport(self, kind: str) -> Iterator[httpx.BaseTransport]:
        if kind == "in-process":
            yield self.inprocess
        else:
            with open_transport(Address.parse(self.addresses[kind]), self.config) as transport:
                yield transport


class _StaysOpen(httpx.BaseTransport):
    """Clients close their transport, and other tests use it after them."""

    def __init__(self, inner: httpx.BaseTransport) -> None:
        self._inner = inner

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return self._inner.handle_request(request)


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with temporary_home() as home, pytest.MonkeyPatch.context() as patch:
        patch.setenv(FOLDER, str(home))
        patch.setattr(pipes, "_installed", [PairPipes(home)])
        shared = f"unix:{home}/shared.sock"
        config = Config(
            home=str(home / "home"),
            server_port=0,
            n_threads=ENGINE_THREADS,
            listen=f"{shared}?mode={MODE:o}&group={os.getgid()}, pipe:{NAME}",
        )
        with running_daemon(config) as daemon, InProcessTransport(config) as inprocess:
            addresses = {
                "TCP": daemon.url,
                "Unix socket": f"unix:{config.socket_path}",
                "shared socket": shared,
                "pipe": f"pipe:{NAME}",
            }
            yield Served(config, addresses, inprocess)


@pytest.fixture(params=TRANSPORTS)
def http(request: pytest.FixtureRequest, served: Served) -> Iterator[httpx.Client]:
    """Requests over each transport."""
    with served.transport(request.param) as transport:
        url = served.addresses["TCP"] if request.param == "TCP" else LOCAL_URL
        with httpx.Client(transport=_StaysOpen(transport), base_url=url, timeout=DEADLINE) as http:
            yield http


def url_of(http: httpx.Client) -> str:
    return str(http.base_url).rstrip("/")


def by_oprel(http: httpx.Client) -> str:
    client = oprel.Client(url_of(http), transport=http._transport, timeout=DEADLINE)
    assert GUIDE in {model.name.partition(":")[0] for model in client.list().models}
    pieces = client.chat(GUIDE, MESSAGES, options=EXACT, stream=True)
    return "".join(piece.message.content or "" for piece in pieces)


def by_ollama(http: httpx.Client) -> str:
    client = ollama.Client(host=url_of(http), transport=http._transport)
    return client.chat(GUIDE, MESSAGES, options={"temperature": 0}, think=False).message.content or ""


def by_openai(http: httpx.Client) -> str:
    client = openai.OpenAI(base_url=f"{url_of(http)}/v1", api_key="any", max_retries=0, http_client=http)  # type: ignore[arg-type]  # its types are of httpx2
    pieces = client.chat.completions.create(
        model=GUIDE, messages=[{"role": "user", "content": LIST}], temperature=0, stream=True
    )
    return "".join(piece.choices[0].delta.content or "" for piece in pieces if piece.choices)


def by_messages(http: httpx.Client) -> str:
    """Anthropic's client takes no transport of httpx: the request that it sends."""
    body = {"model": GUIDE, "max_tokens": 100, "messages": MESSAGES, "temperature": 0}
    content = http.post("/v1/messages", json=body).raise_for_status().json()["content"]
    return "".join(block["text"] for block in content if block["type"] == "text")


@pytest.mark.parametrize("answer", [by_oprel, by_ollama, by_openai, by_messages])
def test_each_client_gets_its_answer(http: httpx.Client, answer: Callable[[httpx.Client], str]) -> None:
    assert LIST_ANSWER in answer(http)


def test_a_large_body_arrives_and_an_error_is_the_same(http: httpx.Client) -> None:
    digest = f"sha256:{hashlib.sha256(BLOB).hexdigest()}"
    assert http.post(f"/api/blobs/{digest}", content=BLOB).status_code in (200, 201)
    assert http.head(f"/api/blobs/{digest}").status_code == 200
    missing = http.post("/api/show", json={"model": "no-such-model"})
    assert (missing.status_code, missing.json()["code"]) == (404, "model_not_found")


def test_a_client_may_leave_in_mid_answer(http: httpx.Client) -> None:
    body = {"model": GUIDE, "prompt": LIST, "stream": True, "options": {"num_predict": 200}}
    with http.stream("POST", "/api/generate", json=body) as response:
        assert next(response.iter_lines())
    assert http.get("/health").json()["status"] == "ok"


@pytest.mark.parametrize("kind", TRANSPORTS[:-1])
async def test_asynchronous_clients_too(served: Served, kind: str) -> None:
    async with oprel.AsyncClient(served.addresses[kind], config=served.config, start=False) as client:
        pieces = [
            piece.message.content or ""
            async for piece in await client.chat(GUIDE, MESSAGES, options=EXACT, stream=True)
        ]
    assert LIST_ANSWER in "".join(pieces)


@pytest.mark.parametrize("kind", ["Unix socket", "shared socket", "pipe"])
def test_simple_commands_too(served: Served, kind: str) -> None:
    client = PlainClient(served.config.replace(host=served.addresses[kind]), start=False)
    assert client.show(GUIDE).details
    pieces = client.generate(GUIDE, LIST, stream=True, options={"temperature": 0})
    assert LIST_ANSWER in "".join(piece.response for piece in pieces)


def test_a_shared_socket_has_its_mode_and_group(served: Served) -> None:
    status = os.stat(served.addresses["shared socket"].removeprefix("unix:"))
    assert (stat.S_IMODE(status.st_mode), status.st_gid) == (MODE, os.getgid())
