"""Keys as they are stored, and as the setting gives them."""

import sqlite3
from pathlib import Path

import pytest

from oprel.core.config import Config
from oprel.core.configuration.given import from_environment
from oprel.core.configuration.published import effective
from oprel.core.exceptions import ConfigError, ValidationError
from oprel.core.state.client_keys import client_keys, keep_client_key
from oprel.core.state.keys import SECRET, KeyStore, expiry_of, given_keys, new_key


def test_a_store_has_hashes_and_no_secret(tmp_path: Path) -> None:
    file = tmp_path / "state.db"
    store = KeyStore.at(file)
    key, secret = new_key("laptop", "inference", models=["gemma*"], requests_per_minute=5, created=1.0, expires=2.0)
    store.add(key)
    assert store.all() == [key]
    assert SECRET.fullmatch(secret) and key.matches(secret) and not key.matches(secret[:-1] + "x")
    assert secret not in repr(key) and key.salt.hex() not in repr(key)
    store.close()
    assert secret[16:].encode() not in b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_name_is_taken_once_and_another_process_sees_changes(tmp_path: Path) -> None:
    store, other = KeyStore.at(tmp_path / "state.db"), KeyStore.at(tmp_path / "state.db")
    before = other.version()
    store.add(new_key("a", "admin", created=0)[0])
    assert other.version() != before
    with pytest.raises(ValidationError, match="already"):
        other.add(new_key("a", "admin", created=0)[0])
    assert other.remove("a") and not other.remove("a")
    assert store.all() == []


def test_a_file_that_is_no_database_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "state.db").write_bytes(b"x" * 5000)
    with pytest.raises(ConfigError, match="cannot be used"):
        KeyStore.at(tmp_path / "state.db")


def test_a_database_of_an_earlier_version_gets_the_table(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "state.db") as database:
        database.execute("CREATE TABLE messages (conversation TEXT)")
    assert KeyStore.at(tmp_path / "state.db").all() == []


@pytest.mark.parametrize("name", ["", "a b", "a:b", "x" * 65, "ä", "a\n"])
def test_a_name_is_one_word(name: str) -> None:
    with pytest.raises(ValidationError):
        new_key(name, "inference", created=0)


def test_an_admin_s_key_is_for_all_models() -> None:
    with pytest.raises(ValidationError, match="all models"):
        new_key("a", "admin", models=["x"], created=0)


@pytest.mark.parametrize("text", ["", "soon", "30", "1999-01-01", "3y"])
def test_a_time_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        expiry_of(text, 1_700_000_000.0)


def test_the_setting_names_scopes_or_leaves_them_out(tmp_path: Path) -> None:
    keys = given_keys("ci:admin:0123456789abcdef, sk-a:b:c-123456")
    assert [(key.name, key.scope, key.secret) for key in keys] == [
        ("ci", "admin", "0123456789abcdef"),
        ("api_keys-2", "inference", "sk-a:b:c-123456"),
    ]
    (tmp_path / "keys").write_text("# ours\nci:inference:0123456789abcdef\n\nplain-0123456789\n")
    assert [key.name for key in given_keys(f"file:{tmp_path / 'keys'}")] == ["ci", "api_keys-2"]
    assert given_keys("") == []


@pytest.mark.parametrize(
    "setting", ["s3cret", "a:admin:s3cret", "s3cret-with a-blank", "x:admin:s3cret-s3cret,x:admin:s3cret-s3cre2"]
)
def test_what_is_no_good_key_is_refused_without_a_quote(setting: str) -> None:
    with pytest.raises(ConfigError) as error:
        given_keys(setting)
    assert "s3cret" not in str(error.value)


def test_no_output_of_settings_has_a_secret() -> None:
    given = from_environment({"OPREL_API_KEYS": "ci:admin:s3cret-s3cret"})
    config = Config(api_keys=str(given["api_keys"].value))
    assert "s3cret" not in repr(config) and "s3cret" not in repr(effective(config, given))


def test_the_keys_of_clients_are_kept_by_address_for_their_user_alone(tmp_path: Path) -> None:
    keep_client_key(tmp_path, "http://a:1", "one")
    keep_client_key(tmp_path, "http://b:1", "two")
    keep_client_key(tmp_path, "http://a:1", "")
    assert client_keys(tmp_path) == {"http://b:1": "two"}
    assert [path.stat().st_mode & 0o777 for path in tmp_path.iterdir()] == [0o600]
