"""What the daemon remembers of conversations."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from oprel.core.completion import PromptMessage
from oprel.server.history.conversations import Conversations

HELLO, HI, MORE = PromptMessage("user", "héllo\n"), PromptMessage("assistant", "hi"), PromptMessage("user", "more")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


@pytest.fixture
def conversations(file: Path) -> Iterator[Conversations]:
    opened = Conversations(file)
    yield opened
    opened.close()


def test_messages_come_back_oldest_first(conversations: Conversations) -> None:
    conversations.append("", "a", HELLO, HI)
    conversations.append("", "a", MORE)
    assert conversations.messages("", "a") == (HELLO, HI, MORE)


def test_conversations_are_apart(conversations: Conversations) -> None:
    conversations.append("", "a", HELLO)
    conversations.append("", "A", MORE)
    assert (conversations.messages("", "a"), conversations.messages("", "A")) == ((HELLO,), (MORE,))
    assert conversations.messages("", "nonesuch") == ()


def test_each_caller_has_conversations_of_its_own(conversations: Conversations) -> None:
    conversations.append("", "a", HELLO)
    conversations.append("user:1000", "a", MORE)
    assert (conversations.messages("", "a"), conversations.messages("user:1000", "a")) == ((HELLO,), (MORE,))
    assert conversations.messages("key:b", "a") == ()


def test_those_of_an_earlier_version_are_the_own_users(file: Path) -> None:
    with closing(sqlite3.connect(file)) as earlier, earlier:
        earlier.execute(
            "CREATE TABLE messages (conversation TEXT NOT NULL, role TEXT NOT NULL, content TEXT NOT NULL,"
            " created_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP)"
        )
        earlier.execute("INSERT INTO messages (conversation, role, content) VALUES ('a', 'user', 'hello')")
    with closing(Conversations(file)) as opened:
        assert [message.content for message in opened.messages("", "a")] == ["hello"]
        assert opened.messages("user:1000", "a") == ()


def test_they_survive_a_restart(conversations: Conversations, file: Path) -> None:
    conversations.append("", "a", HELLO)
    conversations.close()
    again = Conversations(file)
    again.append("", "a", HI)
    assert again.messages("", "a") == (HELLO, HI)
    again.close()


def test_what_was_stored_is_there_without_a_proper_end(conversations: Conversations, file: Path) -> None:
    conversations.append("", "a", HELLO)
    meanwhile = Conversations(file)  # as after a kill: the first was never closed
    assert meanwhile.messages("", "a") == (HELLO,)
    meanwhile.close()


def test_all_messages_are_stored_or_none(conversations: Conversations) -> None:
    broken = PromptMessage("assistant", None)  # type: ignore[arg-type]  # what the table refuses
    assert not conversations.append("", "a", HELLO, broken)
    assert conversations.messages("", "a") == ()


def test_where_no_file_can_be_they_are_kept_in_memory(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for file in (tmp_path / "absent" / "state.db", tmp_path):
        conversations = Conversations(file)
        assert conversations.append("", "a", HELLO)
        assert conversations.messages("", "a") == (HELLO,)
        conversations.close()
        assert f"{file} cannot be used" in caplog.text
