"""The commands as a user runs them: processes of their own, with their output, their errors and their exit status."""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import oprel
from oprel.cli.main import COMMANDS
from oprel.client.own_daemon import stop_daemon
from oprel.client.plain.daemon_state import is_up
from oprel.core.config import Config
from oprel.core.exceptions import OprelError, QuarantinedError
from oprel.core.models.manifests import Manifest, Manifests
from oprel.telemetry.memory.process import NATIVE
from oprel.utils.files import shift_logs
from oprel.wire.daemon import PlanResponse
from tests.conftest import DEADLINE, RunningDaemon, alive, eventually
from tests.fixtures.fake_engine import install, told
from tests.fixtures.gguf_factory import WORDS
from tests.fixtures.limits import megabytes_for

StartDaemon = Callable[..., RunningDaemon]
Done = subprocess.CompletedProcess[str]


@dataclass
class Shell:
    """Types `oprel` commands in `folder`, with these settings as OPREL_* variables."""

    folder: Path
    settings: dict[str, str]

    def __call__(self, *arguments: str | bytes, stdin: bytes = b"", **settings: str) -> Done:
        shell = Shell(self.folder, self.settings | settings)
        process = shell.start(*arguments, stdin=subprocess.PIPE)
        out, err = process.communicate(stdin, DEADLINE)
        return Done(arguments, process.returncode, out.decode(), err.decode())

    def start(
        self, *arguments: str | bytes, stdin: int = subprocess.DEVNULL, stdout: int = subprocess.PIPE
    ) -> subprocess.Popen[bytes]:
        own = {f"OPREL_{name.upper()}": value for name, value in self.settings.items()}
        others = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}  # users have none
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "oprel", *arguments],
            stdin=stdin,
            stdout=stdout,
            stderr=subprocess.PIPE,
            bufsize=0,  # nothing is read ahead of what a test asks for
            cwd=self.folder,
            env=others | own,
        )


@pytest.fixture
def oprel_shared(shared_daemon: RunningDaemon, tmp_path: Path) -> Shell:
    """Commands to the daemon that all tests share: they may look, and ask the model `tiny`."""
    return Shell(tmp_path, {"home": shared_daemon.config.home})


@pytest.fixture
def oprel_own(config: Config, tmp_path: Path) -> Iterator[Shell]:
    """Commands to a home of the test's own; a daemon that they start is stopped at the end."""
    yield Shell(tmp_path, {"home": config.home, "server_port": "0"})
    stop_daemon(config, now=True)


@pytest.fixture
def faulty(start_daemon: StartDaemon, tmp_path: Path) -> StartDaemon:
    """Start a daemon on the test's home whose engine has these faults."""
    return lambda **faults: start_daemon(engine_path=str(install(tmp_path / "engine", **faults)))


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@pytest.fixture
def dead_address() -> Iterator[str]:
    """Where nobody listens, and nobody will meanwhile."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{held.getsockname()[1]}"


@pytest.fixture
def closed_pipe() -> Iterator[int]:
    """Where to write to a reader that has left."""
    reader, writer = os.pipe()
    os.close(reader)
    yield writer
    os.close(writer)


def daemon_pid(config: Config) -> int:
    return int((config.run_dir / "daemon.lock").read_text())


def await_output(process: subprocess.Popen[bytes], text: bytes) -> None:
    """Read what a process says up to this text."""
    said = b""
    while not said.endswith(text):
        assert process.stdout is not None
        said += (piece := process.stdout.read(1))
        assert piece, said


def failed(done: Done, status: int, *words: str) -> bool:
    """True for an error that ends with this status and says these words, and nothing of how the program works."""
    assert done.stdout == ""
    assert done.stderr.startswith("Error: ")
    assert "Traceback" not in done.stderr
    assert [word for word in words if word not in done.stderr] == [], done.stderr
    return done.returncode == status


# The program itself


def test_the_version_is_printed(oprel_own: Shell) -> None:
    assert oprel_own("--version").stdout == f"oprel {oprel.__version__}\n"


def test_the_versions_are_told_with_and_without_a_daemon(start_daemon: StartDaemon, oprel_own: Shell) -> None:
    alone = oprel_own("version")
    assert (alone.returncode, alone.stdout) == (0, f"oprel {oprel.__version__}\n")
    assert alone.stderr.startswith("Warning: no daemon runs")
    start_daemon()
    both = oprel_own("version")
    assert (both.returncode, both.stdout, both.stderr) == (0, f"oprel {oprel.__version__}\n", "")


def test_help_explains_a_command(oprel_own: Shell) -> None:
    assert oprel_own("help", "run").stdout == oprel_own("run", "--help").stdout
    assert oprel_own("help").stdout == oprel_own("--help").stdout
    assert oprel_own("help", "rnu").returncode == 2


def test_the_help_lists_every_command(oprel_own: Shell) -> None:
    done = oprel_own("--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert [name for name in COMMANDS if not re.search(rf"^  {name}\b", done.stdout, re.MULTILINE)] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(oprel_own: Shell, command: str) -> None:
    done = oprel_own(command, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"usage: oprel {command} ")


def test_an_unknown_command_is_named_and_help_offered(oprel_own: Shell) -> None:
    done = oprel_own("frobnicate")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "Error: unknown command 'frobnicate'\n  See `oprel --help`.\n"


def test_without_a_command_the_help_is_shown(oprel_own: Shell) -> None:
    done = oprel_own()
    assert (done.returncode, done.stderr) == (0, "")
    assert "run the daemon in the foreground" in done.stdout


def test_looking_at_what_is_loaded_starts_no_daemon(oprel_own: Shell) -> None:
    done = oprel_own("ps")
    assert (done.returncode, done.stderr) == (
        0,
        "no daemon is running, so nothing is loaded; `oprel list` lists the installed models\n",
    )
    assert oprel_own("stop", "tiny").returncode == 5


def test_the_daemon_can_be_ended(start_daemon: StartDaemon, oprel_own: Shell) -> None:
    daemon = start_daemon()
    done = oprel_own("stop", "--daemon", f"--home={daemon.config.home}")
    assert (done.returncode, done.stdout) == (0, "stopped the daemon\n")
    assert daemon.process.wait(DEADLINE) == 0
    assert oprel_own("stop", "--daemon", f"--home={daemon.config.home}").returncode == 5


# Asking


class Recorder(ThreadingHTTPServer):
    """Stands where a daemon would: remembers what it is asked and always gives the same answer."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[dict[str, object]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Recorder

    def do_POST(self) -> None:
        self.server.asked.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
        self.send_response(200)
        self.end_headers()
        for line in ({"response": "Grüezi", "done": False}, {"response": "", "done": True}):
            self.wfile.write(json.dumps({"model": "tiny", **line}).encode() + b"\n")

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    with Recorder() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("words", "stdin", "prompt"),
    [
        (["Wie", "geht's?"], b"", "Wie geht's?"),
        ([], b"from a file\n", "from a file"),
        (["Sum it up:"], "eine Übersicht\n\nzwei\n".encode(), "eine Übersicht\n\nzwei\n\nSum it up:"),
        (["--", "-1", "--verbose?"], b"", "-1 --verbose?"),
    ],
    ids=["words", "standard input", "both", "words like flags"],
)
def test_the_prompt_is_standard_input_and_then_the_words(
    oprel_own: Shell, recorder: Recorder, words: list[str], stdin: bytes, prompt: str
) -> None:
    done = oprel_own("run", "tiny", *words, stdin=stdin, host=recorder.url)
    assert (done.returncode, done.stdout, done.stderr) == (0, "Grüezi\n", "")
    assert [asked["prompt"] for asked in recorder.asked] == [prompt]


def test_a_relative_path_is_sent_so_that_the_daemon_finds_it(oprel_own: Shell, recorder: Recorder, tiny: Path) -> None:
    (oprel_own.folder / "mine.gguf").symlink_to(tiny)
    oprel_own("run", "mine.gguf", "hi", f"--host={recorder.url}")
    assert [asked["model"] for asked in recorder.asked] == [str(oprel_own.folder / "mine.gguf")]


def test_keepalive_is_sent_along(oprel_own: Shell, recorder: Recorder) -> None:
    oprel_own("run", "tiny", "hi", "--keepalive=10m", host=recorder.url)
    assert [asked["keep_alive"] for asked in recorder.asked] == ["10m"]


def test_a_flag_may_stand_before_the_prompt(oprel_own: Shell, recorder: Recorder) -> None:
    oprel_own("run", "tiny", "--verbose", "hi", host=recorder.url)
    assert [asked["prompt"] for asked in recorder.asked] == ["hi"]


@pytest.mark.parametrize("seconds", ["5", "-1"])
def test_keepalive_may_be_a_plain_number_of_seconds(oprel_shared: Shell, seconds: str) -> None:
    assert oprel_shared("run", "tiny", "hi", f"--keepalive={seconds}").returncode == 0


def test_without_a_model_guide_answers_and_says_what_it_is(oprel_shared: Shell) -> None:
    done = oprel_shared("run", stdin=b"How do I list my models?")
    assert done.returncode == 0
    assert done.stdout.strip()
    assert done.stderr.startswith("guide is a tiny model that comes with oprel")


def test_a_real_model_answers(oprel_shared: Shell) -> None:
    done = oprel_shared("run", "tiny", "tell me a story")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("\n")
    assert {*done.stdout.split()} <= {*WORDS}


def test_verbose_tells_the_figures_beside_the_answer(faulty: StartDaemon, oprel_own: Shell, tiny: Path) -> None:
    faulty(tokens=3)
    done = oprel_own("run", str(tiny), "hi", "--verbose")
    assert done.stdout == " t0 t1 t2\n"
    figures = dict(line.split(":") for line in done.stderr.splitlines())
    assert [*figures][:2] == ["total duration", "load duration"]
    assert figures["eval count"].split() == ["3", "token(s)"]


def test_what_was_asked_for_is_sent_along(oprel_own: Shell, recorder: Recorder) -> None:
    flags = ["--system=Be brief.", "--option=seed=7", "--format=json", "--think", "--keep-alive=1h"]
    oprel_own("run", "tiny", *flags, "hi", host=recorder.url)
    (asked,) = recorder.asked
    assert {name: asked[name] for name in ("system", "options", "format", "think", "keep_alive", "prompt")} == {
        "system": "Be brief.",
        "options": {"seed": 7},
        "format": "json",
        "think": True,
        "keep_alive": "1h",
        "prompt": "hi",
    }


def test_any_model_embeds_when_told_how(oprel_shared: Shell) -> None:
    done = oprel_shared("run", "tiny", "the sun", "--dimensions=8")
    assert (done.returncode, done.stderr) == (0, "")
    assert len(json.loads(done.stdout)) == 8


@pytest.mark.parametrize("words", [[], [""]], ids=repr)
def test_without_a_prompt_and_a_terminal_it_says_so(oprel_shared: Shell, words: list[str]) -> None:
    assert failed(oprel_shared("run", "tiny", *words), 2, "no prompt was given", "on standard input")


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("temprature=0", ["unknown option 'temprature'; did you mean 'temperature'?"]),
        ("draft_num_predict=4", ["option 'draft_num_predict' is not supported", "Leave it out."]),
        ("num_ctx=2", ["num_ctx must be at least 4, not 2"]),
    ],
)
def test_an_option_that_would_have_no_effect_is_refused(oprel_shared: Shell, option: str, words: list[str]) -> None:
    assert failed(oprel_shared("run", "tiny", "hi", f"--option={option}"), 2, *words)


def test_an_answer_is_shown_while_it_is_made(faulty: StartDaemon, oprel_own: Shell, tiny: Path) -> None:
    faulty(hang_at_token=2)  # it never ends: what is seen was streamed
    process = oprel_own.start("run", str(tiny), "hi")
    await_output(process, b" t0 t1")
    process.kill()
    assert process.communicate() == (b"", b"")


def test_what_an_engine_said_before_it_died_is_shown(faulty: StartDaemon, oprel_own: Shell, tiny: Path) -> None:
    faulty(die_at_token=2)
    done = oprel_own("run", str(tiny), "hi")
    assert (done.returncode, done.stdout) == (6, " t0 t1\n")
    assert done.stderr.startswith("Error: the engine died while answering")
    assert "Ask again." in done.stderr


def test_ctrl_c_ends_the_command_and_nothing_else(faulty: StartDaemon, oprel_own: Shell, tiny: Path) -> None:
    daemon = faulty(hang_at_token=1)
    process = oprel_own.start("run", str(tiny), "hi")
    await_output(process, b" t0")
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=DEADLINE) == (b"\n", b"")
    assert process.returncode == 130
    with daemon.client as client:
        eventually(lambda: [engine.in_flight for engine in client.engines().models] == [0])


@pytest.mark.parametrize(("words", "stdin"), [([b"\xff?"], b""), ([], b"\xff!")], ids=["words", "standard input"])
def test_a_prompt_that_is_no_text_is_asked_as_well_as_can_be(
    oprel_own: Shell, recorder: Recorder, words: list[bytes], stdin: bytes
) -> None:
    assert oprel_own("run", "tiny", *words, stdin=stdin, host=recorder.url).returncode == 0


# Looking


def test_list_shows_the_models_there_are(oprel_shared: Shell) -> None:
    done = oprel_shared("list")
    titles, *models = done.stdout.splitlines()
    assert (done.returncode, done.stderr) == (0, "")
    assert titles.split() == ["NAME", "ID", "SIZE", "MODIFIED", "SOURCE"]
    assert any(re.fullmatch(r"tiny:latest +[0-9a-f]{12} +275 KB +\d+ \w+ ago +oprel", model) for model in models)
    assert any(model.startswith("guide:latest") for model in models)


def test_list_shows_only_names_that_begin_so(oprel_shared: Shell) -> None:
    shown = oprel_shared("list", "TI").stdout.splitlines()[1:]
    assert [line.split()[0] for line in shown] == ["tiny:latest"]


def test_ls_is_list(oprel_shared: Shell) -> None:
    assert oprel_shared("ls", "--json").stdout == oprel_shared("list", "--json").stdout


def test_list_as_json_is_what_the_api_says(oprel_shared: Shell, shared_daemon: RunningDaemon) -> None:
    with shared_daemon.client as client:
        assert json.loads(oprel_shared("list", "--json").stdout) == client.list().model_dump(mode="json")


def test_show_tells_what_is_known(oprel_shared: Shell) -> None:
    shown = [re.split(r" {2,}", line.strip()) for line in oprel_shared("show", "tiny").stdout.splitlines()]
    assert shown[0] == ["Model"]
    assert ["architecture", "llama"] in shown
    assert ["context length", "2048"] in shown
    assert shown[shown.index(["Capabilities"]) + 1] == ["completion"]
    assert ["Metadata"] not in shown


def test_show_tells_more_when_asked(oprel_shared: Shell) -> None:
    shown = oprel_shared("show", "tiny", "--verbose").stdout
    assert "\n  Metadata\n" in shown
    assert re.search(r"general\.architecture +llama\n", shown)


def test_show_takes_a_path(oprel_shared: Shell, tiny: Path) -> None:
    assert "architecture" in oprel_shared("show", str(tiny)).stdout


def test_show_as_json_is_what_the_api_says(oprel_shared: Shell, shared_daemon: RunningDaemon) -> None:
    with shared_daemon.client as client:
        assert json.loads(oprel_shared("show", "tiny", "--json").stdout) == client.show("tiny").model_dump(mode="json")


@pytest.fixture
def loaded(start_daemon: StartDaemon, tmp_path: Path, tiny: Path) -> RunningDaemon:
    """A daemon on the test's home that keeps one model loaded."""
    daemon = start_daemon(engine_path=str(install(tmp_path / "engine")), keep_alive="-1")
    with daemon.client as client:
        client.load(str(tiny))
    return daemon


@pytest.mark.parametrize("command", ["ps", "models"])
def test_ps_shows_what_is_loaded(loaded: RunningDaemon, oprel_own: Shell, tiny: Path, command: str) -> None:
    titles, model = oprel_own(command).stdout.splitlines()
    assert titles.split() == [
        *("NAME", "ID", "SIZE", "PROCESSOR", "CONTEXT", "UNTIL"),
        *("STATE", "QUEUE", "THREADS", "TOKENS/S", "MEMORY", "RESERVED", "RESTARTS", "PID", "ENGINE"),
    ]
    name, digest, size, processor, context, until, state, queue, threads, memory, reserved, restarts, pid, engine = (
        re.split(" {2,}", model)
    )
    assert (name, processor, context) == (str(tiny), "100% CPU", "2048")
    assert re.fullmatch(r"\d+ MB", size)  # of memory, which the file of 275 KB takes
    assert (until, state, queue, threads, restarts) == ("Forever", "ready", "0/8", "1", "0")
    assert re.fullmatch("[0-9a-f]{12}", digest)
    assert re.fullmatch(r"(-|\d+ MB) of \d+ MB", memory)
    assert engine == loaded.config.engine_path
    assert alive(int(pid))


def test_ps_shows_only_names_that_begin_so(loaded: RunningDaemon, oprel_own: Shell, tiny: Path) -> None:
    assert len(oprel_own("ps", str(tiny)[:5]).stdout.splitlines()) == 2
    assert len(oprel_own("ps", "nosuch").stdout.splitlines()) == 1


@pytest.mark.parametrize("command", ["ps", "models"])
def test_ps_as_json_is_what_the_api_says(loaded: RunningDaemon, oprel_own: Shell, command: str) -> None:
    shown = json.loads(oprel_own(command, "--json").stdout)
    with loaded.client as client:
        known = client.engines().model_dump(mode="json")
    moment = shown["models"][0].pop("expires_at"), known["models"][0].pop("expires_at")
    assert all(moment)
    assert shown == known


def test_ps_tells_which_engine_cannot_be_used(start_daemon: StartDaemon, oprel_own: Shell, tiny: Path) -> None:
    with start_daemon(engine_path="/bin/true").client as client:
        client.load(str(tiny))
    assert "engine /bin/true is not used: it is not a llama-server" in oprel_own("ps").stderr


def test_ps_tells_of_a_model_that_waits(
    start_daemon: StartDaemon, oprel_own: Shell, tiny: Path, tmp_path: Path
) -> None:
    other = shutil.copy(tiny, tmp_path / "other.gguf")
    slow = install(tmp_path / "engine", tokens=10_000, token_delay=0.1)
    limit = megabytes_for(tiny, engines=1.6, context=2048, program=NATIVE)
    start_daemon(engine_path=str(slow), default_max_memory_mb=limit)
    with contextlib.ExitStack() as stack:
        stack.callback(stack.enter_context(oprel_own.start("run", str(tiny), "hi")).kill)
        eventually(lambda: "1/8" in oprel_own("ps").stdout)
        stack.callback(stack.enter_context(oprel_own.start("run", str(other), "hi")).kill)
        eventually(lambda: "waiting for memory" in oprel_own("ps").stdout)
        assert f"{other} has been waiting for memory" in oprel_own("ps").stderr


def test_a_stopped_model_is_no_longer_loaded(loaded: RunningDaemon, oprel_own: Shell, tiny: Path) -> None:
    done = oprel_own("stop", str(tiny))
    assert (done.returncode, done.stdout, done.stderr) == (0, f"stopped {tiny}\n", "")
    assert len(oprel_own("ps").stdout.splitlines()) == 1


# Looking at what happens


@pytest.fixture
def crashed(faulty: StartDaemon, tiny: Path) -> RunningDaemon:
    """A daemon with a request that has ended two engines."""
    daemon = faulty(log_at_start="hello")
    with daemon.client as client, pytest.raises(QuarantinedError):
        client.generate(str(tiny), told(die_at_token=1, dies_of="SIGSEGV"))
    return daemon


def test_the_log_of_a_models_engine_is_shown(loaded: RunningDaemon, oprel_own: Shell, tiny: Path) -> None:
    done = oprel_own("logs", str(tiny))
    assert (done.returncode, "listening" in done.stdout, done.stderr) == (0, True, "")


def test_a_log_is_followed_until_ctrl_c(faulty: StartDaemon, oprel_own: Shell, tiny: Path) -> None:
    with faulty(log_at_start="hello").client as client:
        client.load(str(tiny))
    process = oprel_own.start("logs", "-f", str(tiny))
    await_output(process, b"hello\n")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=DEADLINE)
    assert (process.returncode, err) == (130, b"")


def test_the_daemons_own_log_is_shown(oprel_own: Shell) -> None:
    assert failed(oprel_own("logs"), 1, "there is no log", "oprel serve")
    oprel_own("list")
    done = oprel_own("logs")
    assert (done.returncode, "oprel listens on" in done.stdout) == (0, True)


def test_the_daemons_log_is_followed_into_the_next_daemons(oprel_own: Shell) -> None:
    oprel_own("list")
    process = oprel_own.start("logs", "-f")
    await_output(process, b"oprel listens on")
    oprel_own("stop", "--daemon")
    oprel_own("list")
    await_output(process, b"oprel listens on")
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=DEADLINE)[1] == b""
    assert process.returncode == 130


def test_a_log_is_shown_and_followed_over_its_rotation(oprel_own: Shell, config: Config) -> None:
    log = config.logs_dir / "daemon.log"
    log.parent.mkdir()
    log.write_text("one\n")
    shift_logs(log)
    log.write_text("two\n")
    process = oprel_own.start("logs", "-f")
    await_output(process, b"one\ntwo\n")
    with log.open("a") as old:
        shift_logs(log)
        old.write("three\n")
    log.write_text("four\n")
    await_output(process, b"three\nfour\n")
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=DEADLINE)[1] == b""


def test_the_log_of_a_daemon_elsewhere_is_there(oprel_own: Shell) -> None:
    assert failed(oprel_own("logs", host="box:1"), 2, "box:1 is on its machine")


@pytest.fixture
def ending(start_daemon: StartDaemon, tmp_path: Path, tiny: Path) -> Iterator[RunningDaemon]:
    """A daemon that was asked to end, and lets an answer finish."""
    program = install(tmp_path / "engine", tokens=10_000, token_delay=0.1)
    daemon = start_daemon(engine_path=str(program), drain_timeout="10m")
    with daemon.client as client:
        answer = client.generate(str(tiny), "hello", stream=True)
        next(answer)
        daemon.process.terminate()
        eventually(lambda: not is_up(daemon.config))
        yield daemon
        stop_daemon(daemon.config, now=True)
        with pytest.raises(OprelError):
            list(answer)


@pytest.mark.parametrize("command", [["ps"], ["quarantine"], ["logs", "tiny"], ["stop", "tiny"]])
def test_a_daemon_that_is_ending_is_told_of(ending: RunningDaemon, oprel_own: Shell, command: list[str]) -> None:
    told = f"the daemon (pid {ending.process.pid}) is stopping, and lets answers finish"
    assert failed(oprel_own(*command), 7, told, "oprel stop --daemon --now")


def test_a_daemon_that_is_ending_can_be_ended_at_once(ending: RunningDaemon, oprel_own: Shell) -> None:
    done = oprel_own("stop", "--daemon", "--now")
    assert (done.returncode, done.stdout) == (0, "stopped the daemon\n")
    assert ending.process.wait(DEADLINE) == 128 + signal.SIGTERM


def test_a_daemon_that_is_ending_is_waited_for(ending: RunningDaemon, oprel_own: Shell) -> None:
    with oprel_own.start("stop", "--daemon") as waiting:
        with pytest.raises(subprocess.TimeoutExpired):
            waiting.wait(1)
        assert ending.process.poll() is None
        ending.end(signal.SIGTERM)
        assert waiting.wait(DEADLINE) == 0


def test_a_model_and_the_daemon_are_not_stopped_at_once(oprel_own: Shell) -> None:
    assert failed(oprel_own("stop", "tiny", "--daemon"), 2, "a model and --daemon cannot be given together")


def test_crashes_are_read_without_a_daemon(oprel_own: Shell, config: Config) -> None:
    assert oprel_own("crash", "ls").stderr == "no engine has crashed\n"
    assert not config.socket_path.exists()


def test_no_log_without_a_daemon(oprel_own: Shell) -> None:
    assert failed(oprel_own("logs", "tiny"), 5, "no daemon runs")


def test_a_crash_is_listed_and_shown(crashed: RunningDaemon, oprel_own: Shell) -> None:
    titles, newest, _ = oprel_own("crash", "ls").stdout.splitlines()
    assert titles.split() == ["ID", "WHEN", "REASON", "SERVED"]
    shown = oprel_own("crash", "show").stdout
    assert newest.split()[0] in shown
    assert "crash_signal: SIGSEGV" in shown
    assert "hello" in shown
    first = json.loads(oprel_own("crash", "show", "tiny", "--json").stdout)
    assert (first["reason"], first["starts"]) == ("crash_signal", 2)


def test_a_crash_that_there_is_not_is_explained(oprel_own: Shell) -> None:
    assert failed(oprel_own("crash", "show", "nosuch"), 2, "no crash 'nosuch'", "oprel crash ls")
    assert failed(oprel_own("crash", "ls", "nosuch"), 2, "takes no ID", "oprel crash show nosuch")
    assert oprel_own("crash", "show").stderr == "no engine has crashed\n"


def test_a_request_in_quarantine_is_listed_and_let_go(crashed: RunningDaemon, oprel_own: Shell) -> None:
    titles, entry = oprel_own("quarantine").stdout.splitlines()
    assert titles.split() == ["HASH", "MODEL", "REASON", "CRASHES", "UNTIL"]
    assert failed(oprel_own("quarantine", "clear", "nosuch"), 2, "no request nosuch", "oprel quarantine ls")
    assert oprel_own("quarantine", "clear", entry.split()[0]).stdout == "released 1 request\n"
    assert oprel_own("quarantine", "ls").stderr == "no request is in quarantine\n"


def test_quarantine_without_a_daemon_starts_none(oprel_own: Shell, config: Config) -> None:
    assert oprel_own("quarantine").stderr == "no daemon is running, so nothing is in quarantine\n"
    assert not is_up(config)


def test_the_doctor_finds_a_sound_machine_sound(oprel_own: Shell, config: Config) -> None:
    done = oprel_own("doctor")
    assert (done.returncode, done.stderr) == (0, "")
    assert [line for line in done.stdout.splitlines() if line.startswith("✗")] == []
    assert "engine      xllamacpp wheel runs" in done.stdout
    assert not is_up(config)


def test_the_doctor_tells_what_is_wrong_and_what_to_do(oprel_own: Shell, taken_port: int) -> None:
    done = oprel_own("doctor", server_port=str(taken_port), engine_path="/nowhere/llama-server")
    assert done.returncode == 1
    assert f"✗ port        127.0.0.1:{taken_port} is not available" in done.stdout
    assert "✗ engine      /nowhere/llama-server is not used: it cannot be started" in done.stdout
    assert "Choose another port" in done.stdout
    found = json.loads(oprel_own("doctor", "--json", server_port=str(taken_port)).stdout)["findings"]
    assert {finding["subject"] for finding in found if finding["level"] == "error"} == {"port"}


# Talking without a terminal


def test_a_conversation_may_come_through_a_pipe(faulty: StartDaemon, oprel_own: Shell, tiny: Path) -> None:
    faulty(tokens=2)
    done = oprel_own("chat", str(tiny), stdin=b'hello\n"""and\nagain"""\n/set verbose\n/nonsense\n/bye\nnever\n')
    assert (done.returncode, done.stdout) == (0, " t0 t1\n\n t0 t1\n\nCounts and times are shown.\n")
    assert done.stderr.startswith("Error: unknown command /nonsense\n")


def test_a_conversation_that_breaks_off_in_a_pipe_has_said_what_it_could(oprel_shared: Shell) -> None:
    done = oprel_shared("chat", "tiny", stdin=b"/set system Be brief.")
    assert (done.returncode, done.stdout, done.stderr) == (0, "The system message is set.\n", "")


# Making and removing


MODELFILE = """FROM tiny
SYSTEM Be brief.
PARAMETER temperature 0
MESSAGE user hello
MESSAGE assistant world
LICENSE MIT
"""


@pytest.fixture
def oprel_made(start_daemon: StartDaemon, oprel_own: Shell, config: Config, tiny: Path) -> Shell:
    """Commands to a daemon of the test's own that knows `tiny`, in a folder with a Modelfile."""
    Manifests(config.models_dir).put(Manifest(name="tiny:latest", weights=tiny))
    start_daemon()
    (oprel_own.folder / "Modelfile").write_text(MODELFILE)
    return oprel_own


def names(shell: Shell) -> list[str]:
    return sorted(line.split()[0] for line in shell("list").stdout.splitlines()[1:])


def test_a_model_is_made_from_a_modelfile_and_shown(oprel_made: Shell) -> None:
    done = oprel_made("create", "mine")
    assert (done.returncode, done.stdout) == (0, "created 'mine'\n")
    assert done.stderr.endswith("writing manifest\n")
    assert "mine:latest" in names(oprel_made)
    assert oprel_made("show", "mine", "--system").stdout == "Be brief.\n"
    assert oprel_made("show", "mine", "--license").stdout == "MIT\n"
    assert re.fullmatch(r"(stop +\S+\n)*temperature +0\n", oprel_made("show", "mine", "--parameters").stdout)
    assert "SYSTEM" in oprel_made("show", "mine", "--modelfile").stdout
    assert oprel_made("run", "mine", "hi", "--option=num_predict=3").returncode == 0


def test_a_modelfile_may_come_through_a_pipe(oprel_made: Shell) -> None:
    assert oprel_made("create", "mine", "-f", "-", stdin=b"FROM tiny\n").returncode == 0
    assert "mine:latest" in names(oprel_made)


def test_a_model_is_made_from_a_file_beside_the_modelfile(oprel_made: Shell, tiny: Path) -> None:
    (oprel_made.folder / "sub").mkdir()
    (oprel_made.folder / "sub" / "weights.gguf").symlink_to(tiny)
    (oprel_made.folder / "sub" / "Modelfile").write_text("FROM ./weights.gguf\n")
    done = oprel_made("create", "mine", "-f", "sub/Modelfile")
    assert (done.returncode, done.stdout) == (0, "created 'mine'\n")
    assert oprel_made("run", "mine", "hi", "--option=num_predict=3").returncode == 0


def test_a_file_is_sent_to_a_daemon_elsewhere(start_daemon: StartDaemon, oprel_own: Shell, tiny: Path) -> None:
    daemon = start_daemon(server_host="0.0.0.0", allow_unauthenticated_lan="on")
    (oprel_own.folder / "Modelfile").write_text(f"FROM {tiny}\n")
    done = oprel_own("create", "mine", host=daemon.url)  # 0.0.0.0: this machine, but one cannot tell by its name
    assert (done.returncode, done.stdout) == (0, "created 'mine'\n")
    assert done.stderr.startswith("uploading tiny.gguf\n")
    assert len([*(daemon.config.models_dir / "blobs").iterdir()]) == 1


def test_a_copy_is_a_second_name(oprel_made: Shell) -> None:
    done = oprel_made("cp", "tiny", "other")
    assert (done.returncode, done.stdout, done.stderr) == (0, "copied 'tiny' to 'other'\n", "")
    assert {"tiny:latest", "other:latest"} <= {*names(oprel_made)}


def test_models_are_removed_also_beside_one_that_cannot_be(oprel_made: Shell, tiny: Path) -> None:
    oprel_made("cp", "tiny", "other")
    oprel_made("run", "tiny", "hi", "--option=num_predict=3")
    done = oprel_made("rm", "tiny", "nosuch", "other")
    assert (done.returncode, done.stdout) == (3, "deleted 'tiny'\ndeleted 'other'\n")
    assert done.stderr.startswith("Error: model 'nosuch' not found")
    assert {"tiny:latest", "other:latest"}.isdisjoint(names(oprel_made))
    assert "tiny" not in oprel_made("ps").stdout
    assert tiny.exists()


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["create", "mine", "-f", "nosuch"], 2, ["cannot read the Modelfile nosuch", "-f"]),
        (["create", "mine", "-f", "wrong"], 2, ["line 1", "'frm'"]),
        (["create", "mine", "-f", "gone"], 3, ["there is no file", "gone.gguf"]),
        (["create", "mine", "-f", "typed"], 2, ['Modelfile, line 3: option "temperature" must be of type float32']),
        (["create", "mine", "-f", "typo"], 2, ["line 2: unknown option 'temprature'; did you mean 'temperature'?"]),
        (["create", "mine", "-f", "misspelt"], 3, ["'tini' not found", "Did you mean tiny?"]),
        (["cp", "tini", "other"], 3, ["Did you mean tiny?"]),
    ],
    ids=lambda value: value[-1] if isinstance(value, list) else "",
)
def test_what_cannot_be_made_is_explained(
    oprel_made: Shell, arguments: list[str], status: int, words: list[str]
) -> None:
    typed = "FROM tiny\nPARAMETER top_k 5\nPARAMETER temperature hot\n"
    texts = {"wrong": "FRM tiny", "gone": "FROM ./gone.gguf", "misspelt": "FROM tini", "typed": typed}
    texts["typo"] = "FROM tiny\nPARAMETER temprature 0\n"
    for name, text in texts.items():
        (oprel_made.folder / name).write_text(text)
    assert failed(oprel_made(*arguments), status, *words)


def test_plan_says_what_the_daemon_that_runs_would_do(start_daemon: StartDaemon, oprel_own: Shell, tiny: Path) -> None:
    with start_daemon(default_max_memory_mb=130).client as client:
        told = PlanResponse.model_validate(client.show(str(tiny)).plan)
    found = PlanResponse.model_validate_json(oprel_own("plan", str(tiny), "--json").stdout)
    assert found.memory == told.memory
    assert found.memory.devices[-1].budget_bytes == 130 * 1024**2
    assert (found.context, found.slots, found.kv_cache_type) == (told.context, told.slots, told.kv_cache_type)


# What goes wrong with models


@pytest.mark.parametrize("command", ["run", "chat", "show", "stop"])
def test_a_name_that_is_nearly_right_leads_to_the_right_one(oprel_shared: Shell, command: str) -> None:
    assert failed(oprel_shared(command, "tini", stdin=b"hi"), 3, "model 'tini", "not found", "Did you mean tiny?")


@pytest.mark.parametrize("command", ["run", "chat", "show", "stop"])
def test_an_unknown_name_is_an_error(oprel_shared: Shell, command: str) -> None:
    assert failed(oprel_shared(command, "nosuch", stdin=b"hi"), 3, "model 'nosuch", "not found", "`oprel list`")


@pytest.mark.parametrize("command", ["run", "chat", "show", "plan", "inspect"])
def test_a_file_that_is_not_there_is_an_error(oprel_shared: Shell, command: str) -> None:
    done = oprel_shared(command, "./nosuch.gguf", stdin=b"hi")
    assert failed(done, 3, "there is no file ./nosuch.gguf", "Check the path")


def test_what_is_not_loaded_cannot_be_stopped(start_daemon: StartDaemon, oprel_own: Shell, tiny: Path) -> None:
    start_daemon()
    assert failed(oprel_own("stop", str(tiny)), 3, "is not loaded", "`oprel ps`")


@pytest.mark.parametrize(
    ("command", "content", "why"),
    [
        ("run", b"Dear diary,\n", "does not start with the letters GGUF"),
        ("run", b"", "is empty"),
        ("plan", b"version https://git-lfs.github.com/spec/v1\n", "`git lfs pull`"),
        *((command, b"<!DOCTYPE html><html>", "login page") for command in ("run", "show", "plan", "inspect")),
    ],
    ids=repr,
)
def test_a_file_that_is_no_model_is_the_same_error_of_every_command(
    oprel_shared: Shell, command: str, content: bytes, why: str
) -> None:
    (oprel_shared.folder / "diary.gguf").write_bytes(content)
    done = oprel_shared(command, "diary.gguf", stdin=b"hi")
    assert done.returncode == 4 and why in done.stdout + done.stderr


def test_a_model_that_was_not_downloaded_whole_is_an_error(oprel_shared: Shell, tiny: Path) -> None:
    (oprel_shared.folder / "half.gguf").write_bytes(tiny.read_bytes()[:200_000])
    assert failed(oprel_shared("run", "half.gguf", "hi"), 4, "half.gguf", "download it again")


def test_an_empty_folder_is_no_model(oprel_shared: Shell) -> None:
    (oprel_shared.folder / "models").mkdir()
    done = oprel_shared("run", "./models", "hi")
    assert failed(done, 4, "./models is a folder", "It has neither a .gguf file nor a config.json.")


def test_a_folder_with_a_model_leads_to_it(oprel_shared: Shell, tiny: Path) -> None:
    (oprel_shared.folder / "models").mkdir()
    (oprel_shared.folder / "models" / "seven.gguf").symlink_to(tiny)
    done = oprel_shared("run", "./models", "hi")
    assert failed(done, 4, "./models is a folder", "for example models/seven.gguf")


# What goes wrong with daemons


def test_the_first_command_starts_a_daemon_and_the_next_one_finds_it(oprel_own: Shell, config: Config) -> None:
    assert not is_up(config)
    assert oprel_own("list").returncode == 0
    first = daemon_pid(config)
    assert oprel_own("list").returncode == 0
    assert daemon_pid(config) == first
    assert alive(first)


@pytest.mark.parametrize("command", ["list", "serve"])
def test_a_home_that_cannot_be_written_is_an_error(oprel_own: Shell, command: str) -> None:
    (oprel_own.folder / "file").touch()
    home = oprel_own.folder / "file" / "home"
    assert failed(oprel_own(command, home=str(home)), 2, f"cannot write to {home}", "--home or OPREL_HOME")


@pytest.mark.parametrize(("value", "fault"), [("abc", "a whole number"), ("70000", "at most 65535")])
@pytest.mark.parametrize("command", ["list", "serve"])
def test_a_wrong_setting_is_refused_by_its_name(oprel_own: Shell, command: str, value: str, fault: str) -> None:
    done = oprel_own(command, server_port=value)
    assert failed(done, 2, "OPREL_SERVER_PORT: server_port must be", fault, value)


def test_a_misspelt_setting_is_refused_with_a_guess(oprel_own: Shell) -> None:
    (oprel_own.folder / "config.yaml").write_text("server_prot: 1\n")
    done = oprel_own("list", "--config=config.yaml")
    assert failed(done, 2, "config.yaml", "'server_prot'", "Did you mean server_port?")


def test_an_address_that_nobody_answers_at_is_an_error(oprel_own: Shell, dead_address: str) -> None:
    done = oprel_own("list", host=dead_address)
    assert failed(done, 5, f"no daemon answers at {dead_address}", "`oprel serve`", "OPREL_HOST")


def test_serve_on_a_taken_port_names_it(oprel_own: Shell, taken_port: int) -> None:
    done = oprel_own("serve", server_port=str(taken_port))
    assert failed(done, 2, f"cannot listen on 127.0.0.1:{taken_port}", "--server-port")


def test_a_daemon_that_does_not_start_is_explained_by_its_log(
    oprel_own: Shell, config: Config, taken_port: int
) -> None:
    done = oprel_own("list", server_port=str(taken_port))
    log = config.logs_dir / "daemon.log"
    assert failed(done, 5, "the daemon ended with status 2", str(log), f"cannot listen on 127.0.0.1:{taken_port}")


def test_a_second_daemon_on_one_home_is_refused(start_daemon: StartDaemon, oprel_own: Shell, config: Config) -> None:
    daemon = start_daemon()
    done = oprel_own("serve")
    assert failed(done, 2, "a daemon already runs", config.home, f"pid {daemon.process.pid}")
    assert is_up(config)


def test_ctrl_c_ends_a_daemon_in_peace(oprel_own: Shell, config: Config) -> None:
    process = oprel_own.start("serve")
    eventually(lambda: is_up(config) or process.poll() is not None)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=DEADLINE)
    assert (process.returncode, out) == (0, b"")
    assert b"oprel listens on http://127.0.0.1:" in err
    assert b"Traceback" not in err


# What goes wrong with the output


def test_a_reader_that_leaves_early_is_no_error(faulty: StartDaemon, oprel_own: Shell, tiny: Path) -> None:
    faulty(tokens=1000, token_delay=0.01)
    process = oprel_own.start("run", str(tiny), "hi")
    await_output(process, b" t0")
    assert process.stdout is not None
    process.stdout.close()
    process.stdout = None
    assert process.communicate(timeout=DEADLINE)[1] == b""


@pytest.mark.parametrize(
    "command", [["list"], ["list", "--json"], ["show", "tiny"], ["run", "tiny", "hi"]], ids=" ".join
)
def test_output_that_nobody_reads_leaves_no_trace(oprel_shared: Shell, closed_pipe: int, command: list[str]) -> None:
    process = oprel_shared.start(*command, stdout=closed_pipe)
    assert process.communicate(timeout=DEADLINE)[1] == b""


@pytest.mark.parametrize("command", [["--version"], ["list"], ["run", "tiny", "hi"]], ids=" ".join)
def test_output_that_nobody_reads_is_success(oprel_shared: Shell, closed_pipe: int, command: list[str]) -> None:
    process = oprel_shared.start(*command, stdout=closed_pipe)
    assert (process.communicate(timeout=DEADLINE)[1], process.returncode) == (b"", 0)


@pytest.mark.parametrize("command", [["list"], ["list", "--json"], ["run", "tiny", "hi"]], ids=" ".join)
def test_output_that_does_not_fit_is_an_error(oprel_shared: Shell, command: list[str]) -> None:
    with Path("/dev/full").open("wb") as full:
        process = oprel_shared.start(*command, stdout=full.fileno())
    err = process.communicate(timeout=DEADLINE)[1].decode()
    assert process.returncode not in (0, 120)
    assert "No space left on device" in err
    assert "Traceback" not in err
