"""One frozen `Config`: declared once here, from which file keys, OPREL_* variables and --flags derive.

Order: defaults < config file < environment < arguments. The file is the one given, else $OPREL_CONFIG, else
$XDG_CONFIG_HOME/oprel/config.yaml. A daemon in Ollama's place takes its port and its OLLAMA_* variables too, which win
over the file. This is the only module that reads the environment.
"""

import dataclasses
import difflib
import hashlib
import math
import os
import re
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from oprel.core import ollama_env
from oprel.core.exceptions import ConfigError
from oprel.utils.text import parse_duration

ENV_PREFIX = "OPREL_"
# A Unix socket's path must fit 107 bytes on Linux (sun_path, unix(7)) and 103 on macOS; engines' names add to it.
LONGEST_RUN_DIR = 80

PATHS = ("home", "engine_path", "binary_dir")
SMALLEST = {"ctx_size": 1, "parallel": 1, "n_gpu_layers": -1}  # of numbers; 0 for the others

Value = str | int


def setting(default: Value, help: str, choices: tuple[str, ...] = ()) -> Any:
    """A field with what its flag and its line in config.yaml say. `Any`, as with dataclasses.field itself."""
    return field(default=default, metadata={"help": help, "choices": choices})


@dataclass(frozen=True)
class Config:
    """Every setting with its default. Durations are Go-like strings ("5m", "0", "-1" for ever)."""

    home: str = setting("~/.oprel", "folder of models, conversations, logs and sockets")
    host: str = setting("", "daemon that clients talk to: http://HOST:PORT or unix:/PATH; empty = this machine's own")
    server_host: str = setting("127.0.0.1", "address the daemon listens on; other machines reach it on 0.0.0.0")
    server_port: int = setting(11435, "TCP port the daemon listens on; 0 = any free one")
    origins: str = setting(
        "", "web origins that may call the API, comma-separated, * as wildcard; local ones always may"
    )
    log_level: str = setting("info", "how much the daemon logs", ("debug", "info", "warning", "error"))
    keep_alive: str = setting("5m", "how long an idle model stays loaded; 0 = not at all, -1 = for ever")
    engine_path: str = setting(
        "", "llama-server to use; empty = the first that runs: binary_dir, PATH, the xllamacpp wheel"
    )
    binary_dir: str = setting("", "folder of installed engines; empty = binaries/ in home")
    load_timeout: str = setting("5m", "how long a loading engine may show no progress")
    drain_timeout: str = setting("10s", "how long a daemon that is asked to stop lets answers finish")
    ctx_size: int = setting(4096, "context length in tokens of each request; a model's own limit caps it")
    batch_size: int = setting(0, "prompt tokens per batch; 0 = the engine's choice")
    parallel: int = setting(4, "requests that one engine answers at the same time")
    max_queue: int = setting(512, "requests that may wait for one engine; more are refused")
    n_threads: int = setting(0, "CPU threads of an engine; 0 = the engine's choice")
    n_gpu_layers: int = setting(-1, "layers on the GPU; -1 = as many as fit")
    kv_cache_type: str = setting(
        "f16", "type of the KV cache", ("f32", "f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0")
    )
    flash_attention: str = setting("auto", "flash attention", ("auto", "on", "off"))

    def __post_init__(self) -> None:
        # The daemon is started in another folder, where a relative path would mean another file. (`~` means the same.)
        for name in PATHS:
            path = getattr(self, name)
            if path and not path.startswith("~"):
                object.__setattr__(self, name, os.path.abspath(path))

    @property
    def home_dir(self) -> Path:
        return Path(os.path.abspath(os.path.expanduser(self.home)))

    @property
    def models_dir(self) -> Path:
        return self.home_dir / "models"

    @property
    def logs_dir(self) -> Path:
        return self.home_dir / "logs"

    @property
    def engines_dir(self) -> Path:
        return Path(os.path.expanduser(self.binary_dir)) if self.binary_dir else self.home_dir / "binaries"

    @property
    def run_dir(self) -> Path:
        """Folder of sockets and locks; a short name in the temporary folder where home's is too long for a socket."""
        near = self.home_dir / "run"
        if len(os.fsencode(near)) <= LONGEST_RUN_DIR:
            return near
        digest = hashlib.sha256(os.fsencode(near)).hexdigest()[:12]
        return Path(tempfile.gettempdir()) / f"oprel-{os.getuid()}-{digest}"

    @property
    def socket_path(self) -> Path:
        return self.run_dir / "oprel.sock"

    @property
    def keep_alive_seconds(self) -> float:
        return parse_keep_alive(self.keep_alive)

    @property
    def drain_timeout_seconds(self) -> float:
        return parse_duration(self.drain_timeout)

    @property
    def load_timeout_seconds(self) -> float:
        return parse_duration(self.load_timeout)


def parse_keep_alive(text: str) -> float:
    """Seconds; infinite for a negative value. A bare number is seconds. Raises ValueError."""
    seconds = float(text) if re.fullmatch(r"-?\d+(\.\d+)?", text, re.ASCII) else parse_duration(text)
    return seconds if seconds >= 0 else math.inf


DURATIONS = {"keep_alive": parse_keep_alive, "load_timeout": parse_duration, "drain_timeout": parse_duration}


def load_config(
    overrides: Mapping[str, Value] | None = None,
    *,
    file: Path | None = None,
    environ: Mapping[str, str] | None = None,
    drop_in: bool = False,
) -> Config:
    """The configuration in force. `overrides` are arguments by field name; `environ` is for tests.

    `drop_in`: of a daemon in Ollama's place. Raises ConfigError that names the key, where it was set and what would be
    valid.
    """
    environ = os.environ if environ is None else environ
    path = file or _default_file(environ)
    values: dict[str, Value] = {}
    if path is not None:
        values |= _from_file(path)
    if drop_in:
        values |= _from_ollama(environ)[0]
    values |= _from_environment(environ)
    values |= {name: _converted(name, value, f"argument {flag(name)}") for name, value in (overrides or {}).items()}
    return Config(**values)  # type: ignore[arg-type]  # every value was converted to its field's type


def drop_in_notes(environ: Mapping[str, str] | None = None) -> list[str]:
    """What a daemon in Ollama's place must say about variables of Ollama's that it does not follow."""
    environ = os.environ if environ is None else environ
    notes = _from_ollama(environ)[1]
    if unused := ollama_env.meaningless(environ):
        notes.append(f"without a meaning here, and not followed: {', '.join(unused)}")
    return notes


def flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def settings() -> Iterable[dataclasses.Field[Value]]:
    return fields(Config)


# `host` is for clients.
SERVER_SETTINGS = tuple(entry.name for entry in fields(Config) if entry.name != "host")


def child_environment() -> dict[str, str]:
    """The environment for an engine: ours, without variables that would silently change llama-server's flags."""
    unwanted = ("LLAMA_", "HF_", "OPREL_")
    return {name: value for name, value in os.environ.items() if not name.startswith(unwanted)}


def _default_file(environ: Mapping[str, str]) -> Path | None:
    if named := environ.get("OPREL_CONFIG"):
        return Path(named)
    folder = Path(environ.get("XDG_CONFIG_HOME") or Path("~/.config").expanduser())
    usual = folder / "oprel" / "config.yaml"
    return usual if usual.is_file() else None


def _from_file(path: Path) -> dict[str, Value]:
    import yaml  # only here: a start without a file does not pay for the parser

    try:
        content = yaml.safe_load(path.read_bytes()) or {}
    except OSError as error:
        raise ConfigError(f"cannot read the configuration file {path}: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not valid YAML: {error}", "Correct the file or remove it.") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path} must hold keys and values, one per line", "See the commented config.yaml of oprel.")
    given = {str(key): value for key, value in content.items() if value is not None}
    return {key: _converted(key, value, str(path), path.parent) for key, value in given.items()}


def _from_environment(environ: Mapping[str, str]) -> dict[str, Value]:
    variables = {entry.name: ENV_PREFIX + entry.name.upper() for entry in settings()}
    return {name: _converted(name, environ[key], key) for name, key in variables.items() if environ.get(key)}


def _from_ollama(environ: Mapping[str, str]) -> tuple[dict[str, Value], list[str]]:
    """Settings of a daemon in Ollama's place; and, as there, only a word about a variable that makes no sense."""
    values: dict[str, Value] = {"server_port": ollama_env.PORT}
    notes = []
    for reading in ollama_env.readings(environ):
        error = reading.error
        try:
            values |= {name: _converted(name, value, reading.variable) for name, value in reading.settings.items()}
        except ConfigError as wrong:
            error = wrong.message.removeprefix(f"{reading.variable}: ")
        if error:
            notes.append(f"{reading.variable} is not followed: {error}")
    return values, notes


def _converted(name: str, value: object, source: str, base: Path | None = None) -> Value:
    """`value` as its field wants it; a relative path is one from `base`, where that is given."""
    entries = {entry.name: entry for entry in settings()}
    if name not in entries:
        near = difflib.get_close_matches(name, entries, n=1)
        hint = f"Did you mean {near[0]}?" if near else "Known keys: " + ", ".join(sorted(entries))
        raise ConfigError(f"{source}: unknown key {name!r}", hint)
    entry = entries[name]
    converted = _typed(entry, value, source)
    choices = entry.metadata["choices"]
    if choices and converted not in choices:
        raise ConfigError(f"{source}: {name} is {value!r}", f"Use one of {', '.join(choices)}.")
    _check_meaning(name, converted, source)
    relative = base and name in PATHS and converted and not str(converted).startswith("~")
    return os.path.join(base or "", str(converted)) if relative else converted


def _typed(entry: dataclasses.Field[Value], value: object, source: str) -> Value:
    if isinstance(value, list | dict):
        raise ConfigError(f"{source}: {entry.name} must be a single value, not {value!r}")
    if isinstance(value, bool):  # YAML reads an unquoted on and off so
        value = "on" if value else "off"
    if entry.type is not int:
        return str(value)
    try:
        return int(str(value))
    except ValueError:
        raise ConfigError(f"{source}: {entry.name} must be a whole number, not {value!r}") from None


def _check_meaning(name: str, value: Value, source: str) -> None:
    if name in DURATIONS:
        try:
            seconds = DURATIONS[name](str(value))
        except ValueError as error:
            step = 'Write a number with a unit, such as "30s" or "5m".'
            raise ConfigError(f"{source}: {name}: {error}", step) from None
        if name != "keep_alive" and seconds <= 0:
            raise ConfigError(f"{source}: {name} must be more than nothing, not {value}")
    if name == "home" and not value:
        raise ConfigError(f"{source}: home must not be empty", "Leave it out for ~/.oprel.")
    smallest = {
        "server_port": 0,
        "ctx_size": 1,
        "parallel": 1,
        "max_queue": 0,
        "batch_size": 0,
        "n_threads": 0,
        "n_gpu_layers": -1,
    }
    if isinstance(value, int) and value < smallest.get(name, value):
        raise ConfigError(f"{source}: {name} must be at least {smallest[name]}, not {value}")
    if name == "server_port" and isinstance(value, int) and value > 65535:
        raise ConfigError(f"{source}: server_port must be at most 65535, not {value}")
