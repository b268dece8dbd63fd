"""A daemon that is killed while clients create, copy, delete, import, pull, push and converse.

Whatever was acknowledged is there with the next daemon, nothing is half there, and nothing temporary is left.
`bin/test state` runs this.
"""

import hashlib
import itertools
import queue
import random
import signal
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import httpx
import pytest

from oprel.client_api import Client
from oprel.core.config import Config
from oprel.core.exceptions import OprelError
from oprel.formats.ollama_manifest import MANIFEST_TYPE
from tests.conftest import DEADLINE, RunningDaemon, running_daemon, temporary_home
from tests.fixtures.gguf_factory import write_tiny_gguf
from tests.fixtures.hub_server import HubServer
from tests.fixtures.registries import RunningRegistry, running_registry

pytestmark = [pytest.mark.state, pytest.mark.timeout(1800)]

ROUNDS = 14
MOST_ACKNOWLEDGED = 60  # operations before a kill
TO_DELETE = 12

Operation = Callable[[Client, int], str]


@dataclass
class Clients:
    """One for each kind of operation, which repeats it until the daemon is gone. A number is used once."""

    url: str
    tiny: Path
    folder: Path
    hub: HubServer
    registry: RunningRegistry
    numbers: "itertools.count[int]"
    deletable: list[str]
    acknowledged: "queue.Queue[tuple[str, str]]" = field(default_factory=queue.Queue)

    def create(self, client: Client, number: int) -> str:
        file = write_tiny_gguf(self.folder / f"{number}.gguf", seed=number)
        client.create(f"created-{number}", files={file.name: client.create_blob(file)}, system=f"You are {number}.")
        return f"created-{number}"

    def copy(self, client: Client, number: int) -> str:
        client.copy("base", f"copied-{number}")
        return f"copied-{number}"

    def delete(self, client: Client, number: int) -> str:
        name = self.deletable.pop()
        client.delete(name)
        return name

    def import_(self, client: Client, number: int) -> str:
        file = write_tiny_gguf(self.folder / f"{number}.gguf", seed=number)
        steps = [step.status for step in client.import_model(f"imported-{number}", str(file), how="copy")]
        assert steps[-1] == "success"
        return f"imported-{number}"

    def pull(self, client: Client, number: int) -> str:
        repository = self.hub.folder / "org" / f"pulled-{number}"
        repository.mkdir(parents=True)
        write_tiny_gguf(repository / "tiny-Q8_0.gguf", seed=number)
        assert client.pull(f"hf.co/org/pulled-{number}").status == "success"
        return f"hf.co/org/pulled-{number}"

    def push(self, client: Client, number: int) -> str:
        name = f"{self.registry.host}/team/pushed:v{number}"
        client.copy("base", name)
        assert client.push(name).status == "success"
        return name

    def converse(self, client: Client, number: int) -> str:
        body = {"model": "base", "prompt": "hi", "conversation_id": f"c{number}", "stream": False}
        answer = httpx.post(f"{self.url}/generate", json=body | {"options": {"num_predict": 1}}, timeout=DEADLINE)
        assert answer.json()["done"] is True and "remembered" not in answer.json()
        return f"c{number}"

    def at_work(self) -> Iterator[threading.Thread]:
        kinds = (self.create, self.copy, self.delete, self.import_, self.pull, self.push, self.converse)
        for operation in kinds:
            thread = threading.Thread(target=partial(self._repeat, operation.__name__, operation))
            thread.start()
            yield thread

    def _repeat(self, kind: str, operation: Operation) -> None:
        try:
            with Client(self.url, timeout=DEADLINE) as client:
                for number in self.numbers:
                    self.acknowledged.put((kind, operation(client, number)))
        except (OprelError, httpx.HTTPError, IndexError):  # the daemon is gone, or all models are deleted
            return


def check(daemon: RunningDaemon, registry: RunningRegistry, acknowledged: set[tuple[str, str]]) -> None:
    """Everything that was acknowledged, since the first round."""
    with daemon.client as client:
        listed = {model.model for model in client.list().models}
        assert not [model.name for model in client.library(status="damaged").models]  # no name is half there
        systems = {name: client.show(name).system for kind, name in acknowledged if kind == "create"}
    for kind, name in acknowledged:
        match kind:
            case "create":
                assert systems[name] == f"You are {name.removeprefix('created-')}."
            case "copy" | "import_":
                assert f"{name}:latest" in listed
            case "delete":
                assert f"{name}:latest" not in listed
            case "pull":
                assert any(model.startswith(name) for model in listed), name
            case "push":
                tag = name.rpartition(":")[2]
                manifest = f"http://{registry.host}/v2/team/pushed/manifests/{tag}"
                answer = httpx.get(manifest, headers={"Accept": MANIFEST_TYPE}, trust_env=False)
                assert answer.status_code == 200, answer.text
    check_conversations(daemon.config, {name for kind, name in acknowledged if kind == "converse"})
    check_files(daemon.config)


def check_conversations(config: Config, wanted: set[str]) -> None:
    with closing(sqlite3.connect(config.home_dir / "state.db")) as database:
        rows = database.execute("SELECT conversation, count(*) FROM messages GROUP BY conversation").fetchall()
    assert wanted <= {conversation for conversation, _ in rows}
    assert {count for _, count in rows} <= {2}, "half a turn was kept"


def check_files(config: Config) -> None:
    for blob in (config.models_dir / "blobs").glob("sha256-*"):
        assert blob.name == f"sha256-{hashlib.sha256(blob.read_bytes()).hexdigest()}"
    assert not [*config.models_dir.glob(".*"), *config.models_dir.glob("blobs/.*")]


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubServer]:
    (tmp_path / "served").mkdir()
    with HubServer(tmp_path / "served").running() as hub:
        yield hub


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[RunningRegistry]:
    with running_registry(tmp_path) as registry:
        yield registry


def test_nothing_acknowledged_is_lost(tiny: Path, tmp_path: Path, hub: HubServer, registry: RunningRegistry) -> None:
    chance, numbers, acknowledged = random.Random(14), itertools.count(1), set[tuple[str, str]]()
    with temporary_home() as home:
        config = Config(home=str(home), server_port=0, n_threads=1, hf_endpoint=hub.url, ollama_registry=hub.url)
        for round in range(ROUNDS):
            with running_daemon(config) as daemon:
                check(daemon, registry, acknowledged)
                deletable = [f"deletable-{round}-{number}" for number in range(TO_DELETE)]
                with daemon.client as client:
                    if not round:
                        client.create("base", files={tiny.name: client.create_blob(tiny)})
                    for name in deletable:
                        client.copy("base", name)
                clients = Clients(daemon.url, tiny, tmp_path, hub, registry, numbers, deletable)
                threads = list(clients.at_work())
                acknowledged |= {
                    clients.acknowledged.get(timeout=DEADLINE) for _ in range(chance.randint(1, MOST_ACKNOWLEDGED))
                }
                daemon.end(signal.SIGKILL)
                for thread in threads:
                    thread.join()
                while not clients.acknowledged.empty():
                    acknowledged.add(clients.acknowledged.get())
        with running_daemon(config) as daemon:
            check(daemon, registry, acknowledged)
    counts = dict(Counter(kind for kind, _ in acknowledged))
    print(f"\n{ROUNDS} kills, acknowledged before them: {counts}")  # noqa: T201 - the figures are what the test is for
