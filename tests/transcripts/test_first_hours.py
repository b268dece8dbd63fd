"""The first hours of a user of Ollama, a Python developer and an operator, as their terminals show them.

Each screen is read at several widths: no traceback, no word broken at the edge, and the same as its snapshot.
`OPREL_UPDATE_SNAPSHOTS=1` writes these again; read the difference.
"""

import contextlib
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from oprel import __version__
from oprel.cli.commands.daemon.ps import engine_row, processor
from oprel.core.config import Config
from oprel.utils.text import human_size
from oprel.wire.daemon import PlanResponse
from tests.conftest import RunningDaemon, running_daemon, temporary_home
from tests.fixtures.hub_server import HubServer
from tests.fixtures.terminal import Terminal
from tests.fixtures.transcripts import Step, Transcript, check

pytestmark = [pytest.mark.transcripts, pytest.mark.timeout(600)]

REPO = "org/first-GGUF"
ANSWER = "--temperature 0 --seed 1 --num-predict 6 hello"
TYPED = ("/?", "/? set", "/? parameters", "/set parameter temperature 0", "/temp 1", "/show info", "/quit please")
OLLAMA_USER = (
    *(Step(), Step("help run"), Step("download llama3"), Step("list")),
    *(Step(f"pull hf.co/{REPO}:Q8_0"), Step("ls"), Step(f"run {REPO} {ANSWER}", is_answer=True), Step("ps")),
    *(Step(f"show {REPO}"), Step(f"cp {REPO}:Q8_0 mine"), Step("list --columns name,source")),
    *(Step("list --columns age"), Step(f"chat {REPO}", typed=TYPED), Step("run mine --image cat.png hello")),
    *(Step("delete mine"), Step("rm mine"), Step("kill mine"), Step(f"stop {REPO}"), Step(f"stop {REPO}")),
    *(Step(f"rm {REPO}"), Step("rm mine"), Step("status"), Step("ps")),
)
PYTHON_DEVELOPER = (
    *(Step("help create"), Step(code="import oprel; print([model.model for model in oprel.list().models])")),
    Step(code="import oprel; print(len(oprel.embed('tiny', 'hello').embeddings[0]))"),
    Step(
        code="import oprel\ntry: oprel.chat('nothere', [dict(role='user', content='hi')])\n"
        "except oprel.ResponseError as error: print(error)"
    ),
    *(Step("create mine -f Modelfile"), Step("show mine --modelfile"), Step("show mine"), Step("show mine --system")),
    *(Step(f"run mine {ANSWER}", is_answer=True), Step("inspect tiny"), Step("create other -f nothing")),
    *(Step("rm mine"), Step("stop tiny"), Step("version"), Step("bench run tiny", is_of_machine=True)),
)
OPERATOR = (
    *(Step("help serve"), Step("serve --prot 80"), Step("doctor", is_of_machine=True)),
    *(Step("hardware", is_of_machine=True), Step("engines", is_of_machine=True), Step("plan tiny", is_of_machine=True)),
    *(Step(f"run tiny {ANSWER}", is_answer=True), Step("ps"), Step("ps --columns name,context,until,state,queue")),
    *(Step("crash"), Step("quarantine"), Step("cache", is_of_machine=True), Step("cache verify"), Step("cache clear")),
    *(Step("list-models coder"), Step("run tiny --num-ctx 2 hello"), Step("stop tiny"), Step("logs tiny-er")),
    *(Step("quarantine clear deadbeef"), Step("crash show")),
)
STRANGER = 54_321  # the number of a user that the machine does not know
STRANGERS_HOUR = (
    *(Step("list"), Step("import tiny.gguf"), Step("ps"), Step(f"run tiny {ANSWER}", is_answer=True), Step("ps")),
    *(Step("chat tiny", typed=("/bye",)), Step("rm tiny"), Step("doctor", is_of_machine=True), Step("stop --daemon")),
)
HOURS = {"ollama-user": OLLAMA_USER, "python-developer": PYTHON_DEVELOPER, "operator": OPERATOR}

Record = Callable[..., Transcript]


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory, tiny: Path) -> Iterator[HubServer]:
    with HubServer(tmp_path_factory.mktemp("served")).running() as hub:
        (hub.folder / REPO).mkdir(parents=True)
        for quant in ("Q4_K_M", "Q8_0"):
            shutil.copy(tiny, hub.folder / REPO / f"tiny-{quant}.gguf")
        yield hub


@pytest.fixture(scope="module")
def daemon(hub: HubServer, tiny: Path) -> Iterator[RunningDaemon]:
    """One daemon for all screens. It serves `tiny`, and keeps models forever."""
    with temporary_home() as home:
        config = Config(
            home=str(home),
            server_port=0,
            n_threads=1,
            keep_alive="-1",
            hf_endpoint=hub.url,
            ollama_registry=hub.url,
        )
        with running_daemon(config) as daemon, daemon.client as client:
            for _ in client.import_model("tiny", str(tiny)):
                pass
            yield daemon


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with temporary_home() as folder:
        (folder / "Modelfile").write_text('FROM tiny\nSYSTEM "Be brief."\nPARAMETER temperature 0\n')
        yield folder


@pytest.fixture
def record(daemon: RunningDaemon, folder: Path) -> Record:
    def record(name: str, columns: int, **environment: str | None) -> Transcript:
        return Transcript(daemon.config.home, str(folder), columns, environment).take(HOURS[name])

    return record


@pytest.mark.parametrize("columns", [60, 80, 200])
@pytest.mark.parametrize("name", HOURS)
def test_a_first_hour(record: Record, name: str, columns: int) -> None:
    check(f"{name}-{columns}", record(name, columns))


@pytest.mark.parametrize(
    "environment",
    [{"NO_COLOR": "1"}, {"LC_ALL": "C", "LANG": None}, {"HOME": None, "LC_ALL": "POSIX"}],
    ids=["no colour", "C locale", "no home folder"],
)
def test_a_first_hour_looks_the_same_in_another_environment(record: Record, environment: dict[str, str | None]) -> None:
    check("ollama-user-80", record("ollama-user", 80, **environment))


def test_a_first_hour_at_a_dumb_terminal(record: Record) -> None:
    transcript = record("ollama-user", 80, TERM="dumb")
    check("ollama-user-80-dumb", transcript)


Look = Callable[..., list[str]]


@pytest.fixture
def look(daemon: RunningDaemon, folder: Path) -> Look:
    """What a command shows at a terminal."""

    def look(*words: str, columns: int) -> list[str]:
        with contextlib.closing(Terminal(daemon.config.home, *words, columns=columns, folder=folder)) as terminal:
            return terminal.end()[1]

    return look


def first_row(lines: list[str]) -> dict[str, str]:
    """The first row of a table, by title."""
    titles, row = (re.split(r" {3,}", line) for line in lines[:2])
    return dict(zip(titles, row, strict=True))


@pytest.mark.parametrize("columns", [60, 80, 200])
def test_what_ps_shows_is_what_the_api_says(daemon: RunningDaemon, look: Look, columns: int) -> None:
    with daemon.client as client:
        said = look("run", "tiny", "--num-ctx", "512", "--num-predict", "4", "--ignore-eos", "hello", columns=columns)
        (engine,), (running,) = client.engines().models, client.ps().models
        shown = first_row(look("ps", columns=columns))
        client.unload("tiny")
    assert engine.context_length == running.context_length == 512
    assert "reached num_predict, 4 tokens" in " ".join(said)
    expected = engine_row(engine, {running.name: running})
    assert {**shown, "NAME": "tiny:latest"}.items() <= expected.items()
    assert shown["NAME"] in ("tiny", "tiny:latest")
    assert shown["SIZE"] == human_size(running.size)
    assert shown["PROCESSOR"] == processor(running.size_vram / running.size)


@pytest.mark.parametrize("columns", [60, 80, 200])
def test_what_plan_and_show_say_is_what_they_compute(daemon: RunningDaemon, look: Look, columns: int) -> None:
    with daemon.client as client:
        info = client.show("tiny")
    memory = PlanResponse.model_validate(info.plan).memory
    plan = PlanResponse.model_validate_json("\n".join(look("plan", "tiny", "--json", columns=2000)))
    text = " ".join(look("plan", "tiny", columns=columns))
    assert f"a context of {plan.context} tokens for each of {plan.slots} requests" in text
    assert f"{human_size(plan.memory.total_bytes)} reserved" in text
    text = re.sub(r"\s+", " ", " ".join(look("show", "tiny", columns=columns)))
    assert f"context length {info.details.context_length}" in text
    assert f"reserved {human_size(memory.total_bytes)}" in text


@pytest.mark.parametrize("columns", [60, 80, 200])
def test_what_doctor_says_is_what_the_daemon_does(daemon: RunningDaemon, look: Look, columns: int) -> None:
    text = re.sub(r"\s+", " ", " ".join(look("doctor", columns=columns)))
    assert f"version {__version__}, pid {daemon.process.pid}" in text
    assert f"{daemon.config.home} is private to this user" in text


def as_user(number: int, network: str = "") -> list[str]:
    """What starts a program as that user, who may read everything: the interpreter may lie in root's home folder."""
    before = ["nsenter", f"--net={network}"] if network else []
    before += ["setpriv", f"--reuid={number}", f"--regid={number}", "--clear-groups"]
    return [*before, "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]


@pytest.fixture
def place(tiny: Path) -> Iterator[Path]:
    """A folder with a model, in which only STRANGER can write."""
    with temporary_home() as place:
        shutil.copy(tiny, place / "tiny.gguf")
        os.chown(place, STRANGER, STRANGER)
        yield place


only_root = pytest.mark.skipif(
    os.geteuid() != 0 or not all(map(shutil.which, ("setpriv", "unshare", "nsenter", "ip"))),
    reason="only root can become other users",
)
# No entry in the list of users, and no variable that would name a home folder.
NAMELESS: dict[str, str | None] = dict.fromkeys(("HOME", "USER", "LOGNAME", "OPREL_HOME"))


@only_root
def test_a_first_hour_of_a_user_without_a_name(place: Path) -> None:
    """As in a container: the models are kept in the temporary folder, and that is said once."""
    environment = {**NAMELESS, "TMPDIR": str(place)}
    transcript = Transcript(str(place), str(place), 80, environment, as_user(STRANGER))
    check("stranger-80", transcript.take(STRANGERS_HOUR))


@pytest.fixture
def network() -> Iterator[str]:
    """A network of its own, where the usual port is free."""
    command = ["unshare", "--net", "sh", "-c", "ip link set lo up && echo && exec sleep infinity"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as holder:
        assert holder.stdout and holder.stdout.readline()
        yield f"/proc/{holder.pid}/ns/net"
        holder.kill()


@only_root
def test_a_first_hour_of_a_second_user(place: Path, network: str, folder: Path) -> None:
    """Another user's daemon has the usual port."""
    usual = {"OPREL_SERVER_PORT": None}
    with temporary_home() as home:
        first = Transcript(str(home), str(folder), 80, usual, ["nsenter", f"--net={network}"])
        try:
            assert first.take([Step("list")]).faults == []
            environment = {**NAMELESS, **usual, "TMPDIR": str(place)}
            second = Transcript(str(place), str(place), 80, environment, as_user(STRANGER, network))
            check("second-user-80", second.take(STRANGERS_HOUR))
        finally:
            first.take([Step("stop --daemon --now")])
