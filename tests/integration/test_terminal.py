"""Conversations at a real terminal: a pseudo-terminal whose other end types and reads as a user would."""

import contextlib
import fcntl
import os
import pty
import select
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from oprel.client.connect import is_up, stop_daemon
from oprel.core.config import Config
from tests.conftest import DEADLINE, RunningDaemon, eventually, running_daemon, temporary_home
from tests.fixtures.fake_engine import install

CTRL_C, CTRL_D, UP = "\x03", "\x04", "\x1b[A"
PROMPT = ">>> "
ANSWER = " t0 t1 t2 t3 t4"  # the fake engine's


class Terminal:
    """One `oprel` command at a terminal of its own, which sends it Ctrl-C as a signal."""

    def __init__(self, home: str, *arguments: str) -> None:
        self._keyboard, screen = pty.openpty()
        self._unread = ""
        with contextlib.ExitStack() as stack:
            stack.callback(os.close, screen)
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "oprel", *arguments],
                stdin=screen,
                stdout=screen,
                stderr=screen,
                start_new_session=True,
                preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
                env={**os.environ, "OPREL_HOME": home, "OPREL_SERVER_PORT": "0", "TERM": "xterm"},
            )

    def type(self, text: str) -> None:
        os.write(self._keyboard, text.encode())

    def enter(self, line: str) -> None:
        """Type a line and read its echo, so that what is read next is what it led to."""
        self.type(f"{line}\r")
        self.read_to(f"{line}\r\n")

    def interrupt(self) -> None:
        """Press Ctrl-C at the prompt, and again when that was overlooked: readline hears it only while it waits."""
        for _ in range(int(DEADLINE)):
            self.type(CTRL_C)
            if self._readable(1.0):
                return
        raise AssertionError(f"Ctrl-C does nothing after {self._unread!r}")

    def read_to(self, text: str) -> str:
        """What appears up to `text`, which is read as well; fails when it does not appear."""
        limit = time.monotonic() + DEADLINE
        while text not in self._unread:
            assert self._read(limit), f"{text!r} did not appear after {self._unread!r}"
        before, _, self._unread = self._unread.partition(text)
        return before

    def end(self) -> tuple[int, str]:
        """The status that the command ends with by itself, and what is left to read."""
        limit = time.monotonic() + DEADLINE
        while self._read(limit):
            pass
        return self.process.wait(DEADLINE), self._unread

    def close(self) -> None:
        self.process.kill()
        self.process.wait(DEADLINE)
        os.close(self._keyboard)

    def _read(self, limit: float) -> bool:
        """Read what has come or comes before `limit`; False when the other side has closed the terminal."""
        assert self._readable(limit - time.monotonic()), f"nothing came after {self._unread!r}"
        try:
            read = os.read(self._keyboard, 65536)
        except OSError:  # EIO: how Linux says that nobody has the other side open
            return False
        self._unread += read.decode()
        return bool(read)

    def _readable(self, within: float) -> bool:
        return select.select([self._keyboard], [], [], max(0.0, within))[0] != []


OpenTerminal = Callable[..., Terminal]


@pytest.fixture
def at_terminal() -> Iterator[OpenTerminal]:
    """Run a command on a home at a terminal; it is ended with the test."""
    with contextlib.ExitStack() as stack:

        def run(config: Config, *arguments: str) -> Terminal:
            terminal = Terminal(config.home, *arguments)
            stack.callback(terminal.close)
            return terminal

        yield run


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDaemon]:
    """A daemon with an engine that always gives the same answer."""
    engine = install(tmp_path_factory.mktemp("engine"))
    with (
        temporary_home() as home,
        running_daemon(Config(home=str(home), server_port=0, engine_path=str(engine))) as one,
    ):
        yield one


@pytest.fixture
def talk(daemon: RunningDaemon, at_terminal: OpenTerminal, tiny: Path) -> Terminal:
    """A conversation at its first prompt."""
    terminal = at_terminal(daemon.config, "chat", str(tiny))
    terminal.read_to(PROMPT)
    return terminal


@pytest.fixture
def endless(start_daemon: Callable[..., RunningDaemon], tmp_path: Path) -> RunningDaemon:
    """A daemon whose engine says two tokens and never the third."""
    return start_daemon(engine_path=str(install(tmp_path / "engine", hang_at_token=2)))


def answers_nobody(daemon: RunningDaemon) -> bool:
    with daemon.client as client:
        return [engine.in_flight for engine in client.engines().models] == [0]


@pytest.mark.parametrize("command", ["chat", "run"])
def test_a_conversation_goes_to_and_fro(
    daemon: RunningDaemon, at_terminal: OpenTerminal, tiny: Path, command: str
) -> None:
    terminal = at_terminal(daemon.config, command, str(tiny))
    assert terminal.read_to(PROMPT) == f"{tiny} is ready; /help lists the commands.\r\n"
    for question in ("hello", "and again"):
        terminal.enter(question)
        assert terminal.read_to(PROMPT) == f"{ANSWER}\r\n\r\n"
    terminal.enter("/bye")
    assert terminal.end() == (0, "")


def test_a_real_model_talks(shared_daemon: RunningDaemon, at_terminal: OpenTerminal) -> None:
    terminal = at_terminal(shared_daemon.config, "run", "tiny")
    terminal.read_to(PROMPT)
    terminal.enter("hello")
    assert terminal.read_to(PROMPT).endswith("\r\n\r\n")
    terminal.type(CTRL_D)
    assert terminal.end()[0] == 0


def test_run_with_a_prompt_answers_and_ends(daemon: RunningDaemon, at_terminal: OpenTerminal, tiny: Path) -> None:
    terminal = at_terminal(daemon.config, "run", str(tiny), "hello")
    assert terminal.end() == (0, f"{ANSWER}\r\n")


def test_the_commands_of_a_conversation_answer(talk: Terminal) -> None:
    talk.enter("/help")
    assert "/clear" in talk.read_to(PROMPT)
    talk.enter("/clear")
    assert talk.read_to(PROMPT) == "Forgotten.\r\n"
    talk.enter("/nonsense")
    assert "/help" in talk.read_to(PROMPT)


def test_ctrl_d_at_the_prompt_leaves(talk: Terminal) -> None:
    talk.type(CTRL_D)
    assert talk.end() == (0, "\r\n")


def test_ctrl_c_at_the_prompt_drops_the_line_and_stays(talk: Terminal) -> None:
    talk.type("half a li")
    talk.read_to("half a li")
    talk.interrupt()
    assert "Use Ctrl-D or /bye to leave." in talk.read_to(PROMPT)
    talk.enter("hello")
    assert talk.read_to(PROMPT) == f"{ANSWER}\r\n\r\n"


def test_the_last_line_can_be_called_back(talk: Terminal) -> None:
    talk.enter("hello")
    talk.read_to(PROMPT)
    talk.type(UP)
    talk.read_to("hello")
    talk.type("\r")
    assert ANSWER in talk.read_to(PROMPT)


def test_an_error_at_the_start_ends_it(daemon: RunningDaemon, at_terminal: OpenTerminal) -> None:
    status, shown = at_terminal(daemon.config, "chat", "nosuch").end()
    assert status == 3
    assert shown.startswith("Error: model 'nosuch' not found\r\n")


def test_ctrl_c_stops_an_answer_and_not_the_conversation(
    endless: RunningDaemon, at_terminal: OpenTerminal, tiny: Path
) -> None:
    terminal = at_terminal(endless.config, "chat", str(tiny))
    terminal.read_to(PROMPT)
    for question in ("hello", "and again"):
        terminal.enter(question)
        terminal.read_to(" t0 t1")
        terminal.type(CTRL_C)
        assert terminal.read_to(PROMPT) == "^C\r\n\r\n"
    eventually(lambda: answers_nobody(endless))
    terminal.enter("/bye")
    assert terminal.end() == (0, "")


def test_ctrl_c_ends_a_single_answer_and_the_daemon_lives_on(
    endless: RunningDaemon, at_terminal: OpenTerminal, tiny: Path
) -> None:
    terminal = at_terminal(endless.config, "run", str(tiny), "hello")
    terminal.read_to(" t0 t1")
    terminal.type(CTRL_C)
    assert terminal.end() == (130, "^C\r\n")
    eventually(lambda: answers_nobody(endless))


@pytest.fixture
def unserved(config: Config) -> Iterator[Config]:
    """A home without a daemon; one that a test starts there is ended with it."""
    yield config
    stop_daemon(config)


def test_a_daemon_started_from_a_terminal_survives_its_ctrl_c(
    unserved: Config, at_terminal: OpenTerminal, tiny: Path
) -> None:
    terminal = at_terminal(unserved, "chat", str(tiny))
    terminal.read_to(PROMPT)
    terminal.interrupt()
    terminal.read_to(PROMPT)
    terminal.type(CTRL_D)
    assert terminal.end()[0] == 0
    assert is_up(unserved)
