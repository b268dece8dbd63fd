"""Conversations that survive a restart, in OPREL_HOME/state.db."""

import logging
import sqlite3
from pathlib import Path

from oprel.core.completion import PromptMessage
from oprel.utils.database import opened

logger = logging.getLogger(__name__)

SCHEMA = """
CREATE TABLE IF NOT EXISTS messages (
    conversation TEXT NOT NULL, role TEXT NOT NULL, content TEXT NOT NULL,
    created_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP,
    owner TEXT NOT NULL DEFAULT ''
);
CREATE INDEX IF NOT EXISTS messages_of_conversation ON messages (conversation);
"""


class Conversations:
    """Messages by owner and conversation id, oldest first. The owner "" is the daemon's own user.

    A call takes well under a millisecond: the loop may wait for it.
    """

    def __init__(self, file: Path) -> None:
        self._database = opened(file, SCHEMA)

    def messages(self, owner: str, conversation: str) -> tuple[PromptMessage, ...]:
        query = "SELECT role, content FROM messages WHERE conversation = ? AND owner = ? ORDER BY rowid"
        rows = self._database.execute(query, (conversation, owner))
        return tuple(PromptMessage(role, content) for role, content in rows)

    def append(self, owner: str, conversation: str, *messages: PromptMessage) -> bool:
        """Store all of them. If that fails (on a full disk, say), store none and return False: the answer is sent."""
        rows = [(owner, conversation, message.role, message.content) for message in messages]
        insert = "INSERT INTO messages (owner, conversation, role, content) VALUES (?, ?, ?, ?)"
        try:
            with self._database:
                self._database.executemany(insert, rows)
        except sqlite3.Error as error:
            logger.error("conversation %s was not stored: %s", conversation, error)
            return False
        return True

    def close(self) -> None:
        self._database.close()
