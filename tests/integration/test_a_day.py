"""A day in the life of a machine, in random orders, on real files and with real engines: nothing is lost.

It is switched off with and without notice and suspended, its network and the disk with its models come and go, and
another version of oprel was there in between.
"""

import contextlib
import hashlib
import shutil
from pathlib import Path
from tempfile import mkdtemp

import psutil
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from oprel.core.config import Config
from tests.conftest import NOWHERE, eventually
from tests.fixtures.day_daemon import DayDaemon
from tests.fixtures.fake_engine import install
from tests.fixtures.gguf_factory import write_tiny_gguf
from tests.fixtures.hub_server import Behaviour, HubServer, Mode

REPOSITORIES = ("org/a-GGUF", "org/b-GGUF", "org/c-GGUF")
MINUTE, HOUR = 60.0, 3600.0
KEEP_ALIVE = "20s"
PATIENCE = 20 * MINUTE  # for a download to be done once everything is there

repositories = st.sampled_from(REPOSITORIES)


def named(repository: str) -> str:
    return f"hf.co/{repository}:Q8_0"


class Day(RuleBasedStateMachine):
    """`digests` are those of the weights that the hub has. `wanted` are the models whose download was requested, and
    `kept` those that were loaded for good, and long enough ago for the daemon to have recorded it.
    """

    hub: HubServer  # of all examples
    digests: dict[str, str]

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(mkdtemp(prefix="day-"))
        self.disk, self.away = self.folder / "disk", self.folder / "away"
        self.disk.mkdir()
        program = install(self.folder / "engine", names_weights=True, journal=str(self.folder / "journal"))
        self.config = Config(
            home=str(self.folder / "home"),
            cache_dir=str(self.disk / "hub"),
            engine_path=str(program),
            keep_alive=KEEP_ALIVE,
            hf_endpoint=self.hub.url,
            ollama_registry=NOWHERE,
            in_place="off",
        )
        self.daemon: DayDaemon | None = None
        self.wanted: set[str] = set()
        self.installed: set[str] = set()
        self.just_loaded: set[str] = set()
        self.kept: set[str] = set()
        self.later: dict[Path, bytes] = {}  # manifests that a later version has written, as they were before
        self.hub.away = False
        self.boot()

    @property
    def is_on(self) -> bool:
        return self.daemon is not None

    @precondition(lambda self: not self.is_on)
    @rule()
    def boot(self) -> None:
        self.daemon = DayDaemon(self.config)

    @precondition(lambda self: self.is_on)
    @rule()
    def shut_down(self) -> None:
        assert self.daemon
        self.daemon.shut_down()
        self.daemon = None
        assert self.engines() == []

    @precondition(lambda self: self.is_on)
    @rule()
    def lose_power(self) -> None:
        assert self.daemon
        self.daemon.cut_power()
        self.daemon = None
        self.just_loaded.clear()
        eventually(lambda: self.engines() == [])

    @precondition(lambda self: self.is_on)
    @rule(hours=st.sampled_from([0.01, 1.0, 30.0]))
    def suspend(self, hours: float) -> None:
        assert self.daemon
        self.daemon.suspend(hours * HOUR)

    @precondition(lambda self: self.is_on)
    @rule(seconds=st.sampled_from([2.0, 15.0, 60.0]))
    def let_pass(self, seconds: float) -> None:
        assert self.daemon
        self.daemon.let_pass(seconds)
        self.kept |= self.just_loaded
        self.just_loaded.clear()

    @rule()
    def change_network(self) -> None:
        self.hub.away = not self.hub.away

    @rule()
    def change_disk(self) -> None:
        if self.away.exists():
            assert not any(self.disk.rglob("*.gguf*")), "the empty mount point was filled"
            shutil.rmtree(self.disk)
            self.away.rename(self.disk)
        else:
            self.disk.rename(self.away)
            self.disk.mkdir()

    @rule(repository=repositories)
    def upgrade(self, repository: str) -> None:
        """A later version writes a manifest in a form that this one cannot read."""
        self.kept.discard(repository)
        self.just_loaded.discard(repository)
        for file in (self.folder / "home/models").glob("*.json"):
            if named(repository).rsplit("/", 1)[1].casefold() in file.read_text().casefold() and file not in self.later:
                self.later[file] = file.read_bytes()
                file.write_bytes(self.later[file].replace(b'"weights": "', b'"weights": {"path": "', 1))

    @precondition(lambda self: self.later)
    @rule()
    def upgrade_again(self) -> None:
        """The version that can read them all is back."""
        for file, content in self.later.items():
            file.write_bytes(content)
        self.later.clear()

    @precondition(lambda self: self.is_on)
    @rule(repository=repositories)
    def want(self, repository: str) -> None:
        assert self.daemon
        if repository not in self.installed and repository not in self.wanted:
            status, answer = self.daemon.ask("POST", "/api/models/download", {"model": named(repository)})
            assert status == 200, answer
            self.wanted.add(repository)

    @precondition(lambda self: self.is_on)
    @rule()
    def prune(self) -> None:
        assert self.daemon
        status, answer = self.daemon.ask("DELETE", "/api/models/cache", {"all": False})
        assert status == 200, answer

    @precondition(lambda self: self.is_on)
    @rule(repository=repositories)
    def cancel(self, repository: str) -> None:
        assert self.daemon
        self.no_download_is_forgotten()
        if repository in self.wanted:
            _, answer = self.daemon.ask("GET", "/api/models/download")
            found = [each["id"] for each in answer["downloads"] if each["model"] == named(repository)]
            self.wanted.discard(repository)
            for id in found:
                status, answer = self.daemon.ask("DELETE", f"/api/models/download/{id}")
                assert status == 200, answer
                if answer["status"] == "done":
                    self.installed.add(repository)

    @precondition(lambda self: self.is_on)
    @rule(repository=repositories, for_good=st.booleans())
    def ask(self, repository: str, for_good: bool = False) -> None:
        """A model answers as itself, or says why it cannot; it must answer where nothing is missing."""
        assert self.daemon
        body = {"model": named(repository), "prompt": "hello", "stream": False}
        status, answer = self.daemon.ask("POST", "/api/generate", body | ({"keep_alive": -1} if for_good else {}))
        assert status != 500, answer
        if status == 200:
            if for_good and not (self.later or self.away.exists()):
                self.just_loaded.add(repository)
            assert answer["response"].startswith(self.digests[repository]), answer
        elif repository in self.installed:
            assert self.away.exists() or self.later, answer

    @precondition(lambda self: self.is_on)
    @rule(repository=repositories)
    def stop(self, repository: str) -> None:
        assert self.daemon
        status, answer = self.daemon.ask("POST", "/api/generate", {"model": named(repository), "keep_alive": 0})
        assert status != 500, answer
        self.kept.discard(repository)
        self.just_loaded.discard(repository)

    @invariant()
    def no_download_is_forgotten(self) -> None:
        if self.daemon:
            _, answer = self.daemon.ask("GET", "/api/models/download")
            states = {download["model"]: download["status"] for download in answer["downloads"]}
            done = {repository for repository in self.wanted if states.get(named(repository)) == "done"}
            self.wanted -= done
            self.installed |= done
            assert {states.get(named(repository)) for repository in self.wanted} <= {"running"}, answer

    @invariant()
    def no_model_is_lost(self) -> None:
        if self.daemon and not self.later:
            _, listed = self.daemon.ask("GET", "/api/tags")
            names = {model["name"] for model in listed["models"]}
            assert {named(repository) for repository in self.installed} <= names

    def teardown(self) -> None:
        try:
            self.end_well()
        finally:
            if self.daemon:
                self.daemon.cut_power()
            shutil.rmtree(self.folder, ignore_errors=True)

    def end_well(self) -> None:
        """Everything is back: what was wanted comes, what was there is there, and nothing is left at the end."""
        self.hub.away = False
        if self.away.exists():
            self.change_disk()
        self.upgrade_again()
        if self.daemon is None:
            self.boot()
        assert self.daemon
        for _ in range(int(PATIENCE / MINUTE)):
            self.no_download_is_forgotten()
            if self.wanted:
                self.daemon.let_pass(MINUTE)
        assert not self.wanted, self.daemon.ask("GET", "/api/models/download")
        self.no_model_is_lost()
        self.shut_down()
        self.boot()
        self.daemon.let_pass(MINUTE)
        _, loaded = self.daemon.ask("GET", "/api/ps")
        assert {named(repository) for repository in self.kept} <= {model["name"] for model in loaded["models"]}
        for repository in self.installed:
            self.ask(repository)
            self.stop(repository)
        self.daemon.let_pass(MINUTE)
        assert self.daemon.ask("GET", "/api/ps")[1]["models"] == []
        self.shut_down()

    def engines(self) -> list[int]:
        """Processes of this home's engines."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if any(str(self.folder) in argument for argument in process.cmdline()):
                    found.append(process.pid)
        return found


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("hub")
    digests = {}
    for number, repository in enumerate(REPOSITORIES):
        weights = folder / repository / "model-Q8_0.gguf"
        weights.parent.mkdir(parents=True)
        write_tiny_gguf(weights, seed=number + 1)
        digests[repository] = hashlib.sha256(weights.read_bytes()).hexdigest()
    with HubServer(folder, Behaviour(Mode.SLOW, pause=0.01)).running() as hub:  # so that transfers are interrupted
        yield type("Day", (Day,), {"hub": hub, "digests": digests})


def live(day: type[Day], examples: int, steps: int, *, chosen_anew: bool) -> None:
    run_state_machine_as_test(
        day,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            derandomize=not chosen_anew,
            database=None,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.long
@pytest.mark.timeout(300)
def test_some_orders(day: type[Day]) -> None:
    live(day, examples=3, steps=12, chosen_anew=False)


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_two_hundred_orders(day: type[Day]) -> None:
    live(day, examples=200, steps=25, chosen_anew=True)
