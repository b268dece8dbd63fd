"""What is set here and not in effect in the running daemon, and the line about it."""

from collections.abc import Mapping

import pytest

from oprel.core.config import Config
from oprel.core.configuration.differences import SettingDifference, differences, sentence
from oprel.core.configuration.given import Given, GivenSetting
from oprel.core.configuration.published import PublishedSettings, effective
from oprel.core.settings import Value

FILE = "/home/me/.config/oprel/config.yaml"
SECRET = "https://me:secret@mirror.example"


def daemon(
    settings: Mapping[str, Value] | None = None, *, given: Given | None = None, version: str = "1.0.0"
) -> PublishedSettings:
    return PublishedSettings(
        pid=1,
        version=version,
        address="http://127.0.0.1:11435",
        file=FILE,
        drop_in=False,
        service="",
        settings=effective(Config().replace(**(settings or {})), given or {}),
    )


def here(settings: Mapping[str, Value], origin: str = f"{FILE}:1") -> Given:
    return {name: GivenSetting(value, origin) for name, value in settings.items()}


@pytest.mark.parametrize(
    ("name", "value", "other"),
    [
        ("ctx_size", 256, 0),
        ("ctx_size", 0, 256),  # the default, but set
        ("keep_alive", "1h", "5m"),
        ("preload", "guide", ""),
        ("models", '{"tiny:latest": {"pin": "on"}}', ""),
        ("hf_endpoint", SECRET, "https://me:other@mirror.example"),
    ],
)
def test_another_value_is_a_difference(name: str, value: Value, other: Value) -> None:
    assert [each.name for each in differences(here({name: value}), FILE, daemon({name: other}))] == [name]


@pytest.mark.parametrize(
    ("name", "value", "other"),
    [
        ("ctx_size", 256, 256),
        ("keep_alive", "60m", "1h"),
        ("keep_alive", "-1", "-5m"),
        ("engine_path", "~/llama-server", Config(engine_path="~/llama-server").engine_path),
        ("preload", "guide, tiny", "tiny,guide"),
        ("models", '{"a:latest": {"pin": "on"}, "b:latest": {}}', '{"b:latest":{},"a:latest":{"pin":"on"}}'),
        ("hf_endpoint", SECRET, SECRET),
        ("home", "/elsewhere", "~/.oprel"),
        ("host", "unix:/run/other.sock", ""),
    ],
)
def test_another_spelling_and_what_is_not_the_daemons_are_none(name: str, value: Value, other: Value) -> None:
    assert differences(here({name: value}), FILE, daemon({name: other})) == []


def test_what_only_the_daemon_was_given_is_no_difference() -> None:
    assert differences({}, FILE, daemon({"ctx_size": 256}, given=here({"ctx_size": 256}, "--ctx-size"))) == []


def test_a_flag_of_one_command_is_no_setting_of_the_daemon() -> None:
    assert differences(here({"prefer": "speed"}, "--prefer"), FILE, daemon()) == []


def test_a_line_that_was_removed_from_the_same_file_is_a_difference() -> None:
    running = daemon({"ctx_size": 256}, given=here({"ctx_size": 256}))
    assert differences({}, FILE, running) == [SettingDifference("ctx_size", None, 256)]
    assert differences({}, "/another/config.yaml", running) == []
    assert differences({}, "", running) == []


def test_no_secret_is_shown() -> None:
    running = daemon({"hf_endpoint": "https://mirror.example", "engine_args": "--api-key 'to ken' --mlock"})
    assert running.settings["engine_args"].value == "--api-key *** --mlock"
    variables = daemon({"engine_variables": "RAY_TOKEN=secret MY_KEY='a b' MY_KEYS CUDA_VISIBLE_DEVICES=0"})
    shown = "RAY_TOKEN=*** MY_KEY=*** MY_KEYS CUDA_VISIBLE_DEVICES=0"
    assert variables.settings["engine_variables"].value == shown
    (difference,) = differences(here({"hf_endpoint": SECRET}), FILE, running)
    assert difference.here == "https://***@mirror.example"
    assert "secret" not in repr(
        daemon({"hf_endpoint": SECRET, "models": '{"a": {"engine_args": "--hf-token=secret"}}'})
    )


SET = {"ctx_size": 256, "parallel": 2, "keep_alive": "1h", "backend": "vllm"}
LINES = [
    ({"ctx_size": 256}, "ctx_size 256 is set here, but the running daemon has 0 (automatic): RUN"),
    (
        {"ctx_size": 256, "backend": "vllm"},
        "ctx_size 256 and backend vllm are set here, but the running daemon has 0 (automatic) and none: RUN",
    ),
    (
        SET,
        "ctx_size 256, parallel 2, keep_alive 1h and 1 more are set here, "
        "but the running daemon has 0 (automatic), 0 (automatic), 5m and 1 more: RUN",
    ),
    ({"engine_args": "--x " * 30}, "engine_args is set here, but the running daemon has none: RUN"),
]


@pytest.mark.parametrize(("settings", "line"), LINES)
def test_one_line_says_it(settings: dict[str, Value], line: str) -> None:
    running = daemon()
    assert sentence(differences(here(settings), FILE, running), running, "1.0.0", "RUN") == line


def test_the_same_line_says_that_the_daemon_is_older() -> None:
    running = daemon({"ctx_size": 256}, given=here({"ctx_size": 256}), version="0.9.0")
    assert sentence([], running, "1.0.0", "RUN") == "the running daemon has version 0.9.0, this command 1.0.0: RUN"
    removed = "the running daemon still has ctx_size 256, which the file no longer sets"
    line = sentence(differences({}, FILE, running), running, "1.0.0", "RUN")
    assert line == f"the running daemon has version 0.9.0, this command 1.0.0; {removed}: RUN"


@pytest.mark.parametrize("version", ["1.0.0", "1.0", "1.1.0", "10.0"])
def test_a_daemon_that_is_not_older_needs_no_line(version: str) -> None:
    assert sentence([], daemon(version=version), "1.0.0", "RUN") == ""
