"""Conversations at a real terminal, typed and read as a user would."""

import contextlib
import json
import shlex
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from oprel.client.own_daemon import stop_daemon
from oprel.client_api import Client
from oprel.core.config import Config
from oprel.core.models.manifests import Manifest, Manifests
from tests.conftest import RunningDaemon, eventually, running_daemon, temporary_home
from tests.fixtures.fake_engine import install
from tests.fixtures.terminal import (
    ALT_ENTER,
    CTRL_C,
    CTRL_D,
    CTRL_G,
    CTRL_L,
    CTRL_Z,
    EMPTY_PROMPT,
    ENTER,
    OPREL,
    TAB,
    UP,
    Terminal,
)

ANSWER = " t0 t1 t2 t3 t4"  # the fake engine's
PASTE_BEGIN, PASTE_END = "\x1b[200~", "\x1b[201~"

Chat = Callable[..., Terminal]


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    """Where the fake engine writes what it is asked."""
    return tmp_path / "journal"


@pytest.fixture
def daemon(tmp_path: Path, journal: Path, tiny: Path) -> Iterator[RunningDaemon]:
    """A daemon on a home of the test's own, with the model `tiny`; its engine always gives the same answer."""
    engine = install(tmp_path / "engine", journal=str(journal))
    with temporary_home() as home:
        config = Config(home=str(home), server_port=0, engine_path=str(engine))
        Manifests(config.models_dir).put(Manifest(name="tiny:latest", weights=tiny))
        with running_daemon(config) as one:
            yield one


@pytest.fixture
def chat() -> Iterator[Chat]:
    """Begin a conversation at a terminal, and wait for its prompt; it is ended with the test."""
    with contextlib.ExitStack() as stack:

        def run(config: Config, *arguments: str, **environment: str) -> Terminal:
            terminal = Terminal(config.home, "chat", *arguments, environment=environment)
            stack.callback(terminal.close)
            terminal.await_prompt()
            return terminal

        yield run


@pytest.fixture
def talk(daemon: RunningDaemon, chat: Chat) -> Terminal:
    return chat(daemon.config, "tiny")


def asked(journal: Path) -> list[list[str]]:
    """The texts of each conversation that the engine was asked to go on with."""
    lines = [line.removeprefix("ask ") for line in journal.read_text().splitlines() if line.startswith("ask ")]
    requests = [json.loads(line) for line in lines]
    return [[message["content"] for message in request.get("messages", ())] for request in requests]


def test_a_conversation_goes_to_and_fro(talk: Terminal, journal: Path) -> None:
    assert talk.ask("hello") == [ANSWER, ""]
    assert talk.ask("and again") == [ANSWER, ""]
    talk.type("/bye\r")
    assert talk.end() == (0, [])
    assert asked(journal) == [["hello"], ["hello", ANSWER, "and again"]]


def test_the_greeting_says_how_to_get_help(daemon: RunningDaemon) -> None:
    with contextlib.closing(Terminal(daemon.config.home, "chat", "tiny")) as terminal:
        assert terminal.await_prompt() == ["tiny is ready; /? lists the commands."]


def test_a_message_of_several_lines_begins_and_ends_with_quotes(talk: Terminal, journal: Path) -> None:
    for line in ('"""one', "two"):
        talk.type(line + ENTER)
        talk.await_line("...")
    assert talk.ask('three"""') == ["... two", '... three"""', ANSWER, ""]
    assert asked(journal) == [["one\ntwo\nthree"]]


def test_pasted_lines_are_one_message(talk: Terminal, journal: Path) -> None:
    talk.type(f"{PASTE_BEGIN}def f():\r    pass{PASTE_END}")
    talk.await_text("...     pass")
    talk.ask(" # what is this?")
    assert asked(journal) == [["def f():\n    pass # what is this?"]]


def test_a_line_can_be_added_to_a_message(talk: Terminal, journal: Path) -> None:
    talk.type(f"one{ALT_ENTER}")
    talk.await_line("...")
    talk.ask("two")
    assert asked(journal) == [["one\ntwo"]]


def test_settings_hold_for_what_is_asked_next(talk: Terminal, journal: Path) -> None:
    assert talk.ask("/set parameter seed seven") == ["Error: seed must be a whole number, not 'seven'"]
    assert talk.ask("/set parameter sede 7") == ["Error: unknown option 'sede'; did you mean 'seed'?"]
    assert talk.ask("/set parameter seed 7") == ["seed is now 7."]
    assert talk.ask("/set system Be brief.") == ["The system message is set."]
    assert talk.ask("/set verbose") == ["Counts and times are shown."]
    assert any(line.startswith("eval count:") for line in talk.ask("hello"))
    assert asked(journal) == [["Be brief.", "hello"]]
    assert '"seed": 7' in journal.read_text()


def test_a_conversation_is_saved_and_loaded_in_another_session(
    daemon: RunningDaemon, chat: Chat, talk: Terminal, journal: Path
) -> None:
    talk.ask("/set system Be brief.")
    talk.ask("hello")
    assert talk.ask("/save mine") == ["Saved. `/load mine` or `oprel run mine` continues from here."]
    talk.type(CTRL_D)
    other = chat(daemon.config, "tiny")
    assert other.ask("/load mine") == [">>> hello", ANSWER, "", "mine is ready."]
    other.ask("and again")
    assert asked(journal)[-1] == ["Be brief.", "hello", ANSWER, "and again"]


def test_another_model_goes_on_with_the_conversation(
    daemon: RunningDaemon, talk: Terminal, journal: Path, tiny: Path
) -> None:
    with daemon.client as client:
        client.copy("tiny", "other")
    talk.ask("hello")
    assert talk.ask("/load otter")[:2] == ["Error: model 'otter' not found", "  Did you mean other?"]
    assert talk.ask("/load other") == ["other continues the conversation."]
    talk.ask("and again")
    assert asked(journal)[-1] == ["hello", ANSWER, "and again"]


def answers_nobody(client: Client) -> bool:
    return {engine.in_flight for engine in client.engines().models} <= {0}


def test_ctrl_c_stops_an_answer_and_keeps_what_was_seen(
    shared_daemon: RunningDaemon, chat: Chat, endless: Path
) -> None:
    terminal = chat(shared_daemon.config, str(endless))
    terminal.type(f"tell me all{ENTER}")
    terminal.await_text("small")
    terminal.type(CTRL_C)
    assert "small" in " ".join(terminal.await_prompt())
    with shared_daemon.client as client:
        eventually(lambda: answers_nobody(client))
    kept = json.loads((shared_daemon.config.home_dir / "last-conversation.json").read_text())
    assert [message["role"] for message in kept["messages"]] == ["user", "assistant"]
    assert "small" in kept["messages"][1]["content"]


def test_what_is_typed_during_an_answer_is_not_shown_amid_it(
    shared_daemon: RunningDaemon, chat: Chat, endless: Path
) -> None:
    terminal = chat(shared_daemon.config, str(endless))
    terminal.type(f"tell me all{ENTER}")
    terminal.await_text("small")
    terminal.type("/set verbose")
    terminal.type(CTRL_C)
    assert "/set" not in " ".join(terminal.await_prompt())


def test_ctrl_c_at_the_prompt_drops_the_line_and_tells_how_to_leave(talk: Terminal, journal: Path) -> None:
    talk.type("half a li")
    talk.await_text("half a li")
    talk.type(CTRL_C)
    assert talk.await_prompt() == []
    talk.type(CTRL_C)
    assert talk.await_prompt() == ["Use Ctrl-D or /bye to leave."]
    talk.ask("hello")
    assert asked(journal) == [["hello"]]


def test_ctrl_d_at_the_prompt_leaves(talk: Terminal) -> None:
    talk.type(CTRL_D)
    assert talk.end() == (0, [])


def test_ctrl_l_clears_the_screen(talk: Terminal) -> None:
    talk.ask("/set verbose")
    talk.type(CTRL_L)
    talk.await_screen([EMPTY_PROMPT])


def test_a_message_can_be_written_in_an_editor(
    daemon: RunningDaemon, chat: Chat, journal: Path, tmp_path: Path
) -> None:
    editor = tmp_path / "editor"
    editor.write_text("#!/bin/sh\nprintf 'written\\nelsewhere' > \"$1\"\n")
    editor.chmod(0o755)
    terminal = chat(daemon.config, "tiny", VISUAL=str(editor))
    terminal.type(CTRL_G)
    terminal.await_text("... elsewhere")
    terminal.ask("")
    assert asked(journal) == [["written\nelsewhere"]]


def test_the_history_lasts_into_the_next_session(daemon: RunningDaemon, chat: Chat) -> None:
    first = chat(daemon.config, "tiny")
    first.ask("hello from before")
    first.type(CTRL_D)
    first.end()
    file = daemon.config.home_dir / "history"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    second = chat(daemon.config, "tiny")
    second.type(UP)
    second.await_line(">>> hello from before")
    assert second.ask("") == [ANSWER, ""]


def test_no_history_is_kept_when_none_is_wanted(daemon: RunningDaemon, chat: Chat) -> None:
    terminal = chat(daemon.config, "tiny")
    terminal.ask("/set nohistory")
    terminal.ask("a secret")
    terminal.ask("/set history")
    terminal.ask("no secret")
    assert "a secret" not in (text := (daemon.config.home_dir / "history").read_text())
    assert "no secret" in text


def test_tab_completes_commands_settings_and_models(talk: Terminal) -> None:
    talk.type(f"/lo{TAB}")
    talk.await_line(">>> /load")
    talk.type(f"ti{TAB}")  # the blank came with the command
    talk.await_line(">>> /load tiny")
    assert talk.ask("") == ["tiny is ready."]
    talk.type(f"/set par{TAB}tem{TAB}")
    talk.await_line(">>> /set parameter temperature")
    assert talk.ask("1") == ["temperature is now 1.0."]


def test_what_tab_could_mean_is_listed(talk: Terminal) -> None:
    talk.type(f"/set no{TAB}")
    talk.await_text("nowordwrap")
    talk.type(f"fo{TAB}{ENTER}")
    assert talk.await_prompt()[-1] == "Answers are free text again."


def test_a_command_that_there_is_not_leads_to_one_that_there_is(talk: Terminal) -> None:
    assert talk.ask("/hlep")[:2] == ["Error: unknown command /hlep", "  Did you mean `/help`?"]
    assert talk.ask("/temp 0.2")[1] == "  Did you mean `/set parameter temperature 0.2`?"
    assert talk.ask("/set temperature 0.2")[1] == "  Did you mean `/set parameter temperature 0.2`?"
    assert talk.ask("/pull qwen3")[1] == "  In a shell there is `oprel pull`."


def test_what_follows_a_farewell_changes_nothing(talk: Terminal) -> None:
    talk.type(f"/quit please{ENTER}")
    assert talk.end() == (0, [])


@pytest.fixture
def shell(shared_daemon: RunningDaemon) -> Iterator[Terminal]:
    """A shell that controls jobs and leaves the terminal's settings alone."""
    terminal = Terminal(shared_daemon.config.home, "-i", program=["sh"], environment={"PS1": "$ "})
    with contextlib.closing(terminal):
        yield terminal


def suspend(shell: Terminal, before: str) -> None:
    """Suspend the program, and see that the shell's terminal is as it was: it echoes, and ends lines with Enter."""
    shell.type(CTRL_Z)
    shell.await_line("$")
    shell.type(f"echo {before} is $((1 + 1)){ENTER}")
    shell.await_screen_end([f"$ echo {before} is $((1 + 1))", f"{before} is 2", "$"])


def test_ctrl_z_suspends_at_the_prompt_and_fg_comes_back(shell: Terminal) -> None:
    shell.type(f"{shlex.join(OPREL)} chat tiny{ENTER}")
    shell.await_line(EMPTY_PROMPT)
    shell.type("/set verb")
    shell.await_line(">>> /set verb")
    suspend(shell, "prompt")
    shell.type(f"fg{ENTER}")
    shell.await_line(">>> /set verb")
    shell.type(f"ose{ENTER}")
    shell.await_line(EMPTY_PROMPT)
    shell.await_text("Counts and times are shown.")


def test_ctrl_z_suspends_an_answer_and_fg_goes_on_with_it(shell: Terminal, endless: Path) -> None:
    shell.type(f"{shlex.join(OPREL)} chat {endless}{ENTER}")
    shell.await_line(EMPTY_PROMPT)
    shell.type(f"tell me all{ENTER}")
    shell.await_text("small")
    suspend(shell, "answer")
    shell.type(f"fg{ENTER}")
    shell.await_text("fg")
    shell.await_last_line_with("small")
    shell.type(f"typed{CTRL_C}")
    shell.await_line(EMPTY_PROMPT)


def test_a_conversation_survives_the_daemon(chat: Chat, daemon: RunningDaemon, journal: Path) -> None:
    terminal = chat(daemon.config, "tiny", OPREL_ENGINE_PATH=daemon.config.engine_path)
    terminal.ask("hello")
    daemon.end()
    try:
        assert terminal.ask("and again") == [ANSWER, ""]
        assert asked(journal)[-1] == ["hello", ANSWER, "and again"]
    finally:
        stop_daemon(daemon.config)  # the one that the terminal has started


def test_a_conversation_is_resumed_in_another_session(daemon: RunningDaemon, chat: Chat, journal: Path) -> None:
    first = chat(daemon.config, "tiny", "--system=Be brief.")
    first.ask("hello")
    first.type(CTRL_D)
    first.end()
    chat(daemon.config, "--resume").ask("and again")
    assert asked(journal)[-1] == ["Be brief.", "hello", ANSWER, "and again"]


def test_there_may_be_nothing_to_resume(daemon: RunningDaemon) -> None:
    with contextlib.closing(Terminal(daemon.config.home, "chat", "--resume")) as terminal:
        status, lines = terminal.end()
    assert (status, lines[0]) == (2, "Error: there is no conversation to continue")
