"""The frozen `Config`: its fields define the file keys, the OPREL_* variables and the --flags.

Order: defaults < config file < environment < arguments. The file is the one given, else $OPREL_CONFIG, else
$XDG_CONFIG_HOME/oprel/config.yaml. A drop-in daemon also uses Ollama's port and its OLLAMA_* variables, which override
the file. This is the only module that reads the environment.
"""

import functools
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from oprel.core.exceptions import ConfigError
from oprel.core.settings import (
    PATHS,
    SWITCH,
    DeclaredSetting,
    ModelSettings,
    SettingsGroup,
    Value,
    converted,
    find_setting,
    parse_keep_alive,
    setting,
)
from oprel.utils.text import parse_duration

if TYPE_CHECKING:
    from oprel.core.places import Places

ENV_PREFIX = "OPREL_"
# A Unix socket path is limited to 107 bytes on Linux (sun_path, unix(7)) and 103 on macOS, engine names included.
LONGEST_RUN_DIR = 80


class Config(SettingsGroup):
    """Every setting with its default. Durations are Go-like strings ("5m", "0", "-1" forever)."""

    home: str = setting("~/.oprel", "folder of models, conversations, logs and sockets")
    host: str = setting("", "daemon that clients talk to: http://HOST:PORT or unix:/PATH; empty = this machine's own")
    server_host: str = setting("127.0.0.1", "address the daemon listens on; other machines reach it on 0.0.0.0")
    server_port: int = setting(11435, "TCP port the daemon listens on; 0 = any free one", largest=65535)
    origins: str = setting(
        "", "web origins that may call the API, comma-separated, * as wildcard; local ones always may"
    )
    log_level: str = setting("info", "how much the daemon logs", ("debug", "info", "warning", "error"))
    keep_alive: str = setting("5m", "how long an idle model stays loaded; 0 = not at all, -1 = forever")
    keep_alive_locked: str = setting("off", "whether to ignore keep_alive in requests", SWITCH)
    default_max_memory_mb: int = setting(
        0, "MiB that all loaded models may use together; 0 = what the machine has, less a reserve"
    )
    preload: str = setting("", "models to load when the daemon starts, comma-separated")
    restore: str = setting("on", "whether a daemon reloads the models that were loaded when the last one ended", SWITCH)
    engine_path: str = setting(
        "", "llama-server to use; empty = the first that works: binary_dir, PATH, the xllamacpp wheel"
    )
    binary_dir: str = setting("", "folder of installed engines; empty = binaries/ in home")
    engine_sources: str = setting("", "list of engine builds for `oprel engines install`; empty = oprel's own list")
    engine_mirror: str = setting("", "address of a folder with the files of that list; empty = where the list says")
    hardware: str = setting("", "file that describes this machine, from `oprel hardware --json`; empty = look at it")
    load_timeout: str = setting("5m", "how long a loading engine may make no progress")
    stall_timeout: str = setting(
        "30s",
        "how long a busy engine may make no progress, or a third of that without CPU use; longer for slow models",
    )
    drain_timeout: str = setting("10s", "how long a stopping daemon lets answers finish")
    ctx_size: int = setting(0, "context length of each request in tokens; 0 = chosen for this machine")
    batch_size: int = setting(0, "prompt tokens per batch; 0 = the engine's choice")
    parallel: int = setting(0, "requests that one engine processes at once; 0 = eight, or fewer to fit into memory")
    max_body_mb: int = setting(
        32, "size of the largest request in MiB; uploads of model files may be larger", smallest=1
    )
    max_queue: int = setting(512, "requests that may wait for one engine; more are refused")
    n_threads: int = setting(0, "CPU threads of an engine; 0 = as many as suit the model, the cores and the load")
    n_gpu_layers: int = setting(-1, "layers on the GPU; -1 = as many as fit", smallest=-1)
    kv_cache_type: str = setting(
        "auto",
        "type of the KV cache; auto = f16, or q8_0 to fit",
        ("auto", "f32", "f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0"),
    )
    flash_attention: str = setting("auto", "flash attention", ("auto", "on", "off"))
    prefer: str = setting("balanced", "what plans prefer", ("balanced", "quality", "speed", "context"))
    backend: str = setting("", "preferred engine, by its name in `oprel engines`; empty = the best one for the model")
    engine_args: str = setting("", "additional engine arguments, in shell syntax")
    runaway_guard: str = setting(
        "on", "whether to end answers that repeat themselves without end, where a request does not say", SWITCH
    )
    crash_prompts: str = setting("off", "whether crash reports may contain prompts", SWITCH)
    in_place: str = setting("on", "whether to use models of other programs where they are stored", SWITCH)
    truncate_embeddings: str = setting(
        "off", "whether /v1/embeddings cuts inputs that are too long, where a request does not say", SWITCH
    )
    ollama_registry: str = setting("https://registry.ollama.ai", "address of Ollama's registry or of a mirror")
    insecure_registries: str = setting("", "registries to access over http, comma-separated: HOST or HOST:PORT")
    cache_dir: str = setting(
        "", "folder of downloaded files, in the layout of Hugging Face's cache; empty = hub/ in home"
    )
    max_concurrent_downloads: int = setting(3, "models to download at the same time", smallest=1)
    download_rate: int = setting(0, "MB per second for all downloads together; 0 = no limit")
    offline: str = setting("off", "whether to block all downloads and online lookups", SWITCH)
    hf_endpoint: str = setting(
        "https://huggingface.co", "address of Hugging Face's hub or of a mirror; HF_ENDPOINT works too"
    )
    models: str = setting("", "settings of individual models: a mapping of names to settings, as YAML or JSON")

    def __post_init__(self) -> None:
        # The daemon starts in another folder, where a relative path would mean another file; `~` means the same there.
        for name in PATHS:
            path = getattr(self, name)
            if path and not path.startswith("~"):
                vars(self)[name] = os.path.abspath(path)

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
    def crashes_dir(self) -> Path:
        return self.home_dir / "crashes"

    @property
    def engines_dir(self) -> Path:
        return Path(os.path.expanduser(self.binary_dir)) if self.binary_dir else self.home_dir / "binaries"

    @property
    def hub_dir(self) -> Path:
        return Path(os.path.expanduser(self.cache_dir)) if self.cache_dir else self.home_dir / "hub"

    @property
    def run_dir(self) -> Path:
        """Folder of sockets and locks; a short path in the temporary folder if home's is too long for a socket."""
        near = self.home_dir / "run"
        if len(os.fsencode(near)) <= LONGEST_RUN_DIR:
            return near
        import hashlib
        import tempfile

        digest = hashlib.sha256(os.fsencode(near)).hexdigest()[:12]
        return Path(tempfile.gettempdir()) / f"oprel-{os.getuid()}-{digest}"

    @property
    def socket_path(self) -> Path:
        return self.run_dir / "oprel.sock"

    @property
    def places(self) -> "Places":
        from oprel.core.places import places

        return places(os.environ, with_models=self.in_place == "on")

    @property
    def keep_alive_seconds(self) -> float:
        return parse_keep_alive(self.keep_alive)

    @property
    def drain_timeout_seconds(self) -> float:
        return parse_duration(self.drain_timeout)

    @property
    def load_timeout_seconds(self) -> float:
        return parse_duration(self.load_timeout)

    @property
    def stall_timeout_seconds(self) -> float:
        return parse_duration(self.stall_timeout)

    @property
    def preloaded(self) -> tuple[str, ...]:
        """Names of the models to load when the daemon starts, without duplicates."""
        from oprel.core.models.settings import preloaded

        return preloaded(self)

    @property
    def named_models(self) -> tuple[str, ...]:
        """Names of the models with their own settings."""
        from oprel.core.models.settings import named_models

        return named_models(self)

    def for_model(self, name: str) -> ModelSettings:
        """The settings in effect for the model of that name."""
        from oprel.core.models.settings import settings_of

        return settings_of(self, name)


SETTINGS = Config.entries


def load_config(
    overrides: Mapping[str, Value] | None = None,
    *,
    file: Path | None = None,
    environ: Mapping[str, str] | None = None,
    drop_in: bool = False,
) -> Config:
    """The effective configuration. `overrides` are arguments by field name; `environ` is for tests.

    `drop_in`: for a drop-in daemon. Raises ConfigError, which names the key, where it was set, and valid values.
    """
    environ = os.environ if environ is None else environ
    path = file or _default_file(environ)
    values: dict[str, Value] = {}
    if path is not None:
        values |= _from_file(path)
    if drop_in:
        values |= _from_ollama(environ)[0]
    values |= _from_hugging_face(environ)
    values |= _from_environment(environ)
    values |= {name: _converted(name, value, f"argument {flag(name)}") for name, value in (overrides or {}).items()}
    return Config(**values)  # type: ignore[arg-type]  # every value was converted to its field's type


def drop_in_notes(environ: Mapping[str, str] | None = None) -> list[str]:
    """Notes of a drop-in daemon about the OLLAMA_* variables that it ignores."""
    from oprel.core import ollama_env

    environ = os.environ if environ is None else environ
    notes = _from_ollama(environ)[1]
    if unused := ollama_env.meaningless(environ):
        notes.append(f"ignored, without a meaning in oprel: {', '.join(unused)}")
    return notes


def flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def settings() -> Iterable[DeclaredSetting]:
    return SETTINGS.values()


# `host` is for clients.
SERVER_SETTINGS = tuple(name for name in SETTINGS if name != "host")


def child_environment() -> dict[str, str]:
    """The environment of an engine: ours, without variables that would silently change llama-server's flags."""
    unwanted = ("LLAMA_", "HF_", "OPREL_")
    # Number GPUs as the hardware does; CUDA's default puts the fastest first.
    order = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    return order | {name: value for name, value in os.environ.items() if not name.startswith(unwanted)}


def is_dumb_terminal() -> bool:
    """True for a terminal that cannot move its cursor."""
    return os.environ.get("TERM", "").lower() in ("dumb", "unknown")


@functools.cache
def help_columns() -> int:
    """The width of help texts: $COLUMNS, else the terminal's, else 80."""
    if (columns := os.environ.get("COLUMNS", "")).isdigit() and int(columns):
        return int(columns)
    try:
        return os.get_terminal_size(1).columns or 80
    except OSError:
        return 80


def wants_colour() -> bool:
    """False if the user disabled colours: https://no-color.org."""
    return not os.environ.get("NO_COLOR")


def _default_file(environ: Mapping[str, str]) -> Path | None:
    if named := environ.get("OPREL_CONFIG"):
        return Path(named)
    folder = Path(environ.get("XDG_CONFIG_HOME") or Path("~/.config").expanduser())
    usual = folder / "oprel" / "config.yaml"
    return usual if usual.is_file() else None


def _from_file(path: Path) -> dict[str, Value]:
    try:
        content = yaml_content(path.read_bytes(), str(path)) or {}
    except OSError as error:
        raise ConfigError(f"cannot read the configuration file {path}: {error.strerror}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path} must hold keys and values, one per line", "See the commented config.yaml of oprel.")
    given = {str(key): value for key, value in content.items() if value is not None}
    return {key: _converted(key, value, str(path), path.parent) for key, value in given.items()}


def _from_environment(environ: Mapping[str, str]) -> dict[str, Value]:
    variables = {entry.name: ENV_PREFIX + entry.name.upper() for entry in settings()}
    return {name: _converted(name, environ[key], key) for name, key in variables.items() if environ.get(key)}


def _from_hugging_face(environ: Mapping[str, str]) -> dict[str, Value]:
    """The settings that Hugging Face's own programs read. HF_TOKEN is left to its library."""
    return {"hf_endpoint": environ["HF_ENDPOINT"]} if environ.get("HF_ENDPOINT") else {}


def _from_ollama(environ: Mapping[str, str]) -> tuple[dict[str, Value], list[str]]:
    """Settings of a drop-in daemon. As in Ollama, an invalid variable only causes a note."""
    from oprel.core import ollama_env

    values: dict[str, Value] = {"server_port": ollama_env.PORT, "truncate_embeddings": "on"}  # as in Ollama
    notes = []
    for reading in ollama_env.readings(environ):
        error = reading.error
        try:
            values |= {name: _converted(name, value, reading.variable) for name, value in reading.settings.items()}
        except ConfigError as wrong:
            error = wrong.message.removeprefix(f"{reading.variable}: ")
        if error:
            notes.append(f"{reading.variable} is ignored: {error}")
    return values, notes


def _converted(name: str, value: object, source: str, base: Path | None = None) -> Value:
    """`value` in its field's type; a relative path is resolved against `base` if given."""
    entry, folder = find_setting(SETTINGS, name, source), str(base or "")
    if name == "models":
        from oprel.core.models.settings import models_setting

        return models_setting(value, source, folder)
    result = converted(entry, value, source, folder)
    if name == "preload":
        from oprel.core.models.settings import preload_setting

        return preload_setting(str(result), source, folder)
    return result


def yaml_content(content: str | bytes, source: str) -> object:
    """What a YAML document holds. Raises ConfigError."""
    import yaml  # imported late: a start without a file does not need the parser

    try:
        return yaml.safe_load(content)
    except yaml.YAMLError as error:
        raise ConfigError(f"{source} is not valid YAML: {error}", "Correct it or remove it.") from error
