"""The keys of callers: stored in state.db by commands, or given by the setting `api_keys`."""

import hashlib
import hmac
import json
import os
import re
import secrets
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Self

from oprel.core.exceptions import ConfigError, ValidationError
from oprel.utils.database import opened_on_disk
from oprel.utils.files import open_own

Scope = Literal["inference", "admin"]

SCHEMA = """
CREATE TABLE IF NOT EXISTS access_keys (
    name TEXT PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    salt BLOB NOT NULL,
    hash BLOB NOT NULL,
    scope TEXT NOT NULL,
    models TEXT NOT NULL DEFAULT '[]',
    requests_per_minute INTEGER NOT NULL DEFAULT 0,
    tokens_per_minute INTEGER NOT NULL DEFAULT 0,
    created REAL NOT NULL DEFAULT 0,
    expires REAL
);
"""
COLUMNS = "name, id, salt, hash, scope, models, requests_per_minute, tokens_per_minute, created, expires"
# The beginning lets scanners of source code recognize a key. The public part says which row holds its hash.
SECRET = re.compile(r"oprel_([0-9a-f]{8})_[0-9a-f]{48}", re.ASCII)
NAME = re.compile(r"[\w.@-]{1,64}", re.ASCII)
NAMED = re.compile(r"([\w.@-]{1,64}):(inference|admin):(\S+)", re.ASCII)
SHORTEST_GIVEN = 12  # characters of a secret that somebody chose
SECONDS = {"m": 60.0, "h": 3600.0, "d": 86400.0, "w": 7 * 86400.0}


@dataclass(frozen=True, kw_only=True)
class StoredKey:
    """What is known of a key, without its secret. A limit of 0 is none; times are seconds since 1970.

    `models`: names or patterns with `*`; none means all. `hash`: SHA-256 of the salt and the secret.
    """

    name: str
    id: str
    scope: Scope
    models: tuple[str, ...] = ()
    requests_per_minute: int = 0
    tokens_per_minute: int = 0
    created: float = 0.0
    expires: float | None = None
    salt: bytes = field(repr=False)
    hash: bytes = field(repr=False)

    def matches(self, secret: str) -> bool:
        """Takes the same time whatever the secret is."""
        return hmac.compare_digest(salted(self.salt, secret), self.hash)

    def is_expired(self, now: float) -> bool:
        return self.expires is not None and now >= self.expires


@dataclass(frozen=True)
class GivenKey:
    """A key of the setting `api_keys`."""

    name: str
    scope: Scope
    secret: str = field(repr=False)


def salted(salt: bytes, secret: str) -> bytes:
    return hashlib.sha256(salt + secret.encode(errors="surrogateescape")).digest()


def new_key(
    name: str,
    scope: Scope,
    *,
    models: Sequence[str] = (),
    requests_per_minute: int = 0,
    tokens_per_minute: int = 0,
    created: float,
    expires: float | None = None,
) -> tuple[StoredKey, str]:
    """A key, and its secret of 192 random bits, which is kept nowhere. Raises ValidationError."""
    if not NAME.fullmatch(name):
        raise ValidationError(f"{name!r} is not a name of a key", "Use up to 64 letters, digits and `-_.@`.")
    if models and scope == "admin":
        raise ValidationError("a key with the scope admin is for all models", "Use the scope inference with --models.")
    if min(requests_per_minute, tokens_per_minute) < 0:
        raise ValidationError("a limit must not be negative", "0 is no limit.")
    id, salt = secrets.token_hex(4), secrets.token_bytes(16)
    secret = f"oprel_{id}_{secrets.token_hex(24)}"
    key = StoredKey(
        name=name,
        id=id,
        scope=scope,
        models=tuple(models),
        requests_per_minute=requests_per_minute,
        tokens_per_minute=tokens_per_minute,
        created=created,
        expires=expires,
        salt=salt,
        hash=salted(salt, secret),
    )
    return key, secret


def expiry_of(text: str, now: float) -> float:
    """When a key expires that is valid for `text`, such as 30d, 12h or 2w, or until a day. Raises ValidationError.

    >>> expiry_of("2d", 0.0)
    172800.0
    """
    from datetime import datetime

    if match := re.fullmatch(r"(\d{1,6})([mhdw])", text, re.ASCII):
        return now + int(match[1]) * SECONDS[match[2]]
    try:
        moment = datetime.fromisoformat(text).astimezone().timestamp()
    except (ValueError, OverflowError):
        raise ValidationError(f"{text!r} is no time", "Write 30d, 12h, 2w, or a day such as 2030-12-31.") from None
    if moment <= now:
        raise ValidationError(f"{text} is over")
    return moment


class KeyStore:
    """The keys in state.db. Another process sees a change at its next look."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    @classmethod
    def at(cls, file: Path) -> Self:
        """Makes the file if there is none, for this user alone. Raises ConfigError."""
        try:
            os.close(open_own(file, os.O_RDWR | os.O_CREAT))
            return cls(opened_on_disk(file, SCHEMA))
        except (OSError, sqlite3.Error) as error:
            raise ConfigError(f"{file} cannot be used: {error}", "`oprel doctor` says more.") from error

    def version(self) -> int:
        """Changes with whatever another connection writes. Raises sqlite3.Error."""
        (version,) = self._database.execute("PRAGMA data_version").fetchone()
        return int(version)

    def all(self) -> list[StoredKey]:
        """By name. Raises sqlite3.Error."""
        return [_stored(*row) for row in self._database.execute(f"SELECT {COLUMNS} FROM access_keys ORDER BY name")]

    def add(self, key: StoredKey) -> None:
        """Raises ValidationError for a name that is taken, sqlite3.Error."""
        values = (*(getattr(key, name) for name in ("name", "id", "salt", "hash", "scope")), json.dumps(key.models))
        limits = key.requests_per_minute, key.tokens_per_minute, key.created, key.expires
        try:
            with self._database:
                self._database.execute(
                    f"INSERT INTO access_keys ({COLUMNS}) VALUES ({', '.join('?' * 10)})", (*values, *limits)
                )
        except sqlite3.IntegrityError:
            step = "`oprel keys rotate` gives it a new secret, `oprel keys rm` removes it."
            raise ValidationError(f"there is a key {key.name} already", step) from None

    def replace(self, key: StoredKey) -> None:
        """Give the key of that name another secret. Raises sqlite3.Error."""
        with self._database:
            self._database.execute(
                "UPDATE access_keys SET id = ?, salt = ?, hash = ? WHERE name = ?",
                (key.id, key.salt, key.hash, key.name),
            )

    def remove(self, name: str) -> bool:
        """Whether there was such a key. Raises sqlite3.Error."""
        with self._database:
            return self._database.execute("DELETE FROM access_keys WHERE name = ?", (name,)).rowcount > 0

    def close(self) -> None:
        self._database.close()


def _stored(
    name: str,
    id: str,
    salt: bytes,
    hash: bytes,
    scope: str,
    models: str,
    requests: int,
    tokens: int,
    created: float,
    expires: float | None,
) -> StoredKey:
    return StoredKey(
        name=name,
        id=id,
        scope="admin" if scope == "admin" else "inference",
        models=tuple(str(model) for model in json.loads(models)),
        requests_per_minute=requests,
        tokens_per_minute=tokens,
        created=created,
        expires=expires,
        salt=salt,
        hash=hash,
    )


def given_keys(setting: str) -> list[GivenKey]:
    """The keys of the setting `api_keys`: `NAME:SCOPE:SECRET` or `SECRET`, with commas, or `file:PATH` with lines.

    A secret without a name has the scope inference. Raises ConfigError, which does not quote a secret.
    """
    if setting.startswith("file:"):
        parts = _lines(Path(os.path.expanduser(setting.removeprefix("file:"))))
    else:
        parts = [part.strip() for part in setting.split(",")]
    keys = [_given(part, number) for number, part in enumerate(filter(None, parts), 1)]
    if len({key.name for key in keys}) < len(keys):
        raise ConfigError("api_keys has two keys of one name", "Give each a name of its own: NAME:SCOPE:SECRET.")
    return keys


def _lines(file: Path) -> Iterable[str]:
    try:
        content = file.read_text(errors="surrogateescape")  # a mounted secret may be a link
    except OSError as error:
        raise ConfigError(f"api_keys: {file} cannot be read: {error.strerror}") from error
    return [line.strip() for line in content.splitlines() if not line.lstrip().startswith("#")]


def _given(text: str, number: int) -> GivenKey:
    if named := NAMED.fullmatch(text):
        key = GivenKey(named[1], "admin" if named[2] == "admin" else "inference", named[3])
    else:
        key = GivenKey(f"api_keys-{number}", "inference", text)
    if len(key.secret) < SHORTEST_GIVEN or re.search(r"\s", key.secret):
        step = "`openssl rand -hex 24` makes a good one."
        raise ConfigError(f"api_keys: the secret of {key.name} has fewer than {SHORTEST_GIVEN} characters", step)
    return key
