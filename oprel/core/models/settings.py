"""The settings of individual models: the setting `models`, and the names in `preload`."""

import functools
import json
import math
import os
from collections.abc import Mapping

from oprel.core.config import SETTINGS, Config
from oprel.core.exceptions import ConfigError, ValidationError
from oprel.core.names import ModelRef, NameKind, is_path, spellings
from oprel.core.settings import SWITCH, ModelSettings, SettingsGroup, Value, converted, find_setting, setting


class _OnlyOfModels(SettingsGroup):
    """Settings that only individual models have."""

    pin: str = setting("off", "keep the model loaded even if it is idle or others need its memory", SWITCH)
    preload: str = setting("off", "load the model when the daemon starts", SWITCH)


KEEPING = ("keep_alive", "keep_alive_locked")
LOAD_SETTINGS = [name for name in ModelSettings.names() if name in SETTINGS and name not in KEEPING]
MODEL_SETTINGS = {**_OnlyOfModels.entries, **{name: SETTINGS[name] for name in (*KEEPING, *LOAD_SETTINGS)}}


def named_models(config: Config) -> tuple[str, ...]:
    """Names of the models with their own settings."""
    return tuple(_of_models(config.models))


def preloaded(config: Config) -> tuple[str, ...]:
    """Names of the models to load when the daemon starts, without duplicates."""
    own = (name for name, values in _of_models(config.models).items() if values.get("preload") == "on")
    return tuple({ModelRef.parse(name).key: name for name in (*own, *_names(config.preload))}.values())


@functools.lru_cache(maxsize=256)  # every request looks
def settings_of(config: Config, name: str) -> ModelSettings:
    """The settings in effect for the model of that name."""
    models = _of_models(config.models)
    own = dict(next((models[key] for key in spellings(ModelRef.parse(name)) if key in models), {}))
    pin = own.pop("pin", "off") == "on"
    own.pop("preload", None)
    merged = config.replace(**own) if own else config
    return ModelSettings(
        pin=pin,
        keep_alive_seconds=math.inf if pin else merged.keep_alive_seconds,
        keep_alive_locked=merged.keep_alive_locked == "on",
        **{name: getattr(merged, name) for name in LOAD_SETTINGS},
    )


def preload_setting(text: str, source: str, base: str) -> str:
    """The setting `preload`, with relative paths resolved against `base`. Raises ConfigError."""
    refs = {name: _ref(name, f"{source}: preload", base) for name in _names(text)}
    return ", ".join(ref.text if ref.kind is NameKind.PATH else name for name, ref in refs.items())


def models_setting(value: object, source: str, base: str) -> str:
    """The setting `models` as JSON, which can be passed to a daemon as a flag. Raises ConfigError."""
    content = (_parsed(value, source) if isinstance(value, str) else value) or {}
    if not isinstance(content, dict) or not all(isinstance(own, dict) for own in content.values()):
        raise ConfigError(f"{source}: models must map names to settings", 'For example: models: {"tiny": {"pin": on}}.')
    checked: dict[str, Mapping[str, Value]] = {}
    names: dict[str, str] = {}
    for name, own in ((str(name), own) for name, own in content.items()):
        place = f"{source}: models: {name}"
        key = _ref(name, f"{source}: models", base).key
        if key in checked:
            step = "Put its settings under one of them."
            raise ConfigError(f"{source}: models: {names[key]!r} and {name!r} are the same model", step)
        names[key] = name
        checked[key] = {
            str(setting_name): converted(find_setting(MODEL_SETTINGS, str(setting_name), place), value, place)
            for setting_name, value in own.items()
        }
    return json.dumps(checked, ensure_ascii=False) if checked else ""


def _parsed(text: str, source: str) -> object:
    from oprel.core.configuration.yaml_file import read_yaml

    return read_yaml(text, source).content


@functools.lru_cache(maxsize=8)
def _of_models(text: str) -> dict[str, dict[str, Value]]:
    return json.loads(text) if text else {}  # written by `models_setting`


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _ref(name: str, source: str, base: str) -> ModelRef:
    """Parse a model name; a relative path is resolved against `base`, like the other paths."""
    try:
        return ModelRef.parse(os.path.join(base, name) if is_path(name) and not name.startswith("~") else name)
    except ValidationError as error:
        raise ConfigError(f"{source}: {error.message}", *error.resolution_steps) from None
