"""What people and programs send by mistake or on purpose, each once the cause of an unexpected error."""

import math
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest

from oprel.client.base import Address
from oprel.client.connect import connection_errors
from oprel.core.config import Config, load_config
from oprel.core.exceptions import ConfigError, ConnectError, ModelNotFoundError, ValidationError
from oprel.core.models.manifests import Manifest, Manifests
from oprel.core.names import ModelRef
from oprel.runtime.binaries.engine_binaries import find_binaries
from oprel.runtime.exits import classify_exit
from oprel.server.access.hosts import OwnHosts
from oprel.server.api.common import decode, encode
from oprel.server.api.guard import Guard
from oprel.server.preloading import Preloading
from tests.fixtures import fake_engine

PLAIN = Manifest(name="tiny:latest", weights=Path("/tiny.gguf"))


@pytest.mark.parametrize(
    "content", ['{"name": "bad name!", "weights": "/x"}', '{"name": 1, "weights": 2}', "[" * 100_000], ids=repr
)
def test_a_damaged_manifest_hides_only_itself(tmp_path: Path, content: str):
    Manifests(tmp_path, tmp_path).put(PLAIN)
    (tmp_path / "damaged.json").write_text(content)
    assert list(Manifests(tmp_path, tmp_path)) == [PLAIN]


def test_a_name_longer_than_a_files_may_be_is_not_found(tmp_path: Path):
    with pytest.raises(ModelNotFoundError):
        Manifests(tmp_path, tmp_path).get(ModelRef.parse(f"{'h' * 100}/{'n' * 80}/{'m' * 80}"))


def test_the_home_of_an_unknown_user_is_a_path_like_any():
    assert ModelRef.parse("~nosuchuser/m.gguf").path.name == "m.gguf"


@pytest.mark.parametrize("value", [math.inf, math.nan, 10**30, -(10**30)])
def test_a_number_beyond_all_use_is_refused(value: float):
    with pytest.raises(ValidationError, match="out of range"):
        decode.options({"seed": value}, {})


@pytest.mark.parametrize("words", ["nan", "inf", "1e3", "1_0", " 5 ", "٥m", "-+5m"])
def test_what_only_python_takes_for_a_number_is_no_duration(words: str):
    with pytest.raises(ValidationError):
        decode.keep_alive(words)


@pytest.mark.parametrize("seconds", [1e12, math.inf, 1e308])
def test_a_model_that_stays_longer_than_calendars_go_can_be_listed(seconds: float):
    loaded = SimpleNamespace(keep_alive_left=seconds)
    assert encode.expiry(loaded).startswith(("2317", "2318"))  # type: ignore[arg-type]  # all that it looks at


@pytest.mark.parametrize("seconds", [1e12, math.inf, 1e308])
def test_a_model_that_stays_longer_than_calendars_go_is_loaded_again_without_an_end(seconds: float):
    preloading = SimpleNamespace(_manager=SimpleNamespace(clock=lambda: 0.0))
    assert Preloading._until(preloading, seconds) is None  # type: ignore[arg-type]  # all that it looks at


@pytest.mark.parametrize("host", ["[::1", "[bad]", "]", "a b"])
def test_a_host_that_is_none_is_not_ours(host: str):
    assert not OwnHosts().has(host, "127.0.0.1")


def test_an_origin_that_is_none_is_refused_and_brackets_may_be_configured():
    async def app(*_: object) -> None: ...

    guard = Guard(app, Config(origins="http://[::1]:*"))
    assert not guard._allows("http://[::1", ["localhost"])
    assert guard._allows("http://[::1]:3000", ["localhost:1"])


@pytest.mark.parametrize("text", ["[::1", "ftp://box", "http://box:port", "http://box:99999"])
def test_an_address_that_is_none_is_refused(text: str):
    with pytest.raises(ConfigError):
        Address.parse(text)


def test_a_broken_connection_has_a_reason_even_if_nobody_gave_one():
    with pytest.raises(ConnectError, match="ReadError"), connection_errors(Address.parse("box")):
        raise httpx.ReadError("")


def test_a_signal_without_a_name_is_told_by_its_number():
    assert classify_exit(-40, []).detail == "signal 40"


def test_of_two_installed_builds_the_later_number_is_first(tmp_path: Path):
    for build in ("b9999", "b11434"):
        fake_engine.install(tmp_path / build)
    assert "b11434" in find_binaries(Config(binary_dir=str(tmp_path)))[0].command[0]


@pytest.mark.parametrize("text", ["home:\n", "host:\n", ""])
def test_a_key_without_a_value_is_as_if_it_were_not_there(tmp_path: Path, text: str):
    (tmp_path / "config.yaml").write_text(text)
    assert load_config(file=tmp_path / "config.yaml", environ={}) == Config()


def test_a_bare_on_is_what_its_writer_meant(tmp_path: Path):
    (tmp_path / "config.yaml").write_text("flash_attention: on\n")
    assert load_config(file=tmp_path / "config.yaml", environ={}).flash_attention == "on"


@pytest.mark.parametrize(
    "text",
    ["origins: [http://a]\n", "trusted_proxies: nginx\n", "load_timeout: -5m\n", "keep_alive: nan\n", 'home: ""\n'],
)
def test_a_value_that_makes_no_sense_is_refused(tmp_path: Path, text: str):
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(ConfigError):
        load_config(file=tmp_path / "config.yaml", environ={})
