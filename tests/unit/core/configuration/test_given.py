"""Where a setting is set, what a file sets twice, and variables without a meaning."""

from pathlib import Path

import pytest

from oprel.core.config import given_settings
from oprel.core.configuration.given import examined_file, unknown_variables
from oprel.core.exceptions import ConfigError


def in_file(folder: Path, text: str) -> Path:
    file = folder / "config.yaml"
    file.write_text(text)
    return file


def test_each_setting_has_the_place_that_sets_it(tmp_path: Path) -> None:
    file = in_file(tmp_path, "# mine\nparallel: 2\n\nctx_size: 2\nn_threads: 2\n")
    environ = {"OPREL_CTX_SIZE": "3", "OPREL_N_THREADS": "3", "HF_ENDPOINT": "https://mirror.example"}
    given = given_settings({"n_threads": 4}, file=file, environ=environ)
    assert {name: setting.origin for name, setting in given.items()} == {
        "parallel": f"{file}:2",
        "ctx_size": "OPREL_CTX_SIZE",
        "n_threads": "--n-threads",
        "hf_endpoint": "HF_ENDPOINT",
    }


def test_a_flag_that_repeats_the_file_leaves_it_the_origin(tmp_path: Path) -> None:
    """A command passes its settings to the daemon that it starts as flags, which reads the same file."""
    file = in_file(tmp_path, "parallel: 2\n")
    assert given_settings({"parallel": 2}, file=file, environ={})["parallel"].origin == f"{file}:1"


def test_a_drop_in_daemon_names_ollamas_variables() -> None:
    environ = {"OLLAMA_NUM_PARALLEL": "2", "XDG_CONFIG_HOME": "/nonexistent"}
    given = given_settings(environ=environ, drop_in=True)
    assert (given["parallel"].origin, given["server_port"].origin) == ("OLLAMA_NUM_PARALLEL", "--drop-in")


TWICE = [
    ("ctx_size: 1\nparallel: 2\nctx_size: 3\n", "ctx_size is set on line 1 and again on line 3"),
    ("models:\n  tiny: {pin: on}\n  tiny: {}\n", "models: tiny is set on line 2 and again on line 3"),
    ("models: {tiny: {pin: on, pin: off}}\n", "models: tiny: pin is set twice on line 1"),
    ("models:\n  tiny: {}\n  tiny:latest: {}\n", "config.yaml:1: models: 'tiny' and 'tiny:latest' are the same model"),
]


@pytest.mark.parametrize(("text", "complaint"), TWICE)
def test_a_key_that_occurs_twice_is_an_error_with_both_lines(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        given_settings(file=in_file(tmp_path, text), environ={})
    assert complaint in caught.value.message


def test_a_merge_key_may_occur_again(tmp_path: Path) -> None:
    text = "models:\n  a: &a {pin: on}\n  b: &b {parallel: 1}\n  c:\n    <<: *a\n    <<: *b\n"
    given = given_settings(file=in_file(tmp_path, text), environ={})
    assert '"c:latest": {"pin": "on"' in str(given["models"].value) or '"parallel": 1' in str(given["models"].value)


def test_a_variable_with_a_key_twice_is_an_error() -> None:
    with pytest.raises(ConfigError, match="OPREL_MODELS: tiny is set twice on line 1"):
        given_settings(environ={"OPREL_MODELS": "{tiny: {}, tiny: {}}", "XDG_CONFIG_HOME": "/nonexistent"})


def test_every_problem_of_a_file_has_its_line(tmp_path: Path) -> None:
    text = "parallel: 2\nparalel: 3\nctx_size: many\nmodels:\n  tiny: {pni: on}\n"
    settings, problems = examined_file(in_file(tmp_path, text))
    assert [*settings] == ["parallel"]
    lines = [problem.message.removeprefix(f"{tmp_path}/config.yaml:") for problem in problems]
    assert lines == [
        "2: unknown key 'paralel'",
        "3: ctx_size must be a whole number, not 'many'",
        "5: models: tiny: unknown key 'pni'",
    ]
    assert [problem.resolution_steps for problem in problems][::2] == [
        ("Did you mean parallel?",),
        ("Did you mean pin?",),
    ]


@pytest.mark.parametrize("text", ["[" * 5000, "a: &a [*a]\n"])
def test_a_file_of_strange_form_is_an_error_and_no_crash(tmp_path: Path, text: str) -> None:
    assert examined_file(in_file(tmp_path, text))[1]


def test_variables_without_a_meaning_are_named_with_the_nearest() -> None:
    environ = {"OPREL_CTX_SZE": "1", "OPREL_QQ": "1", "OPREL_PARALLEL": "2", "OPREL_CONFIG": "x", "OPREL_EMPTY": ""}
    assert [str(variable) for variable in unknown_variables(environ)] == [
        "OPREL_CTX_SZE has no meaning: did you mean OPREL_CTX_SIZE?",
        "OPREL_QQ has no meaning",
    ]
