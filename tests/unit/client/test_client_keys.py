"""A key goes to the daemon that it belongs to, and nowhere else."""

from pathlib import Path

import pytest

from oprel.client.base import Address, key_for
from oprel.client_api import Client
from oprel.core.config import Config
from oprel.core.state.client_keys import keep_client_key

BOX, OTHER = Address.parse("http://box:1"), Address.parse("http://other:1")


def test_the_own_daemon_gets_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPREL_API_KEY", "mine")
    config = Config(home=str(tmp_path))
    assert key_for(Address.of(config), config) == ""


def test_variables_belong_to_the_configured_daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPREL_API_KEY", "mine")
    config = Config(home=str(tmp_path), host="http://box:1")
    assert (key_for(BOX, config), key_for(OTHER, config)) == ("mine", "")
    assert key_for(OTHER, config.replace(host="")) == "mine"


def test_a_stored_key_comes_before_ollama_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLLAMA_API_KEY", "ollama's")
    config = Config(home=str(tmp_path))
    assert key_for(BOX, config) == "ollama's"
    keep_client_key(tmp_path, str(BOX), "stored")
    assert (key_for(BOX, config), key_for(OTHER, config)) == ("stored", "ollama's")
    monkeypatch.setenv("OPREL_API_KEY", "mine")
    assert key_for(BOX, config) == "mine"


@pytest.mark.parametrize("headers", [{"authorization": "Bearer given"}, {"X-Api-Key": "given"}])
def test_a_header_that_the_caller_gave_stays(
    headers: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPREL_API_KEY", "mine")
    config = Config(home=str(tmp_path))
    assert Client("http://box:1", config=config, headers=headers)._http_arguments["headers"] == headers
    sent = Client("http://box:1", config=config, headers={"x-other": "1"})._http_arguments["headers"]
    assert sent == {"x-other": "1", "Authorization": "Bearer mine"}
