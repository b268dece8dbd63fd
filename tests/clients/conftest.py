"""The clients, each with the live daemon and the bundled model; every test here is a cell of the table."""

import uuid
from collections.abc import Iterator

import anthropic
import httpx
import openai
import pytest

from tests.clients.ollama_clients import BY_NAME, Call
from tests.clients.table import cell
from tests.conftest import DEADLINE, RunningDaemon


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "endpoint(name): the row of the test in the table of endpoints and clients")


def endpoint_of(request: pytest.FixtureRequest) -> str:
    marker = request.node.get_closest_marker("endpoint")
    assert marker, "name the test's row: @pytest.mark.endpoint(...)"
    return str(marker.args[0])


@pytest.fixture(params=BY_NAME)
def call(request: pytest.FixtureRequest, record_property, shared_daemon: RunningDaemon) -> Call:
    """`call(method, **fields)` through each of Ollama's official clients."""
    record_property(*cell(endpoint_of(request), request.param))
    return BY_NAME[request.param](shared_daemon.url)


@pytest.fixture
def openai_client(
    request: pytest.FixtureRequest, record_property, shared_daemon: RunningDaemon
) -> Iterator[openai.OpenAI]:
    record_property(*cell(endpoint_of(request), "openai"))
    with openai.OpenAI(base_url=f"{shared_daemon.url}/v1", api_key="any", max_retries=0, timeout=DEADLINE) as client:
        yield client


@pytest.fixture
def anthropic_client(
    request: pytest.FixtureRequest, record_property, shared_daemon: RunningDaemon
) -> Iterator[anthropic.Anthropic]:
    record_property(*cell(endpoint_of(request), "anthropic"))
    with anthropic.Anthropic(base_url=shared_daemon.url, api_key="any", max_retries=0, timeout=DEADLINE) as client:
        yield client


@pytest.fixture
def http(shared_daemon: RunningDaemon) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=shared_daemon.url, timeout=DEADLINE, trust_env=False) as http:
        yield http


@pytest.fixture
def new_name(http: httpx.Client) -> Iterator[str]:
    """A name that no model has; what gets it is deleted at the end."""
    name = f"made-{uuid.uuid4().hex[:8]}"
    yield name
    http.request("DELETE", "/api/delete", json={"model": name})
