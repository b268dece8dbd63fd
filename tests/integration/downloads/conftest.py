"""A hub of the tests' own, and a daemon that fetches from it."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from oprel.client_api import Client
from oprel.core.config import Config
from tests.conftest import RunningDaemon, running_daemon, temporary_home
from tests.fixtures.hub_server import Behaviour, HubServer

QUIET = "org/quiet-GGUF"  # for daemons of a test's own


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory, tiny: Path) -> Iterator[HubServer]:
    with HubServer(tmp_path_factory.mktemp("served")).running() as running:
        add_models(running, QUIET, tiny)
        yield running


@pytest.fixture(scope="module")
def shared(hub: HubServer) -> Iterator[RunningDaemon]:
    """A daemon for tests that have a repository of their own."""
    with temporary_home() as home:
        config = Config(home=str(home), server_port=0, n_threads=1, hf_endpoint=hub.url, ollama_registry=hub.url)
        with running_daemon(config) as daemon:
            yield daemon


@pytest.fixture
def client(shared: RunningDaemon) -> Iterator[Client]:
    with shared.client as client:
        yield client


@pytest.fixture(autouse=True)
def good_manners(hub: HubServer) -> Iterator[None]:
    """A test's misbehaviour of the server ends with it."""
    yield
    hub.behaviour = Behaviour()
    hub.gated.clear()
    hub.in_xet_only.clear()


@pytest.fixture
def repo(hub: HubServer, tiny: Path) -> str:
    """A repository of a test's own, with two variants of a model."""
    name = f"org/tiny-{uuid.uuid4().hex[:8]}-GGUF"
    add_models(hub, name, tiny)
    return name


def add_models(hub: HubServer, name: str, tiny: Path) -> None:
    (hub.folder / name).mkdir(parents=True)
    for quant in ("Q4_K_M", "Q8_0"):
        (hub.folder / name / f"tiny-{quant}.gguf").write_bytes(tiny.read_bytes())
    (hub.folder / name / "README.md").write_text("a model")
