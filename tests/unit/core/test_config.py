"""Where a setting comes from, and what is said about a bad one."""

import math
import os
import re
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from oprel.core.config import LONGEST_RUN_DIR, Config, load_config, settings
from oprel.core.configuration.environment import child_environment
from oprel.core.exceptions import ConfigError
from oprel.core.settings import parse_keep_alive

EXAMPLE = Path(__file__).parents[3] / "config.yaml"


def load(
    folder: Path, text: str, environ: Mapping[str, str] | None = None, arguments: Mapping[str, str | int] | None = None
) -> Config:
    """The configuration in force with `text` as its file."""
    file = folder / "config.yaml"
    file.write_text(text)
    return load_config(arguments, file=file, environ=environ or {})


def test_arguments_win_over_variables_over_the_file_over_defaults(tmp_path: Path) -> None:
    text = "parallel: 2\nctx_size: 2\nn_threads: 2\n"
    environ = {"OPREL_CTX_SIZE": "3", "OPREL_N_THREADS": "3"}
    config = load(tmp_path, text, environ, {"n_threads": 4})
    assert (config.batch_size, config.parallel, config.ctx_size, config.n_threads) == (0, 2, 3, 4)


def test_the_file_is_the_one_given_or_named_or_the_usual_one(tmp_path: Path) -> None:
    usual, named, given = (tmp_path / name for name in ("oprel/config.yaml", "named.yaml", "given.yaml"))
    usual.parent.mkdir()
    for number, file in enumerate((usual, named, given), start=1):
        file.write_text(f"parallel: {number}\n")
    environ = {"XDG_CONFIG_HOME": str(tmp_path)}
    assert load_config(environ=environ).parallel == 1
    assert load_config(environ=environ | {"OPREL_CONFIG": str(named)}).parallel == 2
    assert load_config(environ=environ | {"OPREL_CONFIG": str(named)}, file=given).parallel == 3


def test_without_a_file_there_are_the_defaults(tmp_path: Path) -> None:
    assert load_config(environ={"XDG_CONFIG_HOME": str(tmp_path)}) == Config()


def test_an_empty_file_and_an_empty_variable_set_nothing(tmp_path: Path) -> None:
    assert load(tmp_path, "# nothing\n", {"OPREL_PARALLEL": ""}) == Config()


def from_file(folder: Path, name: str, value: str) -> Config:
    return load(folder, f'{name}: "{value}"\n')


def from_variable(folder: Path, name: str, value: str) -> Config:
    return load(folder, "", {f"OPREL_{name.upper()}": value})


def from_argument(folder: Path, name: str, value: str) -> Config:
    return load(folder, "", arguments={name: value})


Source = Callable[[Path, str, str], Config]
SOURCES = {
    "/config.yaml:1: ": from_file,
    "OPREL_LOAD_TIMEOUT: ": from_variable,
    "argument --load-timeout: ": from_argument,
}


@pytest.mark.parametrize(("place", "load_from"), SOURCES.items(), ids=["file", "variable", "argument"])
def test_a_bad_value_is_reported_with_its_place(tmp_path: Path, place: str, load_from: Source) -> None:
    with pytest.raises(ConfigError) as caught:
        load_from(tmp_path, "load_timeout", "90")
    assert f'{place}load_timeout: time: missing unit in duration "90"' in caught.value.message
    assert "5m" in caught.value.resolution_steps[0]


WRONG = [
    ("parallel", "many", "parallel must be a whole number, not 'many'"),
    ("ctx_size", "4096.5", "ctx_size must be a whole number, not '4096.5'"),
    ("parallel", "-1", "parallel must be at least 0, not -1"),
    ("ctx_size", "-1", "ctx_size must be at least 0, not -1"),
    ("batch_size", "-1", "batch_size must be at least 0, not -1"),
    ("n_threads", "-1", "n_threads must be at least 0, not -1"),
    ("n_gpu_layers", "-2", "n_gpu_layers must be at least -1, not -2"),
    ("server_port", "-1", "server_port must be at least 0, not -1"),
    ("server_port", "65536", "server_port must be at most 65535, not 65536"),
    ("kv_cache_type", "q3_0", "kv_cache_type is 'q3_0'"),
    ("log_level", "LOUD", "log_level is 'LOUD'"),
    ("keep_alive", "soon", 'keep_alive: time: invalid duration "soon"'),
    ("stall_timeout", "0s", "stall_timeout must be positive, not 0s"),
    ("default_max_memory_mb", "-1", "default_max_memory_mb must be at least 0, not -1"),
    ("restore", "yes", "restore is 'yes'"),
]


@pytest.mark.parametrize(("name", "value", "complaint"), WRONG)
def test_what_is_wrong_is_said(tmp_path: Path, name: str, value: str, complaint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        from_argument(tmp_path, name, value)
    assert caught.value.message.endswith(complaint)


@pytest.mark.parametrize("load_from", SOURCES.values(), ids=["file", "variable", "argument"])
@pytest.mark.parametrize("value", ["debug", "DEBUG", "Debug"])
def test_a_log_level_may_have_any_case(tmp_path: Path, load_from: Source, value: str) -> None:
    assert load_from(tmp_path, "log_level", value).log_level == "debug"


def test_the_choices_there_are_come_with_a_bad_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        from_file(tmp_path, "flash_attention", "maybe")
    assert caught.value.resolution_steps == ("Use one of auto, on, off.",)


def test_a_mistyped_key_gets_a_suggestion_and_a_strange_one_the_list(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="config.yaml:1: unknown key 'paralel'") as mistyped:
        load(tmp_path, "paralel: 2\n")
    assert mistyped.value.resolution_steps == ("Did you mean parallel?",)
    with pytest.raises(ConfigError, match="argument --zzz: unknown key 'zzz'") as strange:
        load(tmp_path, "", arguments={"zzz": 1})
    assert all(entry.name in strange.value.resolution_steps[0] for entry in settings())


@pytest.mark.parametrize(("text", "complaint"), [("a: [", "is not valid YAML"), ("- a\n- b\n", "must hold keys")])
def test_a_file_of_another_kind_is_refused(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint) as caught:
        load(tmp_path, text)
    assert str(tmp_path) in caught.value.message


def test_a_named_file_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read .*/absent.yaml: No such file"):
        load_config(environ={"OPREL_CONFIG": str(tmp_path / "absent.yaml")})


def test_config_yaml_is_the_defaults_each_key_once_with_its_help() -> None:
    text = EXAMPLE.read_text()
    assert load_config(file=EXAMPLE, environ={}) == Config()
    assert re.findall(r"^(\w+):", text, re.MULTILINE) == [entry.name for entry in settings()]
    for entry in settings():
        choices = ", ".join(entry.choices)
        comment = entry.help + (f": {choices}" if choices else "")
        assert f"\n# {comment}\n{entry.name}: " in text


@pytest.mark.parametrize(
    ("text", "seconds"), [("5m", 300), ("90", 90), ("0", 0), ("0s", 0), ("-1", math.inf), ("-1m", math.inf)]
)
def test_keep_alive_is_a_duration_or_seconds_or_for_ever(text: str, seconds: float) -> None:
    assert parse_keep_alive(text) == Config(keep_alive=text).keep_alive_seconds == seconds


def test_a_load_may_take_a_duration() -> None:
    assert Config(load_timeout="1m30s").load_timeout_seconds == 90


def test_folders_are_in_the_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    config = Config()
    assert config.home_dir == tmp_path / ".oprel"
    assert {config.models_dir, config.logs_dir, config.engines_dir} == {
        config.home_dir / name for name in ("models", "logs", "binaries")
    }
    assert Config(binary_dir="~/engines").engines_dir == tmp_path / "engines"


def test_sockets_of_a_short_home_are_in_it() -> None:
    assert Config(home="/srv/oprel").socket_path == Path("/srv/oprel/run/oprel.sock")


def test_sockets_of_a_long_home_are_in_a_short_folder_of_its_own() -> None:
    one, other = (Config(home=f"/{letter * 200}") for letter in "ab")
    assert one.run_dir.parent == Path(tempfile.gettempdir())
    assert one.run_dir.name.startswith(f"oprel-{os.getuid()}-")
    assert len(os.fsencode(one.run_dir)) <= LONGEST_RUN_DIR
    assert one.run_dir == Config(home=one.home).run_dir != other.run_dir


def test_engines_get_no_variable_that_would_change_their_flags(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LLAMA_ARG_CTX_SIZE", "HF_TOKEN", "OPREL_HOME", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.setenv(name, "1")
    environment = child_environment()
    assert environment["CUDA_VISIBLE_DEVICES"] == "1" and environment["PATH"] == os.environ["PATH"]
    assert not [name for name in environment if name.startswith(("LLAMA_", "HF_", "OPREL_"))]


def test_engines_also_get_the_variables_that_a_setting_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_LAYER_DIR", "/layer")
    config = Config(engine_variables="MY_LAYER_* NOTE='a b' MISSING CUDA_VISIBLE_DEVICES=0,1")
    assert config.extra_environment == {"MY_LAYER_DIR": "/layer", "NOTE": "a b", "CUDA_VISIBLE_DEVICES": "0,1"}
    assert "MY_LAYER_DIR" not in child_environment()
    with pytest.raises(ConfigError, match="engine_variables: No closing quotation"):
        _ = Config(engine_variables="A='b").extra_environment
