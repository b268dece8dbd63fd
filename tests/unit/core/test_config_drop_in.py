"""The settings of a daemon in Ollama's place."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from oprel.core.config import Config, drop_in_notes, load_config
from oprel.core.configuration.ollama_env import NEVER, READERS

# What differs from other daemons.
DROP_IN = {"server_port": 11434, "truncate_embeddings": "on"}


def settings(environ: Mapping[str, str]) -> Config:
    return load_config(environ={"XDG_CONFIG_HOME": "/nonexistent", **environ}, drop_in=True)


def test_it_listens_where_ollama_does_and_is_else_as_usual() -> None:
    assert settings({}) == Config(**DROP_IN)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("", "127.0.0.1", 11434),
        ("0.0.0.0", "0.0.0.0", 11434),
        ("box:1234", "box", 1234),
        ("box", "box", 11434),
        (":1234", "0.0.0.0", 1234),
        ("http://box", "box", 80),
        ("https://box", "box", 443),
        ("http://box:8080/path", "box", 8080),
        ("http://", "127.0.0.1", 80),
        ("::1", "::1", 11434),
        ("[::1]", "::1", 11434),
        ("[::1]:1234", "::1", 1234),
        (" '0.0.0.0:1234' ", "0.0.0.0", 1234),
        ('"box"', "box", 11434),
    ],
)
def test_an_address_is_read_as_ollama_reads_it(text: str, host: str, port: int) -> None:
    config = settings({"OLLAMA_HOST": text})
    assert (config.server_host, config.server_port) == (host, port)
    assert drop_in_notes({"OLLAMA_HOST": text}) == []


@pytest.mark.parametrize(
    ("variable", "text", "name", "value"),
    [
        ("OLLAMA_ORIGINS", "http://a.example,https://*.b.example", "origins", "http://a.example,https://*.b.example"),
        ("OLLAMA_KEEP_ALIVE", "1h", "keep_alive", "1h"),
        ("OLLAMA_KEEP_ALIVE", "90", "keep_alive", "90"),
        ("OLLAMA_KEEP_ALIVE", "0", "keep_alive", "0"),
        ("OLLAMA_KEEP_ALIVE", "-1", "keep_alive", "-1"),
        ("OLLAMA_KEEP_ALIVE", "-2h", "keep_alive", "-1"),
        ("OLLAMA_LOAD_TIMEOUT", "10m", "load_timeout", "600.000000s"),
        ("OLLAMA_LOAD_TIMEOUT", "30", "load_timeout", "30.000000s"),
        ("OLLAMA_LOAD_TIMEOUT", "0", "load_timeout", NEVER),
        ("OLLAMA_LOAD_TIMEOUT", "-1", "load_timeout", NEVER),
        ("OLLAMA_NUM_PARALLEL", "2", "parallel", 2),
        ("OLLAMA_NUM_PARALLEL", "0", "parallel", Config.parallel),
        ("OLLAMA_MAX_QUEUE", "5", "max_queue", 5),
        ("OLLAMA_CONTEXT_LENGTH", "8192", "ctx_size", 8192),
        ("OLLAMA_CONTEXT_LENGTH", "0", "ctx_size", Config.ctx_size),
        ("OLLAMA_FLASH_ATTENTION", "1", "flash_attention", "on"),
        ("OLLAMA_FLASH_ATTENTION", "yes", "flash_attention", "on"),
        ("OLLAMA_FLASH_ATTENTION", "False", "flash_attention", "off"),
        ("OLLAMA_KV_CACHE_TYPE", "Q8_0", "kv_cache_type", "q8_0"),
        ("OLLAMA_DEBUG", "1", "log_level", "debug"),
        ("OLLAMA_DEBUG", "2", "log_level", "debug"),
        ("OLLAMA_DEBUG", "0", "log_level", "info"),
    ],
)
def test_a_variable_of_ollamas_sets_what_is_here_called_otherwise(
    variable: str, text: str, name: str, value: str | int
) -> None:
    assert settings({variable: text}) == Config(**{**DROP_IN, name: value})  # type: ignore[arg-type]
    assert drop_in_notes({variable: text}) == []


def test_every_variable_that_is_followed_is_tested() -> None:
    marks = test_a_variable_of_ollamas_sets_what_is_here_called_otherwise.pytestmark  # type: ignore[attr-defined]
    assert {case[0] for case in marks[0].args[1]} == READERS.keys() - {"OLLAMA_HOST"}


@pytest.mark.parametrize(
    ("variable", "text", "complaint"),
    [
        ("OLLAMA_HOST", "box:port", "'port' is not a port"),
        ("OLLAMA_HOST", "box:99999", "server_port must be at most 65535, not 99999"),
        ("OLLAMA_NUM_PARALLEL", "many", "'many' is not a whole number"),
        ("OLLAMA_CONTEXT_LENGTH", "-1", "'-1' is not a whole number"),
        ("OLLAMA_KV_CACHE_TYPE", "q3_0", "kv_cache_type is 'q3_0'"),
        ("OLLAMA_KEEP_ALIVE", "soon", 'time: invalid duration "soon"'),
    ],
)
def test_a_value_that_makes_no_sense_is_told_and_not_followed(variable: str, text: str, complaint: str) -> None:
    assert settings({variable: text}) == Config(**DROP_IN)  # type: ignore[arg-type]
    assert drop_in_notes({variable: text}) == [f"{variable} is ignored: {complaint}"]


def test_variables_without_a_meaning_here_are_named_once() -> None:
    environ = {"OLLAMA_MODELS": "/models", "OLLAMA_SCHED_SPREAD": "1", "OLLAMA_DEBUG": " ", "OTHER": "1"}
    assert drop_in_notes(environ) == ["ignored, without a meaning in oprel: OLLAMA_SCHED_SPREAD"]


def test_own_variables_and_flags_win_over_ollamas_and_those_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("server_port: 1\nserver_host: box\nctx_size: 1\nparallel: 1\nbatch_size: 1\n")
    environ = {"OLLAMA_HOST": "0.0.0.0:2", "OLLAMA_CONTEXT_LENGTH": "2", "OLLAMA_NUM_PARALLEL": "2"}
    environ |= {"OPREL_CTX_SIZE": "3", "OPREL_PARALLEL": "3"}
    config = load_config({"parallel": 4}, file=file, environ=environ, drop_in=True)
    assert (config.server_host, config.server_port) == ("0.0.0.0", 2)
    assert (config.batch_size, config.ctx_size, config.parallel) == (1, 3, 4)


def test_another_daemon_takes_no_notice_of_ollamas_variables() -> None:
    environ = {"XDG_CONFIG_HOME": "/nonexistent", "OLLAMA_HOST": "0.0.0.0:1", "OLLAMA_NUM_PARALLEL": "9"}
    assert load_config(environ=environ) == Config()
