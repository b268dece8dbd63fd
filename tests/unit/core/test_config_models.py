"""Settings of single models, and which of them are loaded at the start."""

import json
import math
from pathlib import Path

import pytest

from oprel.core.config import Config, load_config
from oprel.core.exceptions import ConfigError

FILE = """
ctx_size: 1000
keep_alive: 10m
preload: "guide, Tiny"
models:
  tiny: {pin: on, preload: on, ctx_size: 2000}
  user/big:q4: {keep_alive: 3600, keep_alive_locked: on, parallel: 1, max_queue: 0, n_gpu_layers: -1}
  near.gguf: {flash_attention: on, kv_cache_type: q8_0, batch_size: 64, n_threads: 2}
"""


@pytest.fixture
def config(tmp_path: Path) -> Config:
    file = tmp_path / "config.yaml"
    file.write_text(FILE)
    return load_config(file=file, environ={})


def test_a_model_has_its_own_settings_and_else_the_general_ones(config: Config, tmp_path: Path) -> None:
    tiny, big, other = (config.for_model(name) for name in ("tiny:latest", "user/big:q4", "other:latest"))
    assert (tiny.ctx_size, big.ctx_size, other.ctx_size) == (2000, 1000, 1000)
    assert (tiny.keep_alive_seconds, big.keep_alive_seconds, other.keep_alive_seconds) == (math.inf, 3600, 600)
    assert (tiny.pin, big.pin, other.pin) == (True, False, False)
    assert (big.keep_alive_locked, other.keep_alive_locked) == (True, False)
    assert (big.parallel, big.max_queue, other.parallel, other.max_queue) == (1, 0, Config.parallel, Config.max_queue)
    near = config.for_model(str(tmp_path / "near.gguf"))
    assert (near.flash_attention, near.kv_cache_type, near.batch_size, near.n_threads) == ("on", "q8_0", 64, 2)


def test_settings_of_a_repository_hold_for_each_of_its_models_that_has_none() -> None:
    own = {"hf.co/a/b": {"ctx_size": 1000}, "A/B:q8_0": {"ctx_size": 2000}}
    config = load_config({"models": json.dumps(own)}, environ={"XDG_CONFIG_HOME": "/nonexistent"})
    sizes = [config.for_model(name).ctx_size for name in ("hf.co/a/b:Q4_K_M", "hf.co/a/b:Q8_0", "hf.co/a/c:Q8_0")]
    assert sizes == [1000, 2000, Config.ctx_size]


def test_equal_names_are_one_model(config: Config) -> None:
    assert config.for_model("TINY") == config.for_model("tiny:latest")
    assert config.preloaded == ("Tiny", "guide")


def test_the_same_can_be_said_in_a_variable_and_a_flag_as_yaml_or_json(config: Config) -> None:
    for text in ("{tiny: {pin: on}}", '{"tiny": {"pin": "on"}}', '{"tiny": {"pin": true}}'):
        by_variable = load_config(environ={"XDG_CONFIG_HOME": "/nonexistent", "OPREL_MODELS": text})
        by_flag = load_config({"models": text}, environ={"XDG_CONFIG_HOME": "/nonexistent"})
        assert by_variable == by_flag == Config(models=json.dumps({"tiny:latest": {"pin": "on"}}))
    again = load_config({"models": config.models}, environ={"XDG_CONFIG_HOME": "/nonexistent"})
    assert again.models == config.models


@pytest.mark.parametrize(
    ("text", "complaint", "step"),
    [
        ("{tiny: {pinn: on}}", "models: tiny: unknown key 'pinn'", "Did you mean pin?"),
        ("{tiny: {home: /srv}}", "models: tiny: unknown key 'home'", "Known keys: backend, batch_size"),
        ("{tiny: {ctx_size: -1}}", "models: tiny: ctx_size must be at least 0, not -1", ""),
        ("{tiny: {pin: maybe}}", "models: tiny: pin is 'maybe'", "Use one of on, off."),
        ("{tiny: {keep_alive: soon}}", 'models: tiny: keep_alive: time: invalid duration "soon"', "Write a number"),
        ("{tiny: 4096}", "models must map names to settings", "For example"),
        ("tiny", "models must map names to settings", "For example"),
        ("{a b: {}}", "models: 'a b' is not a valid model name", "A name looks like"),
        ("{tiny: [", "is not valid YAML", "Correct it"),
    ],
)
def test_what_is_wrong_with_it_is_said(text: str, complaint: str, step: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config({"models": text}, environ={})
    assert caught.value.message.startswith("argument --models") and complaint in caught.value.message
    assert step in " ".join(caught.value.resolution_steps)


def test_a_file_to_preload_is_found_from_the_folder_of_the_configuration(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("preload: near.gguf, ~/own.gguf\n")
    assert load_config(file=file, environ={}).preloaded == (str(tmp_path / "near.gguf"), str(Path.home() / "own.gguf"))


def test_a_name_to_preload_is_checked_too() -> None:
    with pytest.raises(ConfigError, match="argument --preload: preload: 'a b' is not a valid model name"):
        load_config({"preload": "tiny,a b"}, environ={})
