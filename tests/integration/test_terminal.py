"""Commands at a real terminal: what is shown while an answer is made, and what Ctrl-C ends."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import wrap
from typing import Any

import pytest

from oprel.client.own_daemon import stop_daemon
from oprel.client.plain.daemon_state import is_up
from oprel.core.config import Config
from tests.conftest import RunningDaemon, eventually, running_daemon, temporary_home
from tests.fixtures.fake_engine import install
from tests.fixtures.terminal import CTRL_C, CTRL_D, Terminal

ANSWER = " t0 t1 t2 t3 t4"  # the fake engine's

OpenTerminal = Callable[..., Terminal]


@pytest.fixture
def at_terminal() -> Iterator[OpenTerminal]:
    """Run a command on a home at a terminal; it is ended with the test."""
    with contextlib.ExitStack() as stack:

        def run(config: Config, *arguments: str, **settings: Any) -> Terminal:
            terminal = Terminal(config.home, *arguments, **settings)
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
def hanging(start_daemon: Callable[..., RunningDaemon], tmp_path: Path) -> RunningDaemon:
    """A daemon whose engine says two tokens and never the third."""
    return start_daemon(engine_path=str(install(tmp_path / "engine", hang_at_token=2)))


def answers_nobody(daemon: RunningDaemon) -> bool:
    with daemon.client as client:
        return [engine.in_flight for engine in client.engines().models] == [0]


def test_run_with_a_prompt_answers_and_ends(daemon: RunningDaemon, at_terminal: OpenTerminal, tiny: Path) -> None:
    terminal = at_terminal(daemon.config, "run", str(tiny), "hello")
    assert terminal.end() == (0, [ANSWER])


def test_an_answer_is_wrapped_at_the_terminals_width(
    daemon: RunningDaemon, at_terminal: OpenTerminal, tiny: Path
) -> None:
    assert at_terminal(daemon.config, "run", str(tiny), "hello", columns=11).end() == (0, [" t0 t1 t2", "t3 t4"])
    unwrapped = at_terminal(daemon.config, "run", str(tiny), "hello", "--nowordwrap", columns=11)
    assert unwrapped.end() == (0, [" t0 t1 t2 t", "3 t4"])


def test_who_waits_is_told_why_until_the_answer_comes(
    start_daemon: Callable[..., RunningDaemon], at_terminal: OpenTerminal, tmp_path: Path, tiny: Path
) -> None:
    slow = start_daemon(engine_path=str(install(tmp_path / "engine", silent_load=1.5)))
    terminal = at_terminal(slow.config, "run", str(tiny), "hello")
    terminal.await_text("(waiting for ")
    assert terminal.end() == (0, [ANSWER])


def test_a_terminal_that_cannot_move_its_cursor_gets_plain_text(
    daemon: RunningDaemon, at_terminal: OpenTerminal, tiny: Path
) -> None:
    dumb = at_terminal(daemon.config, "run", str(tiny), "hello", columns=11, environment={"TERM": "dumb"})
    assert dumb.end() == (0, [" t0 t1 t2", "t3 t4"])


def test_run_without_a_prompt_is_a_conversation(daemon: RunningDaemon, at_terminal: OpenTerminal, tiny: Path) -> None:
    terminal = at_terminal(daemon.config, "run", str(tiny))
    assert terminal.await_prompt() == wrap(f"{tiny} is ready; /? lists the commands.", 80)
    assert terminal.ask("hello") == [ANSWER, ""]
    terminal.type("/bye\r")
    assert terminal.end() == (0, [])


def test_a_real_model_talks(shared_daemon: RunningDaemon, at_terminal: OpenTerminal) -> None:
    terminal = at_terminal(shared_daemon.config, "run", "tiny", "--option=num_predict=20")
    terminal.await_prompt()
    assert "".join(terminal.ask("hello")).strip()
    terminal.type(CTRL_D)
    assert terminal.end()[0] == 0


def test_thoughts_are_shown_before_the_answer_and_can_be_hidden(
    shared_daemon: RunningDaemon, at_terminal: OpenTerminal
) -> None:
    question = ("run", "guide", "How do I list my models?", "--option=temperature=0")
    first, *rest = at_terminal(shared_daemon.config, *question, "--think").end()[1]
    assert first == "Thinking..."
    assert "...done thinking." in rest
    hidden = at_terminal(shared_daemon.config, *question, "--think", "--hidethinking").end()[1]
    assert hidden == rest[rest.index("...done thinking.") + 1 :]


def test_an_error_at_the_start_ends_it(daemon: RunningDaemon, at_terminal: OpenTerminal) -> None:
    status, shown = at_terminal(daemon.config, "chat", "nosuch").end()
    assert status == 3
    told = " ".join(line.strip() for line in shown)
    assert told.startswith("Error: model 'nosuch' not found, and the registry registry.ollama.ai cannot be reached")


def test_ctrl_c_ends_a_single_answer_and_the_daemon_lives_on(
    hanging: RunningDaemon, at_terminal: OpenTerminal, tiny: Path
) -> None:
    terminal = at_terminal(hanging.config, "run", str(tiny), "hello")
    terminal.await_text(" t0 t1")
    terminal.type(CTRL_C)
    assert terminal.end() == (130, [" t0 t1^C"])
    eventually(lambda: answers_nobody(hanging))


@pytest.fixture
def unserved(config: Config) -> Iterator[Config]:
    """A home without a daemon; one that a test starts there is ended with it."""
    yield config
    stop_daemon(config)


def test_a_daemon_started_from_a_terminal_survives_its_ctrl_c(
    unserved: Config, at_terminal: OpenTerminal, tiny: Path
) -> None:
    terminal = at_terminal(unserved, "chat", str(tiny))
    terminal.await_prompt()
    terminal.type(CTRL_C)
    terminal.await_prompt()
    terminal.type(CTRL_D)
    assert terminal.end()[0] == 0
    assert is_up(unserved)
