"""Declares settings and checks their values. Pure."""

import math
import os
import re
from collections.abc import Mapping
from typing import Any, ClassVar

from oprel.core.configuration.rates import parse_rates
from oprel.core.exceptions import ConfigError
from oprel.utils.frozen import Frozen
from oprel.utils.text import parse_duration

Value = str | int
Entries = Mapping[str, "DeclaredSetting"]

PATHS = (
    *("home", "engine_path", "engine_sources", "binary_dir", "cache_dir", "hardware"),
    *("tls_certificate", "tls_key"),
)
SWITCH = ("on", "off")
SPELLINGS = {"true": "on", "false": "off"}


class DeclaredSetting:
    """The declaration of a setting. `type` is that of its values; the bounds are those of a number."""

    name: str
    type: type

    def __init__(self, default: Value, help: str, choices: tuple[str, ...], smallest: float, largest: float) -> None:
        self.default = default
        self.help = help
        self.choices = choices
        self.smallest = smallest
        self.largest = largest


def setting(
    default: Value, help: str, choices: tuple[str, ...] = (), *, smallest: int = 0, largest: float = math.inf
) -> Any:
    """A field of a SettingsGroup with its help text, choices and, for numbers, bounds.

    Returns `Any`, like dataclasses.field: the field has the type of its annotation.
    """
    return DeclaredSetting(default, help, choices, smallest, largest)


class SettingsGroup(Frozen):
    """Fields declared with `setting`; `entries` has their declarations."""

    entries: ClassVar[Entries]

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.entries = {name: entry for name, entry in vars(cls).items() if isinstance(entry, DeclaredSetting)}
        for name, entry in cls.entries.items():
            entry.name, entry.type = name, cls.__annotations__[name]
            setattr(cls, name, entry.default)


def parse_keep_alive(text: str) -> float:
    """Parse a duration into seconds; a negative one is infinite, a bare number is seconds. Raises ValueError."""
    seconds = float(text) if re.fullmatch(r"-?\d+(\.\d+)?", text, re.ASCII) else parse_duration(text)
    return seconds if seconds >= 0 else math.inf


DURATIONS = {
    "keep_alive": parse_keep_alive,
    "load_timeout": parse_duration,
    "stall_timeout": parse_duration,
    "drain_timeout": parse_duration,
}


class ModelSettings(Frozen):
    """The effective settings of one model: its own, else the general ones. A pinned model is never evicted."""

    pin: bool
    keep_alive_seconds: float
    keep_alive_locked: bool
    ctx_size: int
    batch_size: int
    parallel: int
    max_queue: int
    n_threads: int
    n_gpu_layers: int
    kv_cache_type: str
    flash_attention: str
    prefer: str
    backend: str
    engine_args: str
    runaway_guard: str


def find_setting(entries: Entries, name: str, source: str) -> DeclaredSetting:
    """The setting called `name`. Raises ConfigError, which suggests a name; `source` is where `name` was read."""
    if name not in entries:
        import difflib

        near = difflib.get_close_matches(name, entries, n=1)
        hint = f"Did you mean {near[0]}?" if near else "Known keys: " + ", ".join(sorted(entries))
        raise ConfigError(f"{source}: unknown key {name!r}", hint)
    return entries[name]


def converted(entry: DeclaredSetting, value: object, source: str, base: str = "") -> Value:
    """`value` in its field's type; a relative path is resolved against `base` if given. Raises ConfigError."""
    result = _typed(entry, value, source)
    if choices := entry.choices:
        if str(result).lower() not in choices:
            raise ConfigError(f"{source}: {entry.name} is {value!r}", f"Use one of {', '.join(choices)}.")
        return str(result).lower()
    if isinstance(result, int):
        _check_bounds(entry, result, source)
    elif entry.name in DURATIONS:
        _check_duration(entry.name, result, source)
    elif check := TEXTS.get(entry.name):
        check(result, source)
    elif entry.name == "home" and not result:
        raise ConfigError(f"{source}: home must not be empty", "Leave it out for ~/.oprel.")
    elif entry.name in PATHS and result and not result.startswith("~"):
        return os.path.join(base, result)
    return result


def _typed(entry: DeclaredSetting, value: object, source: str) -> Value:
    if entry.name == "api_keys":  # no error may quote it
        return ",".join(map(str, value)) if isinstance(value, list) else str(value)
    if isinstance(value, list | dict):
        raise ConfigError(f"{source}: {entry.name} must be a single value, not {value!r}")
    if isinstance(value, bool):  # YAML parses unquoted on and off as booleans
        value = "on" if value else "off"
    if entry.choices == SWITCH:
        return SPELLINGS.get(str(value).lower(), str(value))
    if entry.type is not int:
        return str(value)
    try:
        return int(str(value))
    except ValueError:
        raise ConfigError(f"{source}: {entry.name} must be a whole number, not {value!r}") from None


def _check_bounds(entry: DeclaredSetting, value: int, source: str) -> None:
    smallest, largest = entry.smallest, entry.largest
    if value < smallest:
        raise ConfigError(f"{source}: {entry.name} must be at least {smallest}, not {value}")
    if value > largest:
        raise ConfigError(f"{source}: {entry.name} must be at most {largest}, not {value}")


def _check_duration(name: str, text: str, source: str) -> None:
    try:
        seconds = DURATIONS[name](text)
    except ValueError as error:
        step = 'Write a number with a unit, such as "30s" or "5m".'
        raise ConfigError(f"{source}: {name}: {error}", step) from None
    if name != "keep_alive" and seconds <= 0:
        raise ConfigError(f"{source}: {name} must be positive, not {text}")


def _check_rate(text: str, source: str) -> None:
    try:
        parse_rates(text)
    except ValueError as error:
        step = "Write a number with a unit, such as 500KB/s or 2MB/s, or with hours, such as `8-18 500KB/s, 5MB/s`."
        raise ConfigError(f"{source}: download_rate: {error}", step) from None


def _check_proxies(text: str, source: str) -> None:
    if not text:
        return
    from oprel.core.configuration.addresses import parse_proxies

    try:
        parse_proxies(text)
    except ConfigError as error:
        raise ConfigError(f"{source}: {error.message}", *error.resolution_steps) from None


TEXTS = {"download_rate": _check_rate, "trusted_proxies": _check_proxies}  # whose form is checked
