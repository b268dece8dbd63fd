"""Every command of README.md, run in its order as a user would, and the Python of the documents."""

import contextlib
import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from oprel.core.config import Config
from oprel.core.models.manifests import BUNDLED
from oprel.core.names import GUIDE
from tests.conftest import ENGINE_THREADS, NOWHERE, RunningDaemon, running_daemon, temporary_home
from tests.fixtures.documents import PAGES, README, ROOT, blocks, shell_lines
from tests.fixtures.hub_server import HubServer
from tests.fixtures.terminal import CTRL_D, Terminal

pytestmark = pytest.mark.long

MODEL = BUNDLED / f"{GUIDE}.gguf"  # as the user's file and as the hub's: one whose answers end
SECONDS = 60.0  # that one command may take
ADDRESS = "http://127.0.0.1:11435"  # in the documents
# What runs in place of a command, because that would run this test, or takes minutes.
INSTEAD = {"bin/test": "bin/test lint"}
# Of Hugging Face, as far as the README pulls from there.
REPOSITORIES = {
    "Qwen/Qwen3-0.6B-GGUF": "Qwen3-0.6B-Q8_0.gguf",
    "Qwen/Qwen2.5-Coder-7B-Instruct-GGUF": "qwen2.5-coder-7b-instruct-q4_k_m.gguf",
}
SCHEMA = {
    "type": "object",
    "properties": {"stars": {"enum": [1, 2, 3]}},
    "required": ["stars"],
    "additionalProperties": False,
}
# Pages with Python, but for extending.md, whose packages its own test installs.
PYTHON = [page for page in PAGES if "```python" in page.read_text() and page.name != "extending.md"]


@dataclass(frozen=True)
class User:
    """Somebody in a clone of the repository, with a model and a Modelfile in the current folder."""

    folder: Path
    daemon: RunningDaemon
    environment: Mapping[str, str]

    def run(self, command: Sequence[str]) -> None:
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert done.returncode == 0, f"{command} exits with {done.returncode}:\n{done.stdout}"

    def type(self, command: str) -> None:
        """Run a shell command, and talk with a model where it begins a conversation."""
        words = shlex.split(command)
        if words[:2] == ["oprel", "chat"]:
            self._talk(words[1:])
        else:
            self.run(["bash", "-o", "pipefail", "-c", INSTEAD.get(command, command)])

    def _talk(self, arguments: Sequence[str]) -> None:
        terminal = Terminal(self.daemon.config.home, *arguments, environment=self.environment, folder=self.folder)
        with contextlib.closing(terminal):
            terminal.await_prompt()
            assert terminal.ask("hello")
            terminal.type(CTRL_D)
            assert terminal.end()[0] == 0


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubServer]:
    """In place of Hugging Face."""
    root = tmp_path_factory.mktemp("hub")
    for repository, file in REPOSITORIES.items():
        (root / repository).mkdir(parents=True)
        shutil.copy(MODEL, root / repository / file)
    with HubServer(root).running() as running:
        yield running


@pytest.fixture(scope="module")
def user(hub: HubServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[User]:
    folder = _clone(tmp_path_factory.mktemp("clone"))
    settings = {"OPREL_SERVER_PORT": "0", "OPREL_N_THREADS": str(ENGINE_THREADS), "OPREL_OLLAMA_REGISTRY": NOWHERE}
    with temporary_home() as home:
        config = Config(
            home=str(home), server_port=0, n_threads=ENGINE_THREADS, hf_endpoint=hub.url, ollama_registry=NOWHERE
        )
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        own = {"HOME": str(folder), "OPREL_HOME": str(home), "HF_ENDPOINT": hub.url, "PATH": path}
        with running_daemon(config) as daemon:
            yield User(folder, daemon, {**os.environ, **settings, **own})


def _clone(folder: Path) -> Path:
    """What of a clone the commands need, and what they want of the user."""
    (folder / "bin").symlink_to(ROOT / "bin")
    shutil.copy(MODEL, folder / "m.gguf")
    (folder / "Modelfile").write_text("FROM guide\nSYSTEM You are kind.\nPARAMETER temperature 0\n")
    (folder / "schema.json").write_text(json.dumps(SCHEMA))
    for git in (["init", "--quiet"], ["add", "Modelfile"]):
        subprocess.run(["git", *git], cwd=folder, check=True)
    with (folder / "Modelfile").open("a") as file:  # for `git diff`
        file.write("PARAMETER seed 1\n")
    return folder


@pytest.mark.timeout(120)
@pytest.mark.parametrize("page", PYTHON, ids=lambda page: page.name)
def test_the_python_of_the_documents_runs(user: User, page: Path) -> None:
    code = "\n\n".join(block.text for block in blocks(page) if block.language == "python")
    user.run([sys.executable, "-W", "error", "-c", code.replace(ADDRESS, user.daemon.url)])


@pytest.mark.timeout(240)
def test_every_command_of_the_readme_works(user: User) -> None:
    """The last one ends the daemon."""
    for command in shell_lines(README):
        user.type(command)
